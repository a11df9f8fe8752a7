use super::{Deliveries, ReceiverStanding};
use fleetscan_proto::{Clock, DeliveryError, Event, EventReceiver, EventTrail, Fleet, NumberedEvent, StoreError};
use jiff::Timestamp;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// How often the trail is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Events read at a time.
const PAGE: usize = 64;
/// An event is tried this often at least, however old it is.
const LEAST_TRIES: u32 = 5;
/// A receiver that will have nothing of an event is asked this often, and then told of the next ones.
const REFUSALS: u32 = 5;

/// Tells one receiver of events, one after the other.
pub(crate) struct Relay {
    receiver: Arc<dyn EventReceiver>,
    trail: Arc<dyn EventTrail>,
    fleet: Arc<dyn Fleet>,
    clock: Arc<dyn Clock>,
    metrics: Deliveries,
    standing: ReceiverStanding,
}

impl Relay {
    /// Finds where a receiver stands; one that is new is told of what happens from now on.
    pub(crate) async fn open(
        receiver: Arc<dyn EventReceiver>,
        trail: Arc<dyn EventTrail>,
        fleet: Arc<dyn Fleet>,
        clock: Arc<dyn Clock>,
        metrics: Deliveries,
    ) -> Result<Self, StoreError> {
        let newest = trail.newest_event().await?;
        let known = ReceiverStanding::load(fleet.as_ref(), receiver.name()).await?;
        let mut standing =
            known.unwrap_or_else(|| ReceiverStanding { told_up_to: newest, ..ReceiverStanding::default() });
        standing.name = receiver.name().to_owned();
        standing.place = receiver.place().to_owned();
        standing.told_up_to = standing.told_up_to.min(newest);
        standing.keep(fleet.as_ref()).await?;
        Ok(Self { receiver, trail, fleet, clock, metrics, standing })
    }

    /// Tells until `stop`. Stopped in the middle of it, the next one tells the same event again.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let tells = async {
            loop {
                match self.round().await {
                    // What is there is told without a pause.
                    Ok(true) => continue,
                    Ok(false) | Err(StoreError::Away(_)) => {}
                    // Whoever leads meets the same, and says so.
                    Err(StoreError::Lost(_)) => return,
                    Err(error) => tracing::warn!(receiver = self.receiver.name(), %error, "events.not_told"),
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tells => {}
        }
    }

    /// Tells what is new; answers whether there was any.
    async fn round(&mut self) -> Result<bool, StoreError> {
        let page = self.trail.events(self.standing.told_up_to, PAGE).await?;
        let Some(first) = page.first() else {
            self.metrics.pending(self.receiver.name(), 0);
            return Ok(false);
        };
        self.note_lost(first.number);
        let newest = self.trail.newest_event().await?;
        for event in &page {
            self.metrics.pending(self.receiver.name(), newest.saturating_sub(self.standing.told_up_to));
            if self.receiver.wants(&event.event.kind) {
                self.deliver(event).await?;
            } else {
                self.standing.told_up_to = event.number;
            }
        }
        self.standing.keep(self.fleet.as_ref()).await?;
        Ok(true)
    }

    /// Events that made room in the trail before this receiver was told of them.
    fn note_lost(&mut self, first: u64) {
        let lost = first.saturating_sub(self.standing.told_up_to + 1);
        if lost > 0 {
            let receiver = self.receiver.name();
            tracing::error!(receiver, lost, "events.undelivered: they made room for newer ones before it took them");
            self.standing.told_up_to += lost;
            self.standing.given_up += lost;
            self.metrics.undelivered(receiver, lost);
        }
    }

    /// Tries until the receiver takes it, or it is given up.
    async fn deliver(&mut self, told: &NumberedEvent) -> Result<(), StoreError> {
        let (event, receiver) = (&told.event, Arc::clone(&self.receiver));
        let mut waits = receiver.waits();
        loop {
            let answer = receiver.deliver(event).await;
            let now = self.clock.now();
            let refused = matches!(answer, Err(DeliveryError::Refused(_)));
            let Err(DeliveryError::Later(problem) | DeliveryError::Refused(problem)) = answer else {
                self.metrics.delivered(receiver.name());
                if self.standing.failing.is_some() {
                    tracing::info!(receiver = receiver.name(), "events.receiver_takes: it takes events again");
                }
                self.standing.took(told.number, now);
                return self.standing.keep(self.fleet.as_ref()).await;
            };
            self.metrics.failed(receiver.name());
            if self.standing.failing.is_none() {
                let (receiver, place) = (receiver.name(), receiver.place());
                tracing::warn!(
                    receiver,
                    place,
                    problem,
                    event = event.id,
                    "events.receiver_fails: tried again, ever more seldom"
                );
            }
            let failing = self.standing.failed(event, now, refused, &problem);
            let too_old = failing.tries >= LEAST_TRIES && age(event, now) >= receiver.gives_up_after();
            if too_old || failing.refusals >= REFUSALS {
                let tries = failing.tries;
                tracing::error!(
                    receiver = receiver.name(),
                    event = event.id,
                    kind = event.kind,
                    tries,
                    problem,
                    "events.undelivered: given up, and listed by `fleetscan events receivers`"
                );
                self.standing.gave_up(told, now);
                self.metrics.undelivered(receiver.name(), 1);
                return self.standing.keep(self.fleet.as_ref()).await;
            }
            self.standing.keep(self.fleet.as_ref()).await?;
            tokio::time::sleep(waits.next().unwrap_or(LOOK)).await;
        }
    }
}

fn age(event: &Event, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(event.timestamp)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use fleetscan_backends::memory::MemoryStore;
    use fleetscan_proto::EventKind;
    use fleetscan_telemetry::Registrar;
    use jiff::SignedDuration;
    use serde_json::json;
    use std::{collections::VecDeque, sync::Mutex};
    use tokio::time::Instant;

    /// Answers as its script says, and then takes everything.
    #[derive(Default)]
    struct Scripted {
        script: Mutex<VecDeque<Result<(), DeliveryError>>>,
        always: Option<DeliveryError>,
        heard: Mutex<Vec<String>>,
    }

    impl Scripted {
        fn new(script: impl IntoIterator<Item = Result<(), DeliveryError>>) -> Arc<Self> {
            Arc::new(Self { script: Mutex::new(script.into_iter().collect()), ..Self::default() })
        }
        fn heard(&self) -> Vec<String> {
            self.heard.lock().expect("lock").clone()
        }
    }

    #[async_trait]
    impl EventReceiver for Scripted {
        fn name(&self) -> &str {
            "siem"
        }
        fn place(&self) -> &str {
            "https://siem.example"
        }
        fn wants(&self, kind: &str) -> bool {
            kind != "breaker.closed"
        }
        fn gives_up_after(&self) -> Duration {
            Duration::from_secs(24 * 3_600)
        }
        async fn deliver(&self, event: &Event) -> Result<(), DeliveryError> {
            self.heard.lock().expect("lock").push(event.id.clone());
            let next = self.script.lock().expect("lock").pop_front();
            next.unwrap_or_else(|| self.always.clone().map_or(Ok(()), Err))
        }
        fn waits(&self) -> Box<dyn Iterator<Item = Duration> + Send> {
            Box::new(std::iter::repeat(Duration::from_secs(60)))
        }
    }

    /// A time that goes on with Tokio's.
    struct Virtual(Instant);

    impl Clock for Virtual {
        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH + SignedDuration::try_from(self.0.elapsed()).expect("short")
        }
    }

    struct World {
        store: MemoryStore,
        clock: Arc<Virtual>,
        registrar: Registrar,
        stop: CancellationToken,
    }

    impl World {
        fn new() -> Self {
            let (clock, stop) = (Arc::new(Virtual(Instant::now())), CancellationToken::new());
            Self { store: MemoryStore::default(), clock, registrar: Registrar::default(), stop }
        }
        async fn happens(&self, n: u32, kind: EventKind) -> String {
            let event = Event::new(u128::from(n), kind, self.clock.now(), json!({ "n": n }));
            self.store.append_event(&event, None).await.expect("appended");
            event.id
        }
        async fn relay(&self, receiver: &Arc<Scripted>) -> tokio::task::JoinHandle<()> {
            let store = Arc::new(self.store.clone());
            let metrics = Deliveries::new(&self.registrar, ["siem"]);
            let relay = Relay::open(receiver.clone(), store.clone(), store, self.clock.clone(), metrics).await;
            tokio::spawn(relay.expect("opens").run(self.stop.clone()))
        }
        async fn standing(&self) -> ReceiverStanding {
            ReceiverStanding::load(&self.store, "siem").await.expect("readable").expect("kept")
        }
    }

    fn later() -> Result<(), DeliveryError> {
        Err(DeliveryError::Later("it answers 503".into()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_fails_is_told_in_order_and_of_each_event_under_one_id() {
        let world = World::new();
        world.happens(1, EventKind::Test).await;
        let receiver = Scripted::new([later(), later(), Ok(()), later()]);
        let _relay = world.relay(&receiver).await;
        let first = world.happens(2, EventKind::AccountRevoked).await;
        world.happens(3, EventKind::BreakerClosed).await;
        let second = world.happens(4, EventKind::BreakerOpened).await;
        tokio::time::sleep(Duration::from_secs(600)).await;
        let [f, s] = [first.as_str(), second.as_str()];
        assert_eq!(receiver.heard(), [f, f, f, s, s], "not of what was before it, nor of what it does not want");
        let standing = world.standing().await;
        assert_eq!((standing.told_up_to, standing.delivered, standing.given_up), (4, 2, 0));
        assert_eq!(standing.failing, None);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_takes_over_goes_on_where_the_other_was() {
        let world = World::new();
        let receiver = Scripted::new([Ok(()), later(), later()]);
        let relay = world.relay(&receiver).await;
        let first = world.happens(1, EventKind::Test).await;
        let second = world.happens(2, EventKind::Test).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(world.standing().await.failing.expect("fails").tries, 1);
        relay.abort();
        let _other = world.relay(&receiver).await;
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert_eq!(receiver.heard(), [first, second.clone(), second.clone(), second]);
        assert_eq!(world.standing().await.told_up_to, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_that_nobody_takes_for_a_day_is_given_up_and_listed() {
        let world = World::new();
        let receiver =
            Arc::new(Scripted { always: Some(DeliveryError::Later("it answers 503".into())), ..Scripted::default() });
        let _relay = world.relay(&receiver).await;
        let id = world.happens(1, EventKind::Test).await;
        tokio::time::sleep(Duration::from_secs(23 * 3_600)).await;
        assert_eq!(world.standing().await.given_up, 0, "a day is not over");
        tokio::time::sleep(Duration::from_secs(2 * 3_600)).await;
        let standing = world.standing().await;
        assert_eq!((standing.told_up_to, standing.given_up, standing.delivered), (1, 1, 0));
        let undelivered = standing.undelivered.front().expect("listed");
        assert_eq!((&undelivered.event, undelivered.problem.as_str()), (&id, "it answers 503"));
        assert!(undelivered.tries > 1_000, "{}", undelivered.tries);
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_that_is_refused_for_what_it_is_does_not_hold_up_the_others() {
        let world = World::new();
        let refusal = || Err(DeliveryError::Refused("it answers 422".into()));
        let receiver = Scripted::new([refusal(), refusal(), later(), refusal(), refusal(), refusal()]);
        let _relay = world.relay(&receiver).await;
        world.happens(1, EventKind::Test).await;
        let second = world.happens(2, EventKind::Test).await;
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        let heard = receiver.heard();
        assert_eq!((heard.len(), heard.last()), (7, Some(&second)));
        let standing = world.standing().await;
        assert_eq!((standing.given_up, standing.delivered), (1, 1));
    }
}

use super::{
    connection::{Live, answered},
    link::{Link, blocked},
    message::Outgoing,
    trouble::Trouble,
};
use fleetscan_proto::QueueError;
use futures_util::{StreamExt, stream::FuturesUnordered};
use lapin::{
    Channel, Confirmation,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout_at},
};

/// Channels that publish at the same time.
const CHANNELS: usize = 4;
/// Messages of a channel that wait for their confirms together.
const WINDOW: usize = 1_000;
/// Messages of one request.
const CHUNK: usize = 250;
/// Requests that wait for a channel; who has more waits.
const REQUESTS: usize = 64;
/// How often one looks whether the broker has blocked the connection.
const BLOCKED_CHECK: Duration = Duration::from_millis(200);

/// Publishes with confirms. Whoever publishes at the same time shares windows, so many small requests are as fast as
/// one large.
pub(super) struct Publisher {
    requests: mpsc::Sender<Request>,
    limit: Duration,
}

struct Request {
    messages: Vec<Outgoing>,
    reply: oneshot::Sender<Result<(), Failure>>,
}

/// Why messages were not taken, the gravest last.
#[derive(Debug, Clone)]
enum Failure {
    Full,
    Trouble(Trouble),
}

impl Publisher {
    /// Begins to work; ends when it is dropped.
    pub fn start(link: Arc<Link>, confirm_timeout: Duration, answer_timeout: Duration) -> Self {
        let (requests, waiting) = mpsc::channel(REQUESTS);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..CHANNELS {
            let (link, waiting) = (Arc::clone(&link), Arc::clone(&waiting));
            let worker = Worker { link, waiting, confirm_timeout, answer_timeout, own: None };
            tokio::spawn(worker.run());
        }
        Self { requests, limit: confirm_timeout + 2 * answer_timeout }
    }

    /// Publishes and waits for every confirm. After an error any of them may have been taken.
    pub async fn publish(
        &self,
        messages: impl IntoIterator<Item = Outgoing, IntoIter: Send>,
    ) -> Result<(), QueueError> {
        let silent = || QueueError::Away("the broker does not confirm".into());
        let mut replies = FuturesUnordered::new();
        let mut messages = messages.into_iter().peekable();
        let mut worst = None;
        while messages.peek().is_some() {
            // Half of the channels' room is enough to keep them busy.
            if replies.len() >= CHANNELS * WINDOW / CHUNK * 2
                && let Some(reply) = replies.next().await
                && let Err(failure) = reply
            {
                worst = Some(failure);
                break;
            }
            let (reply, answer) = oneshot::channel();
            let request = Request { messages: messages.by_ref().take(CHUNK).collect(), reply };
            let deadline = Instant::now() + self.limit;
            let sent = timeout_at(deadline, self.requests.send(request)).await;
            sent.map_err(|_| silent())?.map_err(|_| silent())?;
            let limit = self.limit;
            replies.push(async move {
                match tokio::time::timeout(limit, answer).await {
                    Ok(Ok(answer)) => answer,
                    _ => Err(Failure::Trouble(Trouble::Away("the broker does not confirm".into()))),
                }
            });
        }
        while let Some(reply) = replies.next().await {
            match (reply, &worst) {
                (Err(Failure::Full), Some(Failure::Trouble(_))) | (Ok(()), _) => {}
                (Err(failure), _) => worst = Some(failure),
            }
        }
        match worst {
            None => Ok(()),
            Some(Failure::Full) => Err(QueueError::Full),
            Some(Failure::Trouble(trouble)) => Err(trouble.into()),
        }
    }
}

/// One channel.
struct Worker {
    link: Arc<Link>,
    waiting: Arc<Mutex<mpsc::Receiver<Request>>>,
    confirm_timeout: Duration,
    answer_timeout: Duration,
    own: Option<(Arc<Live>, Channel)>,
}

impl Worker {
    async fn run(mut self) {
        loop {
            let window = self.gather().await;
            if window.is_empty() {
                return;
            }
            let answers = self.send(&window).await;
            for (n, request) in window.into_iter().enumerate() {
                let answer = match &answers {
                    Ok(full) if full.contains(&n) => Err(Failure::Full),
                    Ok(_) => Ok(()),
                    Err(trouble) => Err(Failure::Trouble(trouble.clone())),
                };
                // Who asked may have given up.
                let _ = request.reply.send(answer);
            }
        }
    }

    /// What waits, at most a window of it; nothing when there is nobody left to ask.
    async fn gather(&self) -> Vec<Request> {
        let mut waiting = self.waiting.lock().await;
        let Some(first) = waiting.recv().await else { return Vec::new() };
        let mut size = first.messages.len();
        let mut window = vec![first];
        while size + CHUNK <= WINDOW
            && let Ok(next) = waiting.try_recv()
        {
            size += next.messages.len();
            window.push(next);
        }
        window
    }

    /// Publishes a window; answers which of its requests met a full queue.
    async fn send(&mut self, window: &[Request]) -> Result<Vec<usize>, Trouble> {
        let live = self.link.get().await?;
        let sent = match self.channel(&live).await {
            Ok(channel) => self.confirmed(&live, &channel, window).await,
            Err(trouble) => Err(trouble),
        };
        if sent.is_err() {
            self.own = None;
            if !live.is_blocked() {
                self.link.discard(&live).await;
            }
        }
        sent
    }

    async fn channel(&mut self, live: &Arc<Live>) -> Result<Channel, Trouble> {
        if let Some((own, channel)) = &self.own
            && own.id == live.id
            && channel.status().connected()
        {
            return Ok(channel.clone());
        }
        self.own = None;
        let channel = live.channel().await?;
        answered(self.answer_timeout, channel.confirm_select(ConfirmSelectOptions::default())).await?;
        self.own = Some((Arc::clone(live), channel.clone()));
        Ok(channel)
    }

    async fn confirmed(&self, live: &Live, channel: &Channel, window: &[Request]) -> Result<Vec<usize>, Trouble> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        // All are handed over before any is waited for: each future sends when it is first polled.
        let mut confirms: FuturesUnordered<_> = window
            .iter()
            .enumerate()
            .flat_map(|(n, request)| request.messages.iter().map(move |message| (n, message)))
            .map(|(n, message)| async move {
                let Outgoing { exchange, key, body, .. } = message;
                let published =
                    channel.basic_publish(exchange.clone(), key.clone(), options, body, message.properties());
                Ok::<_, lapin::Error>((n, published.await?.await?))
            })
            .collect();
        let deadline = Instant::now() + self.confirm_timeout;
        let mut check = interval(BLOCKED_CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut full = Vec::new();
        // The client may lay a returned message beside another's confirm: one returned, and the window is void.
        let mut returned = None;
        loop {
            tokio::select! {
                confirm = confirms.next() => match confirm {
                    None => break,
                    Some(Err(error)) => return Err(Trouble::Away(Trouble::from(error).words())),
                    Some(Ok((n, Confirmation::Nack(back)))) => {
                        full.push(n);
                        returned = returned.or(back);
                    }
                    Some(Ok((_, Confirmation::Ack(back)))) => returned = returned.or(back),
                    Some(Ok((_, Confirmation::NotRequested))) => {
                        return Err(Trouble::Away("the channel does not confirm".into()));
                    }
                },
                _ = check.tick() => if live.is_blocked() {
                    return Err(blocked());
                },
                () = sleep_until(deadline) => return Err(Trouble::Away("the broker does not confirm".into())),
            }
        }
        match returned {
            None => Ok(full),
            Some(back) => Err(Trouble::Away(format!(
                "it has no queue for {} of {}: the queues are declared anew",
                back.delivery.routing_key, back.delivery.exchange
            ))),
        }
    }
}

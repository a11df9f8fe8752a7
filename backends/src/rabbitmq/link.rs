use super::{
    connection::Live,
    options::RabbitOptions,
    topology::Topology,
    trouble::{Trouble, backoff},
};
use std::sync::Arc;
use tokio::{sync::Mutex, time::Instant};

/// A connection that is made when it is asked for, and made anew when it broke. While the broker stays away it answers
/// so at once, and knocks again only after growing pauses.
pub(super) struct Link {
    options: Arc<RabbitOptions>,
    topology: Arc<Topology>,
    purpose: &'static str,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    live: Option<Arc<Live>>,
    failures: u32,
    pause: Option<(Instant, Trouble)>,
    /// After a fault the broker may be another, with none of the queues.
    undeclared: bool,
}

impl Link {
    pub fn new(options: Arc<RabbitOptions>, topology: Arc<Topology>, purpose: &'static str) -> Self {
        Self { options, topology, purpose, state: Mutex::default() }
    }

    /// The connection, with all queues declared since it was made anew.
    pub async fn get(&self) -> Result<Arc<Live>, Trouble> {
        let mut state = self.state.lock().await;
        if let Some(live) = &state.live {
            match (live.is_up(), live.is_blocked()) {
                (true, false) if !state.undeclared => return Ok(Arc::clone(live)),
                // It is kept: a new one would be blocked as well, by its first message.
                (true, true) => return Err(blocked()),
                _ => state.drop_live(),
            }
        }
        if let Some((until, trouble)) = &state.pause
            && Instant::now() < *until
        {
            return Err(trouble.clone());
        }
        match self.open(state.undeclared).await {
            Ok(live) => {
                let live = Arc::new(live);
                *state = State { live: Some(Arc::clone(&live)), ..State::default() };
                Ok(live)
            }
            Err(trouble) => {
                tracing::debug!(purpose = self.purpose, ?trouble, "no connection to the broker");
                state.pause = Some((Instant::now() + backoff(state.failures), trouble.clone()));
                state.failures = state.failures.saturating_add(1);
                state.undeclared = true;
                Err(trouble)
            }
        }
    }

    async fn open(&self, declare: bool) -> Result<Live, Trouble> {
        let live = Live::open(&self.options, self.purpose).await?;
        if declare {
            self.topology.declare(&live).await?;
        }
        Ok(live)
    }

    /// Declares all queues.
    pub async fn declare(&self) -> Result<(), Trouble> {
        let live = self.get().await?;
        let declared = self.topology.declare(&live).await;
        if declared.is_err() {
            self.discard(&live).await;
        }
        declared
    }

    /// Gives a connection up after a fault; the next one declares the queues first.
    pub async fn discard(&self, broken: &Live) {
        let mut state = self.state.lock().await;
        if state.live.as_ref().is_some_and(|live| live.id == broken.id) {
            state.drop_live();
        }
    }
}

impl State {
    fn drop_live(&mut self) {
        if let Some(live) = self.live.take() {
            live.cut();
        }
        self.undeclared = true;
    }
}

pub(super) fn blocked() -> Trouble {
    Trouble::Away("it takes no messages for want of memory or disk (an alarm is on)".into())
}

use super::{
    deliveries::{Deliveries, Held},
    message::Outgoing,
    options::RabbitOptions,
    publisher::Publisher,
    pump::{Choice, Pump},
    topology::Topology,
    trouble::Trouble,
};
use async_trait::async_trait;
use fleetscan_proto::{Delivery, QueueError, Shards, Task, TaskConsumer};
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::AbortHandle,
    time::timeout,
};

/// A consumer: one connection, one channel, one subscription for each chosen shard and lane.
pub(super) struct RabbitConsumer {
    deliveries: Arc<Deliveries>,
    publisher: Arc<Publisher>,
    topology: Arc<Topology>,
    prefetch: usize,
    wire_version: u32,
    answer_timeout: Duration,
    choices: mpsc::Sender<Choice>,
    pump: AbortHandle,
}

impl RabbitConsumer {
    /// Connects and subscribes; from then on a task of its own keeps it so.
    pub async fn start(
        worker: &str,
        prefetch: u16,
        options: Arc<RabbitOptions>,
        topology: Arc<Topology>,
        publisher: Arc<Publisher>,
        deliveries: Arc<Deliveries>,
    ) -> Result<Self, Trouble> {
        let (choices, asked) = mpsc::channel(8);
        let (answer_timeout, wire_version) = (options.answer_timeout, options.wire_version);
        let pump = Pump::new(worker, prefetch, options, Arc::clone(&topology), Arc::clone(&publisher), &deliveries);
        let session = pump.connect().await?;
        let pump = tokio::spawn(pump.run(session, asked)).abort_handle();
        Ok(Self {
            deliveries,
            publisher,
            topology,
            prefetch: prefetch.into(),
            wire_version,
            answer_timeout,
            choices,
            pump,
        })
    }

    /// How to make the pump look at what is wanted.
    pub fn choices(&self) -> mpsc::WeakSender<Choice> {
        self.choices.downgrade()
    }

    /// Has the pump subscribe to what is wanted now.
    async fn subscribe_anew(&self) -> Result<(), QueueError> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            self.choices.send(answer).await.ok()?;
            answered.await.ok()
        };
        match timeout(self.answer_timeout, asked).await {
            Ok(Some(())) => Ok(()),
            // The choice stands: it holds from the next connection on.
            _ => Err(QueueError::Away("the broker does not answer".into())),
        }
    }

    /// Publishes what takes the delivery's place, and only then ends it.
    async fn replace(&self, tag: u64, message: impl FnOnce(Held) -> Outgoing) -> Result<(), QueueError> {
        let held = self.deliveries.lock().begin_end(tag)?;
        // Also where the caller gives up waiting, the delivery can be ended again.
        let mut guard = Ending { deliveries: &self.deliveries, tag: Some(tag) };
        self.publisher.publish([message(held)]).await?;
        guard.tag = None;
        self.end(tag)
    }

    fn end(&self, tag: u64) -> Result<(), QueueError> {
        self.deliveries.lock().end(tag)?;
        self.deliveries.ended.notify_one();
        self.deliveries.changed.notify_waiters();
        Ok(())
    }
}

struct Ending<'a> {
    deliveries: &'a Deliveries,
    tag: Option<u64>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if let Some(tag) = self.tag {
            self.deliveries.lock().cancel_end(tag);
        }
    }
}

#[async_trait]
impl TaskConsumer for RabbitConsumer {
    async fn next(&self) -> Result<Option<Delivery>, QueueError> {
        loop {
            let changed = self.deliveries.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.deliveries.lock();
                if state.closed {
                    return Ok(None);
                }
                if let Some(delivery) = state.hand_out(self.prefetch) {
                    return Ok(Some(delivery));
                }
            }
            if timeout(self.answer_timeout, changed).await.is_err()
                && let Some(trouble) = self.deliveries.lock().trouble.clone()
            {
                return Err(trouble.into());
            }
        }
    }

    fn held(&self) -> u64 {
        let state = self.deliveries.lock();
        (state.ready.iter().count() + state.held()) as u64
    }

    fn take_newer(&self) -> BTreeSet<u16> {
        std::mem::take(&mut self.deliveries.lock().newer)
    }

    fn wire_version(&self) -> u32 {
        self.wire_version
    }

    async fn choose(&self, shards: Shards) -> Result<(), QueueError> {
        {
            let mut state = self.deliveries.lock();
            (state.wanted, state.favoured) = (shards, BTreeMap::new());
        }
        self.subscribe_anew().await
    }

    async fn favour(&self, shards: BTreeSet<u16>) -> Result<(), QueueError> {
        {
            let mut state = self.deliveries.lock();
            let part = self.prefetch / shards.len().max(1);
            if shards.is_empty() {
                state.favoured.clear();
            }
            for shard in shards {
                // What one has it keeps: less of it would be a subscription anew, for nothing.
                let most = state.favoured.entry(shard).or_default();
                *most = u16::try_from(part).unwrap_or(u16::MAX).max(*most);
            }
        }
        self.subscribe_anew().await
    }

    async fn ack(&self, tag: u64) -> Result<(), QueueError> {
        // Somebody may be about to end it in another way.
        self.deliveries.lock().begin_end(tag)?;
        self.end(tag)
    }

    async fn defer(&self, tag: u64, task: Task, delay: Duration) -> Result<(), QueueError> {
        self.replace(tag, |_| self.topology.deferred(&task, delay, Timestamp::now())).await
    }

    async fn release(&self, tag: u64) -> Result<(), QueueError> {
        // Put back by the broker itself, it would count as a redelivery.
        self.replace(tag, |held| self.topology.work(&held.task).with_redeliveries(held.redeliveries)).await
    }

    async fn dead_letter(&self, tag: u64, reason: &str) -> Result<(), QueueError> {
        self.replace(tag, |held| self.topology.dead_task(&held.task, reason)).await
    }
}

impl Drop for RabbitConsumer {
    fn drop(&mut self) {
        self.deliveries.flush();
        self.pump.abort();
        // The channel's last handles go, and with them the connection: what is held goes back.
        self.deliveries.lock().disconnected(Trouble::Away("the consumer ended".into()));
    }
}

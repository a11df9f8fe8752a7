use fleetscan_proto::{QueueError, SinkError, StoreError};

/// Why a scan could not go on. What was done so far is kept: the same scan can be resumed, but for `Lost`.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The store is away or refuses.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The queue refuses.
    #[error("{0}")]
    Queue(#[from] QueueError),
    /// The results cannot be written or read.
    #[error("{0}")]
    Sink(#[from] SinkError),
    /// What was asked cannot be done.
    #[error("{0}")]
    Refused(String),
    /// Something that cannot be.
    #[error("{0}")]
    Internal(String),
}

/// Repeats a call on the store while the store is away, for as long as the options allow.
///
/// Repeating is safe: each method is one atomic change that changes nothing the second time. Giving up in the middle
/// of a step is not, since the step would not know what became of it; hence each call insists by itself.
macro_rules! insist {
    ($options:expr, $call:expr) => {{
        let started = tokio::time::Instant::now();
        loop {
            match $call.await {
                Err(fleetscan_proto::StoreError::Away(reason)) if started.elapsed() < $options.store_patience => {
                    tracing::warn!(%reason, "the store is away; trying again");
                    tokio::time::sleep($options.store_retry).await;
                }
                answer => break answer,
            }
        }
    }};
}
pub(crate) use insist;

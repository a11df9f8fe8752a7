use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore, SemaphorePermit};

/// Begins of a cell without an end, after which it counts as poison: once in the crowd, once among a few, and the rest
/// alone, so that nothing innocent comes so far.
pub(crate) const POISON: u32 = 5;
/// Cells that ran once without an end run with at most this many of their like.
const AMONG_FEW: usize = 8;

/// Keeps cells apart that were in work when a worker died: one of them may have killed it. Each death narrows the
/// circle, and the innocent complete while they wait for nothing but their turn.
#[derive(Debug)]
pub(crate) struct Isolation {
    few: Semaphore,
    alone: RwLock<()>,
}

/// Leave to run a suspect.
pub(crate) enum Ward<'a> {
    /// Never failed to come to an end.
    Free,
    /// Among a few.
    Few(#[expect(dead_code, reason = "held, not read")] (SemaphorePermit<'a>, RwLockReadGuard<'a, ()>)),
    /// Alone among the suspects.
    Alone(#[expect(dead_code, reason = "held, not read")] RwLockWriteGuard<'a, ()>),
}

impl Isolation {
    pub(crate) fn new() -> Self {
        Self { few: Semaphore::new(AMONG_FEW), alone: RwLock::new(()) }
    }

    /// Waits until a cell with so many unfinished executions may begin.
    pub(crate) async fn admit(&self, unfinished: u32) -> Ward<'_> {
        match unfinished {
            0 => Ward::Free,
            1 => match self.few.acquire().await {
                Ok(permit) => Ward::Few((permit, self.alone.read().await)),
                // Never closed; and if it were, running alone would be safe.
                Err(_) => Ward::Alone(self.alone.write().await),
            },
            _ => Ward::Alone(self.alone.write().await),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn a_strong_suspect_runs_alone() {
        let isolation = Isolation::new();
        let few = isolation.admit(1).await;
        let another = isolation.admit(1).await;
        assert!(isolation.admit(2).now_or_never().is_none(), "it waits for the weak ones");
        assert!(isolation.admit(0).now_or_never().is_some(), "who is not suspected never waits");
        drop((few, another));
        let alone = isolation.admit(2).await;
        assert!(isolation.admit(1).now_or_never().is_none());
        assert!(isolation.admit(3).now_or_never().is_none());
        drop(alone);
    }
}

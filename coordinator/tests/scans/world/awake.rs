use super::watched::Watch;
use async_trait::async_trait;
use fleetscan_proto::Store;
use std::sync::mpsc;

/// Holds virtual time during a store's calls. Tokio's paused clock leaps to the next timer whenever all tasks wait, and a
/// task that waits for the database's own thread looks as idle as any.
pub struct KeepAwake;

/// While a blocking task runs, the paused clock stands still.
pub struct Awake {
    _until_dropped: mpsc::Sender<()>,
}

#[async_trait]
impl<S: Store> Watch<S> for KeepAwake {
    type Held = Awake;

    async fn before(&self, _store: &S, _method: &str) -> Awake {
        let (held, ended) = mpsc::channel::<()>();
        drop(tokio::task::spawn_blocking(move || ended.recv()));
        Awake { _until_dropped: held }
    }
}

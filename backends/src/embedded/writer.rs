use super::schema::prepare;
use fleetscan_proto::StoreError;
use rusqlite::{Connection, Savepoint};
use std::{path::Path, thread};
use tokio::sync::{
    mpsc::{Receiver, Sender, channel},
    oneshot,
};

/// Requests that wait at most; beyond it, callers wait.
const WAITING: usize = 4_096;
/// Requests that share one transaction at most.
const GROUP: usize = 256;

/// Tells a caller how its request ended, once the transaction is through.
type Reply = Box<dyn FnOnce(bool) + Send>;
type Request = Box<dyn FnOnce(&mut Savepoint<'_>) -> Reply + Send>;

/// The one thread that has the database. Requests that wait together share a transaction, and so an fsync.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    requests: Sender<Request>,
}

impl Writer {
    pub(super) fn open(path: &Path) -> Result<Writer, StoreError> {
        let refused =
            |why: String| StoreError::Refused(format!("the data file {} cannot be used: {why}", path.display()));
        let connection = Connection::open(path).map_err(|e| refused(e.to_string()))?;
        prepare(&connection).map_err(refused)?;
        let (requests, waiting) = channel(WAITING);
        thread::Builder::new()
            .name("store".into())
            .spawn(move || serve(connection, waiting))
            .map_err(|e| refused(e.to_string()))?;
        Ok(Writer { requests })
    }

    /// Runs one request in a transaction: all of it or nothing.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let request: Request = Box::new(move |transaction| {
            let result = in_savepoint(transaction, work);
            Box::new(move |committed| {
                let result = match result {
                    Ok(_) if !committed => Err(StoreError::Away("the transaction was not committed".into())),
                    Ok(value) => Ok(value),
                    Err(error) => Err(store_error(&error)),
                };
                // A caller that went away does not want the answer.
                let _unwanted = answer.send(result);
            })
        });
        let closed = || StoreError::Away("the store is closed".into());
        self.requests.send(request).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }
}

fn in_savepoint<T>(
    transaction: &mut Savepoint<'_>,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let savepoint = transaction.savepoint()?;
    let value = work(&savepoint)?;
    savepoint.commit()?;
    Ok(value)
}

fn serve(mut connection: Connection, mut waiting: Receiver<Request>) {
    while let Some(first) = waiting.blocking_recv() {
        let mut replies: Vec<Reply> = Vec::new();
        let committed = group(&mut connection, first, &mut waiting, &mut replies);
        if let Err(error) = &committed {
            tracing::error!(error = %error, "store.commit.failed");
        }
        replies.into_iter().for_each(|reply| reply(committed.is_ok()));
    }
}

fn group(
    connection: &mut Connection,
    first: Request,
    waiting: &mut Receiver<Request>,
    replies: &mut Vec<Reply>,
) -> rusqlite::Result<()> {
    let mut transaction = connection.savepoint()?;
    replies.push(first(&mut transaction));
    while replies.len() < GROUP
        && let Ok(request) = waiting.try_recv()
    {
        replies.push(request(&mut transaction));
    }
    transaction.commit()
}

fn store_error(error: &rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode as Code;
    match error.sqlite_error_code() {
        Some(Code::DiskFull | Code::DatabaseBusy | Code::DatabaseLocked | Code::SystemIoFailure) => {
            StoreError::Away(error.to_string())
        }
        Some(Code::DatabaseCorrupt | Code::NotADatabase) => StoreError::Lost(error.to_string()),
        _ => StoreError::Refused(error.to_string()),
    }
}

use fleetscan_proto::StoreError;
use rusqlite::{Connection, Savepoint};
use std::thread;
use tokio::sync::{
    mpsc::{Receiver, Sender, channel},
    oneshot,
};

/// Requests that wait at most; beyond it, callers wait.
const WAITING: usize = 4_096;

/// Tells a caller how its request ended, once the transaction is through.
type Reply = Box<dyn FnOnce(bool) + Send>;
type Request = Box<dyn FnOnce(&mut Savepoint<'_>) -> Reply + Send>;

/// A thread that has a connection to the database, and carries out requests in their order.
#[derive(Debug, Clone)]
pub(super) struct Thread {
    requests: Sender<Request>,
}

impl Thread {
    /// Starts it. Up to `group` requests that wait together share a transaction, and so a commit.
    pub(super) fn start(name: &str, connection: Connection, group: usize) -> std::io::Result<Thread> {
        let (requests, waiting) = channel(WAITING);
        thread::Builder::new().name(name.into()).spawn(move || serve(connection, waiting, group))?;
        Ok(Thread { requests })
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
        // The thread outlives its handles, unless it panicked: then trying again mends nothing.
        let unanswered = || match self.requests.is_closed() {
            true => StoreError::Refused("the store's thread has ended".into()),
            false => StoreError::Away("the transaction did not begin".into()),
        };
        self.requests.send(request).await.map_err(|_| unanswered())?;
        answered.await.map_err(|_| unanswered())?
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

fn serve(mut connection: Connection, mut waiting: Receiver<Request>, limit: usize) {
    while let Some(first) = waiting.blocking_recv() {
        let mut replies: Vec<Reply> = Vec::new();
        let committed = group(&mut connection, first, &mut waiting, limit, &mut replies);
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
    limit: usize,
    replies: &mut Vec<Reply>,
) -> rusqlite::Result<()> {
    // Where it cannot begin, the request is dropped, which tells its caller.
    let mut transaction = connection.savepoint()?;
    replies.push(first(&mut transaction));
    while replies.len() < limit
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

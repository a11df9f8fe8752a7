use super::link::Shared;
use fleetscan_proto::StoreError;
use redis::{Cmd, ErrorKind, ServerErrorKind, Value};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Requests that wait to be sent; who has more waits.
const WAITING: usize = 1_024;
/// Commands sent together. A request with more goes alone.
const COMMANDS: usize = 256;
/// Batches under way at once: the next one gathers while these are answered.
const UNDER_WAY: usize = 2;

/// Sends what is asked at the same time as one batch, which costs client and server one turn instead of many. Nobody
/// waits for company: a request that finds the line free goes at once.
#[derive(Clone)]
pub(super) struct Batches {
    requests: mpsc::Sender<Request>,
}

struct Request {
    commands: Vec<Cmd>,
    reply: oneshot::Sender<Result<Vec<Value>, Failure>>,
}

/// Why a request has no answer.
pub(super) enum Failure {
    /// The server does not know a script by that name.
    NoScript,
    Store(StoreError),
}

impl Batches {
    /// Begins to work; ends when the last of its clones is dropped.
    pub(super) fn start(shared: Arc<Shared>) -> Self {
        let (requests, waiting) = mpsc::channel(WAITING);
        tokio::spawn(work(shared, waiting));
        Self { requests }
    }

    /// Answers what each command did.
    pub(super) async fn ask(&self, commands: Vec<Cmd>) -> Result<Vec<Value>, Failure> {
        let gone = || Failure::Store(StoreError::Away("the connection's task has ended".into()));
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request { commands, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

async fn work(shared: Arc<Shared>, mut waiting: mpsc::Receiver<Request>) {
    let line = Arc::new(Semaphore::new(UNDER_WAY));
    let mut next = None;
    loop {
        let Ok(place) = Arc::clone(&line).acquire_owned().await else { return };
        let first = match next.take() {
            Some(request) => request,
            None => match waiting.recv().await {
                Some(request) => request,
                None => return,
            },
        };
        let mut size = first.commands.len();
        let mut batch = vec![first];
        while let Ok(request) = waiting.try_recv() {
            size += request.commands.len();
            if size > COMMANDS {
                next = Some(request);
                break;
            }
            batch.push(request);
        }
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            answer(&shared, batch).await;
            drop(place);
        });
    }
}

async fn answer(shared: &Shared, mut batch: Vec<Request>) {
    let sizes: Vec<usize> = batch.iter().map(|request| request.commands.len()).collect();
    let all = batch.iter_mut().flat_map(|request| request.commands.drain(..)).collect();
    match shared.batch(all).await {
        Err(error) => {
            for request in batch {
                // Who asked may have given up.
                let _ = request.reply.send(Err(Failure::Store(again(&error))));
            }
        }
        Ok(values) => {
            let mut values = values.into_iter();
            for (request, size) in batch.into_iter().zip(sizes) {
                let own: Vec<Value> = values.by_ref().take(size).collect();
                let _ = request.reply.send(own.into_iter().map(|value| read(shared, value)).collect());
            }
        }
    }
}

fn read(shared: &Shared, value: Value) -> Result<Value, Failure> {
    value.extract_error().map_err(|error| match error.kind() {
        ErrorKind::Server(ServerErrorKind::NoScript) => Failure::NoScript,
        _ => Failure::Store(shared.trouble(&error)),
    })
}

/// The same for another who asked.
fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Away(why) => StoreError::Away(why.clone()),
        StoreError::Lost(why) => StoreError::Lost(why.clone()),
        StoreError::Refused(why) => StoreError::Refused(why.clone()),
    }
}

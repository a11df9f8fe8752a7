use super::{
    link::{Shared, refused},
    script::Script,
};
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
    ask: Ask,
    reply: oneshot::Sender<Result<Vec<Value>, Failure>>,
}

/// What is asked.
pub(super) enum Ask {
    /// Commands, answered one by one.
    Commands(Vec<Cmd>),
    /// One entry of a script that takes many, answered by one value.
    Entry(Entry),
}

/// An entry of a script that takes many: what comes at the same time is one call, which spares the server most of what
/// a call costs. The script's keys are the shared ones and then one for each entry; its arguments are the entries' own,
/// one after the other; it answers a list with one value for each.
pub(super) struct Entry {
    pub(super) script: &'static Script,
    /// Whether the script is sent whole, or by the name that the server knows it by.
    pub(super) whole: bool,
    /// Of the same hash tag, as `key` is.
    pub(super) shared: Vec<String>,
    pub(super) key: String,
    /// As many for every entry of a script.
    pub(super) arguments: Vec<Vec<u8>>,
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

    /// Answers what each command did, or the entry's one value.
    pub(super) async fn ask(&self, ask: Ask) -> Result<Vec<Value>, Failure> {
        let gone = || Failure::Store(StoreError::Away("the connection's task has ended".into()));
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request { ask, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl Request {
    fn size(&self) -> usize {
        match &self.ask {
            Ask::Commands(commands) => commands.len(),
            Ask::Entry(_) => 1,
        }
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
        let mut size = first.size();
        let mut batch = vec![first];
        while let Ok(request) = waiting.try_recv() {
            size += request.size();
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

type Reply = oneshot::Sender<Result<Vec<Value>, Failure>>;

/// Entries that one call is made of, and who asked for each.
struct Joined {
    entries: Vec<Entry>,
    replies: Vec<Reply>,
}

impl Joined {
    fn of(entry: Entry, reply: Reply) -> Self {
        Self { entries: vec![entry], replies: vec![reply] }
    }

    fn takes(&self, other: &Entry) -> bool {
        let first = &self.entries[0];
        first.script.hash == other.script.hash && first.whole == other.whole && first.shared == other.shared
    }

    fn call(&self) -> Cmd {
        let first = &self.entries[0];
        let keys: Vec<&str> =
            first.shared.iter().chain(self.entries.iter().map(|e| &e.key)).map(String::as_str).collect();
        let arguments: Vec<&[u8]> = self.entries.iter().flat_map(|e| &e.arguments).map(Vec::as_slice).collect();
        first.script.call(first.whole, &keys, &arguments)
    }

    /// Hands each its value of the call's one answer.
    fn answer(self, answer: Result<Value, Failure>) {
        let values = match answer {
            Ok(Value::Array(values)) if values.len() == self.replies.len() => values,
            Ok(_) => {
                return self
                    .fail(|| Failure::Store(refused("a script answered for more or fewer than it was asked for")));
            }
            Err(Failure::NoScript) => return self.fail(|| Failure::NoScript),
            Err(Failure::Store(error)) => return self.fail(|| Failure::Store(again(&error))),
        };
        for (value, reply) in values.into_iter().zip(self.replies) {
            // Who asked may have given up.
            let _ = reply.send(Ok(vec![value]));
        }
    }

    fn fail(self, why: impl Fn() -> Failure) {
        for reply in self.replies {
            let _ = reply.send(Err(why()));
        }
    }
}

/// A batch on its way: commands as they came, then calls of joined entries. Who asks for several things at once awaits
/// them in no order.
#[derive(Default)]
struct Turn {
    commands: Vec<Cmd>,
    /// Who asked for the commands, and for how many of them.
    alone: Vec<(Reply, usize)>,
    joined: Vec<Joined>,
}

impl Turn {
    fn of(batch: Vec<Request>) -> Self {
        let mut turn = Self::default();
        for Request { ask, reply } in batch {
            match ask {
                Ask::Commands(own) => {
                    turn.alone.push((reply, own.len()));
                    turn.commands.extend(own);
                }
                Ask::Entry(entry) => match turn.joined.iter_mut().find(|joined| joined.takes(&entry)) {
                    Some(joined) => {
                        joined.entries.push(entry);
                        joined.replies.push(reply);
                    }
                    None => turn.joined.push(Joined::of(entry, reply)),
                },
            }
        }
        turn.commands.extend(turn.joined.iter().map(Joined::call));
        turn
    }
}

async fn answer(shared: &Shared, batch: Vec<Request>) {
    let Turn { commands, alone, joined } = Turn::of(batch);
    match shared.batch(commands).await {
        Err(error) => {
            for (reply, _) in alone {
                let _ = reply.send(Err(Failure::Store(again(&error))));
            }
            for joined in joined {
                joined.fail(|| Failure::Store(again(&error)));
            }
        }
        Ok(values) => {
            let mut values = values.into_iter();
            for (reply, size) in alone {
                let own: Vec<Value> = values.by_ref().take(size).collect();
                let _ = reply.send(own.into_iter().map(|value| read(shared, value)).collect());
            }
            for (joined, value) in joined.into_iter().zip(values) {
                joined.answer(read(shared, value));
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

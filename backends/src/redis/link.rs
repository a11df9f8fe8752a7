use super::{
    RedisOptions,
    batch::{Ask, Batches, Entry, Failure},
    keys::Keys,
    script::Script,
};
use fleetscan_proto::StoreError;
use redis::{Client, Cmd, ErrorKind, FromRedisValue, RedisError, Value, aio::MultiplexedConnection};
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{sync::Mutex, time::timeout};

/// A connection that is made anew after any fault, with an end to every wait; and the name of the memory behind it.
#[derive(Clone)]
pub(super) struct Link {
    shared: Arc<Shared>,
    batches: Batches,
}

pub(super) struct Shared {
    client: Client,
    options: RedisOptions,
    epoch_key: String,
    epoch: OnceLock<String>,
    lost: AtomicBool,
    connection: Mutex<Option<MultiplexedConnection>>,
}

const LOST: &str = "it holds nothing that this process knows (it was wiped, or is another one). Bring the registry back \
    with `fleetscan accounts restore FILE`, then start coordinators and workers again";
const EMPTY: &str = "it has no accounts yet: connect some with `fleetscan accounts import FILE`, or, if it was in use \
    before, bring them back with `fleetscan accounts restore FILE`";

impl Link {
    /// Connects, and learns (or founds) the epoch.
    pub(super) async fn connect(options: RedisOptions, keys: &Keys) -> Result<Self, StoreError> {
        let client = open(&options)?;
        let epoch_key = keys.fleet("epoch");
        let shared = Shared {
            client,
            epoch_key: epoch_key.clone(),
            epoch: OnceLock::new(),
            lost: AtomicBool::new(false),
            connection: Mutex::new(None),
            options,
        };
        let shared = Arc::new(shared);
        if shared.options.found {
            let name = format!("{:032x}", rand::random::<u128>());
            let mut found = redis::cmd("SET");
            found.arg(&epoch_key).arg(name).arg("NX");
            shared.one(found).await?;
        }
        let epoch = Option::<String>::from_redis_value(shared.one(Cmd::get(&epoch_key)).await?);
        let Some(epoch) = epoch.map_err(|error| refused(&error.to_string()))? else {
            return Err(StoreError::Lost(format!("{}: {EMPTY}", shared.options.place())));
        };
        shared.epoch.get_or_init(|| epoch);
        Ok(Self { batches: Batches::start(Arc::clone(&shared)), shared })
    }

    /// The memory's name.
    pub(super) fn epoch(&self) -> String {
        self.shared.epoch.get().cloned().unwrap_or_default()
    }

    /// Runs a script; `None`: it answered nothing.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[String],
        arguments: &[Vec<u8>],
    ) -> Result<T, StoreError> {
        self.call(|whole| Ask::Commands(vec![script.call(whole, keys, arguments)])).await
    }

    /// Has an entry answered by a script that takes many: those that are asked for at the same time are one call.
    pub(super) async fn enter<T: FromRedisValue>(
        &self,
        script: &'static Script,
        shared: &[String],
        key: &str,
        arguments: &[Vec<u8>],
    ) -> Result<T, StoreError> {
        self.call(|whole| {
            let (shared, key, arguments) = (shared.to_vec(), key.to_owned(), arguments.to_vec());
            Ask::Entry(Entry { script, whole, shared, key, arguments })
        })
        .await
    }

    /// Calls a script by its name, and, where a server that was started anew does not know it yet, by its whole text.
    async fn call<T: FromRedisValue>(&self, script: impl Fn(bool) -> Ask) -> Result<T, StoreError> {
        match self.batches.ask(script(false)).await {
            Err(Failure::NoScript) => last(self.ask(script(true)).await?),
            Err(Failure::Store(error)) => Err(error),
            Ok(answer) => last(answer),
        }
    }

    /// Sends commands together, and answers what the last one did.
    pub(super) async fn command<T: FromRedisValue>(&self, command: Cmd) -> Result<T, StoreError> {
        last(self.ask(Ask::Commands(vec![command])).await?)
    }

    /// Sends commands together, and answers what each did.
    pub(super) async fn commands<T: FromRedisValue>(&self, commands: Vec<Cmd>) -> Result<Vec<T>, StoreError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self.ask(Ask::Commands(commands)).await?;
        answers.into_iter().map(|answer| T::from_redis_value(answer).map_err(|e| refused(&e.to_string()))).collect()
    }

    async fn ask(&self, ask: Ask) -> Result<Vec<Value>, StoreError> {
        self.batches.ask(ask).await.map_err(|failure| match failure {
            Failure::NoScript => refused("NOSCRIPT for a script that was sent whole"),
            Failure::Store(error) => error,
        })
    }
}

impl Shared {
    async fn one(&self, command: Cmd) -> Result<Value, StoreError> {
        let mut values = self.send(vec![command]).await?;
        let value = values.pop().ok_or_else(|| refused("the server answered nothing"))?;
        value.extract_error().map_err(|error| self.trouble(&error))
    }

    /// Sends commands together, asks for the epoch after them, and answers what each did: an error of the server's may
    /// stand in an answer's place. The server answers in order, so where the epoch is still there at the end, all of
    /// it was said by the memory that this process knows.
    pub(super) async fn batch(&self, mut commands: Vec<Cmd>) -> Result<Vec<Value>, StoreError> {
        let lost = || StoreError::Lost(format!("{}: {LOST}", self.options.place()));
        if self.lost.load(Relaxed) {
            return Err(lost());
        }
        commands.push(Cmd::get(&self.epoch_key));
        let mut answers = self.send(commands).await?;
        let last = answers.pop().ok_or_else(|| refused("the server answered nothing"))?;
        let last = last.extract_error().map_err(|error| self.trouble(&error))?;
        let epoch: Option<String> =
            FromRedisValue::from_redis_value(last).map_err(|error| refused(&error.to_string()))?;
        if epoch != self.epoch.get().cloned() {
            self.lost.store(true, Relaxed);
            return Err(lost());
        }
        Ok(answers)
    }

    async fn send(&self, commands: Vec<Cmd>) -> Result<Vec<Value>, StoreError> {
        let mut connection = self.connection().await?;
        let count = commands.len();
        let mut pipeline = redis::Pipeline::with_capacity(count);
        for command in commands {
            pipeline.add_command(command);
        }
        let answer = connection.send_packed_commands(&pipeline, 0, count);
        match timeout(self.options.answer_timeout, answer).await {
            Ok(Ok(values)) => Ok(values),
            Ok(Err(error)) => {
                let trouble = self.trouble(&error);
                if matches!(trouble, StoreError::Away(_)) {
                    self.drop_connection().await;
                }
                Err(trouble)
            }
            Err(_) => {
                self.drop_connection().await;
                let seconds = self.options.answer_timeout.as_secs();
                Err(StoreError::Away(format!("{} did not answer within {seconds} s", self.options.place())))
            }
        }
    }

    async fn connection(&self) -> Result<MultiplexedConnection, StoreError> {
        let mut held = self.connection.lock().await;
        if let Some(connection) = held.as_ref() {
            return Ok(connection.clone());
        }
        let options = &self.options;
        let config = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(options.connect_timeout))
            .set_response_timeout(Some(options.answer_timeout + Duration::from_secs(1)));
        let connect = self.client.get_multiplexed_async_connection_with_config(&config);
        let connection = match timeout(options.connect_timeout, connect).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(self.trouble(&error)),
            Err(_) => return Err(StoreError::Away(format!("{} cannot be reached", options.place()))),
        };
        *held = Some(connection.clone());
        Ok(connection)
    }

    async fn drop_connection(&self) {
        *self.connection.lock().await = None;
    }

    /// What an error means for whoever asked. The server's text is shown where it is the server's; it quotes no
    /// password.
    pub(super) fn trouble(&self, error: &RedisError) -> StoreError {
        let place = self.options.place();
        let code = error.code().unwrap_or_default();
        if error.kind() == ErrorKind::AuthenticationFailed {
            return StoreError::Refused(format!("{place} refuses the user or password"));
        }
        match code {
            "NOAUTH" | "WRONGPASS" => StoreError::Refused(format!("{place} wants another user or password ({code})")),
            "NOPERM" => StoreError::Refused(format!("{place}: the user lacks permissions ({code})")),
            "OOM" => StoreError::Away(format!("{place} is out of memory: raise its maxmemory, or remove old scans")),
            "LOADING" | "BUSY" | "READONLY" | "MASTERDOWN" | "MISCONF" | "TRYAGAIN" | "CLUSTERDOWN" => {
                StoreError::Away(format!("{place} cannot answer now ({code})"))
            }
            _ if error.is_io_error() || error.is_connection_dropped() || error.is_timeout() => {
                StoreError::Away(format!("{place}: {error}"))
            }
            _ => StoreError::Refused(format!("{place}: {error}")),
        }
    }
}

fn last<T: FromRedisValue>(mut answers: Vec<Value>) -> Result<T, StoreError> {
    let value = answers.pop().ok_or_else(|| refused("the server answered nothing"))?;
    T::from_redis_value(value).map_err(|error| refused(&error.to_string()))
}

pub(super) fn refused(why: &str) -> StoreError {
    StoreError::Refused(why.to_owned())
}

fn open(options: &RedisOptions) -> Result<Client, StoreError> {
    let wrong = |_: RedisError| {
        StoreError::Refused("the store's URL must be redis[s]://user:password@host:port/database".into())
    };
    let speaks_tls = options.url.starts_with("rediss://");
    match options.ca_file.as_ref().filter(|_| speaks_tls) {
        None => Client::open(options.url.as_str()).map_err(wrong),
        Some(file) => {
            let pem = std::fs::read(file)
                .map_err(|error| StoreError::Refused(format!("{} cannot be read: {error}", file.display())))?;
            let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(pem) };
            Client::build_with_tls(options.url.as_str(), certificates).map_err(wrong)
        }
    }
}

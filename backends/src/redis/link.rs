use super::{RedisOptions, keys::Keys, script::Script};
use fleetscan_proto::StoreError;
use redis::{Client, Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, Value, aio::MultiplexedConnection};
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
}

struct Shared {
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
        let link = Self { shared: Arc::new(shared) };
        if link.shared.options.found {
            let name = format!("{:032x}", rand::random::<u128>());
            let mut found = redis::cmd("SET");
            found.arg(&epoch_key).arg(name).arg("NX");
            let _set: Value = link.send(std::slice::from_ref(&found)).await.and_then(last)?;
        }
        let epoch: Option<String> = link.send(&[redis::Cmd::get(&epoch_key)]).await.and_then(last)?;
        let Some(epoch) = epoch else { return Err(StoreError::Lost(format!("{}: {EMPTY}", link.place()))) };
        link.shared.epoch.get_or_init(|| epoch);
        Ok(link)
    }

    /// The memory's name.
    pub(super) fn epoch(&self) -> String {
        self.shared.epoch.get().cloned().unwrap_or_default()
    }

    fn place(&self) -> String {
        self.shared.options.place()
    }

    /// Runs a script; `None`: it answered nothing.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[String],
        arguments: &[Vec<u8>],
    ) -> Result<T, StoreError> {
        let mut call = redis::cmd("EVALSHA");
        call.arg(script.hash.as_str()).arg(keys.len()).arg(keys).arg(arguments);
        match self.ask(vec![call]).await {
            Err(Trouble::NoScript) => {}
            Err(Trouble::Store(error)) => return Err(error),
            Ok(answer) => return last(answer),
        }
        // A server that was started anew does not know it yet.
        let mut call = redis::cmd("EVAL");
        call.arg(script.code).arg(keys.len()).arg(keys).arg(arguments);
        last(self.ask(vec![call]).await.map_err(Trouble::into_store)?)
    }

    /// Sends commands together, and answers what the last one did.
    pub(super) async fn command<T: FromRedisValue>(&self, command: Cmd) -> Result<T, StoreError> {
        last(self.ask(vec![command]).await.map_err(Trouble::into_store)?)
    }

    /// Sends commands together, and answers what each did.
    pub(super) async fn commands<T: FromRedisValue>(&self, commands: Vec<Cmd>) -> Result<Vec<T>, StoreError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self.ask(commands).await.map_err(Trouble::into_store)?;
        answers.into_iter().map(|answer| T::from_redis_value(answer).map_err(|e| refused(&e.to_string()))).collect()
    }

    /// Asks for the epoch ahead of the commands: the server answers in order, so a wiped one is found out before
    /// anything that it says is believed.
    async fn ask(&self, mut commands: Vec<Cmd>) -> Result<Vec<Value>, Trouble> {
        let lost = || Trouble::Store(StoreError::Lost(format!("{}: {LOST}", self.place())));
        if self.shared.lost.load(Relaxed) {
            return Err(lost());
        }
        commands.insert(0, redis::Cmd::get(&self.shared.epoch_key));
        let mut answers = self.send(&commands).await.map_err(|error| match error {
            StoreError::Refused(text) if text.contains("NOSCRIPT") => Trouble::NoScript,
            error => Trouble::Store(error),
        })?;
        let epoch: Option<String> =
            FromRedisValue::from_redis_value(answers.remove(0)).map_err(|e| Trouble::Store(refused(&e.to_string())))?;
        if epoch != self.shared.epoch.get().cloned() {
            self.shared.lost.store(true, Relaxed);
            return Err(lost());
        }
        Ok(answers)
    }

    async fn send(&self, commands: &[Cmd]) -> Result<Vec<Value>, StoreError> {
        let mut connection = self.connection().await?;
        let mut pipeline = redis::pipe();
        for command in commands {
            pipeline.add_command(command.clone());
        }
        let answer =
            timeout(self.shared.options.answer_timeout, connection.send_packed_commands(&pipeline, 0, commands.len()))
                .await;
        match answer {
            Ok(Ok(values)) => {
                values.into_iter().map(|value| value.extract_error().map_err(|error| self.trouble(&error))).collect()
            }
            Ok(Err(error)) => {
                let trouble = self.trouble(&error);
                if matches!(trouble, StoreError::Away(_)) {
                    self.drop_connection().await;
                }
                Err(trouble)
            }
            Err(_) => {
                self.drop_connection().await;
                let seconds = self.shared.options.answer_timeout.as_secs();
                Err(StoreError::Away(format!("{} did not answer within {seconds} s", self.place())))
            }
        }
    }

    async fn connection(&self) -> Result<MultiplexedConnection, StoreError> {
        let mut held = self.shared.connection.lock().await;
        if let Some(connection) = held.as_ref() {
            return Ok(connection.clone());
        }
        let options = &self.shared.options;
        let config = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(options.connect_timeout))
            .set_response_timeout(Some(options.answer_timeout + Duration::from_secs(1)));
        let connect = self.shared.client.get_multiplexed_async_connection_with_config(&config);
        let connection = match timeout(options.connect_timeout, connect).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(self.trouble(&error)),
            Err(_) => return Err(StoreError::Away(format!("{} cannot be reached", self.place()))),
        };
        *held = Some(connection.clone());
        Ok(connection)
    }

    async fn drop_connection(&self) {
        *self.shared.connection.lock().await = None;
    }

    /// What an error means for whoever asked. The server's text is shown where it is the server's; it quotes no
    /// password.
    fn trouble(&self, error: &RedisError) -> StoreError {
        let place = self.place();
        let code = error.code().unwrap_or_default();
        match error.kind() {
            ErrorKind::AuthenticationFailed => {
                return StoreError::Refused(format!("{place} refuses the user or password"));
            }
            ErrorKind::Server(ServerErrorKind::NoScript) => return StoreError::Refused("NOSCRIPT".into()),
            _ => {}
        }
        match code {
            "NOAUTH" | "WRONGPASS" => StoreError::Refused(format!("{place} wants another user or password ({code})")),
            "NOPERM" => StoreError::Refused(format!("{place}: the user lacks permissions ({code})")),
            "OOM" => StoreError::Away(format!("{place} is out of memory: raise its maxmemory, or remove old scans")),
            "LOADING" | "BUSY" | "READONLY" | "MASTERDOWN" | "MISCONF" | "TRYAGAIN" | "CLUSTERDOWN" => {
                StoreError::Away(format!("{place} cannot answer now ({code})"))
            }
            _ if error.is_io_error() || error.is_connection_dropped() || error.is_timeout() => {
                StoreError::Away(format!("{place} is away: {error}"))
            }
            _ => StoreError::Refused(format!("{place}: {error}")),
        }
    }
}

enum Trouble {
    NoScript,
    Store(StoreError),
}

impl Trouble {
    fn into_store(self) -> StoreError {
        match self {
            Trouble::NoScript => refused("NOSCRIPT for a script that was sent whole"),
            Trouble::Store(error) => error,
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
    match &options.ca_file {
        None => Client::open(options.url.as_str()).map_err(wrong),
        Some(file) => {
            let pem = std::fs::read(file)
                .map_err(|error| StoreError::Refused(format!("{} cannot be read: {error}", file.display())))?;
            let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(pem) };
            Client::build_with_tls(options.url.as_str(), certificates).map_err(wrong)
        }
    }
}

//! What a command stands on: the store, the broker and the key, opened as the flags and the environment say.

use crate::{
    args::{BrokerArgs, KeyArgs, StoreArgs},
    failure::Failure,
};
use fleetscan_backends::{
    Keyring,
    embedded::{DataLock, EmbeddedStore},
    rabbitmq::{RabbitOptions, RabbitQueue, urls},
    redis::{RedisOptions, RedisStore},
};
use fleetscan_proto::{AccountRegistry, EventTrail, Fleet, Store, StoreError};
use std::{path::Path, sync::Arc};

/// The store, by each of its traits.
#[derive(Clone)]
pub struct Memory {
    pub store: Arc<dyn Store>,
    pub fleet: Arc<dyn Fleet>,
    pub registry: Arc<dyn AccountRegistry>,
    pub events: Arc<dyn EventTrail>,
    /// Keeps other processes out of a data folder.
    _lock: Option<Arc<DataLock>>,
}

impl Memory {
    /// Opens the fleet's store where one is named, else the file of this machine.
    pub async fn open(args: &StoreArgs) -> Result<Self, Failure> {
        match &args.store {
            Some(_) => Self::shared(args, false).await,
            None => {
                let lock = DataLock::take(&args.data).map_err(Failure::failed)?;
                let store = Arc::new(EmbeddedStore::open(&args.data).map_err(Failure::failed)?);
                Ok(Self::of(store, Some(Arc::new(lock))))
            }
        }
    }

    /// Opens the store as [`Memory::open`] does, and begins its memory where it has none: what only the first account
    /// and a restored copy may do, so that a store that was wiped is noticed, and not filled anew.
    pub async fn found(args: &StoreArgs) -> Result<Self, Failure> {
        match &args.store {
            Some(_) => Self::shared(args, true).await,
            None => Self::open(args).await,
        }
    }

    /// The fleet's store: a file of one machine does not do.
    pub async fn of_fleet(args: &StoreArgs) -> Result<Self, Failure> {
        match &args.store {
            Some(_) => Self::shared(args, false).await,
            None => {
                Err(Failure::usage("a fleet shares a store: name it with --store redis://HOST:6379 or FLEETSCAN_STORE"))
            }
        }
    }

    async fn shared(args: &StoreArgs, found: bool) -> Result<Self, Failure> {
        Ok(Self::of(Arc::new(redis(args, found).await?), None))
    }

    fn of<S: Store + Fleet + AccountRegistry + EventTrail>(store: Arc<S>, lock: Option<Arc<DataLock>>) -> Self {
        Self { store: store.clone(), fleet: store.clone(), registry: store.clone(), events: store, _lock: lock }
    }
}

/// Connects to the fleet's store; `found`: and begins its memory where it has none.
pub async fn redis(args: &StoreArgs, found: bool) -> Result<RedisStore, Failure> {
    let url = args.store.as_deref().unwrap_or_default();
    let url = with_password(url, args.store_password_file.as_deref(), "--store")?;
    if !url.starts_with("redis://") && !url.starts_with("rediss://") {
        return Err(Failure::usage("--store: write redis://HOST:6379 or rediss://HOST:6380"));
    }
    let options = RedisOptions { ca_file: args.store_ca.clone(), found, ..RedisOptions::new(url) };
    RedisStore::connect(options).await.map_err(|error| match error {
        // Whoever begins has lost nothing yet.
        StoreError::Lost(why) => Failure::failed(format!("the store {why}")),
        error => Failure::failed(error),
    })
}

/// Connects to the fleet's broker, which may be away for a while yet.
pub async fn queue(args: &BrokerArgs, name: &str) -> Result<RabbitQueue, Failure> {
    let mut nodes = Vec::new();
    for url in urls(&args.broker) {
        let url = with_password(url, args.terms.broker_password_file.as_deref(), "--broker")?;
        if !url.starts_with("amqp://") && !url.starts_with("amqps://") {
            return Err(Failure::usage("--broker: write amqp://HOST:5672 or amqps://HOST:5671"));
        }
        nodes.push(url);
    }
    let url = nodes.join(",");
    let options = RabbitOptions {
        ca_file: args.terms.broker_ca.clone(),
        shards: args.terms.shards,
        name: name.to_owned(),
        ..RabbitOptions::new(url)
    };
    #[cfg(debug_assertions)]
    let options = RabbitOptions { wire_version: args.terms.wire_version.unwrap_or(options.wire_version), ..options };
    RabbitQueue::connect(options).await.map_err(Failure::failed)
}

/// The keys, from the environment or a file.
pub fn keys(args: &KeyArgs) -> Result<Keyring, Failure> {
    let text = match (std::env::var("FLEETSCAN_KEY"), &args.key_file) {
        (Ok(text), _) if !text.is_empty() => text,
        (_, Some(file)) => std::fs::read_to_string(file)
            .map_err(|error| Failure::usage(format!("the key file {} cannot be read: {error}", file.display())))?,
        _ => {
            return Err(Failure::usage(
                "no key: grants are sealed with 32 random bytes in base64, from FLEETSCAN_KEY or the file that \
                 FLEETSCAN_KEY_FILE names. Make one with `openssl rand -base64 32`, and keep a copy: without it, every \
                 account must be connected again",
            ));
        }
    };
    Keyring::parse(&text).map_err(Failure::usage)
}

/// The shortest token that opens the live page.
const TOKEN: usize = 16;

/// The token that opens the live page, from the environment or a file, if there is one.
pub fn page_token(file: Option<&Path>) -> Result<Option<String>, Failure> {
    let text = match (std::env::var("FLEETSCAN_TOKEN"), file) {
        (Ok(text), _) if !text.is_empty() => text,
        (_, Some(file)) => std::fs::read_to_string(file)
            .map_err(|error| Failure::usage(format!("the token file {} cannot be read: {error}", file.display())))?,
        _ => return Ok(None),
    };
    match text.trim() {
        token if token.len() >= TOKEN => Ok(Some(token.to_owned())),
        _ => Err(Failure::usage(format!(
            "the live page's token has at least {TOKEN} characters: make one with `openssl rand -hex 32`"
        ))),
    }
}

/// A process's name in its fleet, where none was given.
pub fn own_name(given: Option<&str>) -> String {
    if let Some(name) = given {
        return name.to_owned();
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "host",
        host => host,
    };
    format!("{host}-{}", std::process::id())
}

/// A URL with the password of a file. One in a flag can be read by everybody on the machine, and is refused.
fn with_password(url: &str, file: Option<&Path>, flag: &str) -> Result<String, Failure> {
    let has_password = |text: &str| {
        text.split_once("://")
            .and_then(|(_, rest)| rest.split('/').next()?.rsplit_once('@'))
            .is_some_and(|(user, _)| user.contains(':'))
    };
    if std::env::args().any(|argument| argument.contains(url) && has_password(url)) {
        return Err(Failure::usage(format!(
            "{flag}: a password in a flag shows in the process list: use the flag's environment variable, or its \
             password file"
        )));
    }
    let Some(file) = file else { return Ok(url.to_owned()) };
    let password = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("the password file {} cannot be read: {error}", file.display())))?;
    let mut parsed = url::Url::parse(url).map_err(|error| Failure::usage(format!("{flag} is no URL: {error}")))?;
    parsed
        .set_password(Some(password.trim_end_matches(['\n', '\r'])))
        .map_err(|()| Failure::usage(format!("{flag} has no host")))?;
    Ok(parsed.into())
}

use fleetscan_proto::QueueError;
use lapin::uri::AMQPUri;
use std::{fmt, path::PathBuf, time::Duration};

/// The most shards a fleet may have; each is two queues.
const MAX_SHARDS: u16 = 1_024;

/// Where the broker is, and how the queue on it is bounded. Every process of a fleet must use the same `prefix`,
/// `shards` and `max_length`.
#[derive(Clone)]
pub struct RabbitOptions {
    /// `amqp[s]://user:password@host:port/vhost`; several, separated by commas, for the nodes of one cluster. Secret: it
    /// is never shown, not even by `Debug`.
    pub url: String,
    /// What the names of all exchanges and queues begin with.
    pub prefix: String,
    /// How many shards the accounts are spread over.
    pub shards: u16,
    /// Messages that each queue of a shard takes before publishing answers `Full` (RabbitMQ overshoots a little).
    pub max_length: u32,
    /// PEM file of the authorities that an `amqps` broker's certificate is checked against, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The connections' name in the broker's own listings.
    pub name: String,
    /// Interval of heartbeats, in seconds; a silent peer is given up after two.
    pub heartbeat: u16,
    /// For the TCP connection, TLS and AMQP's handshake together.
    pub connect_timeout: Duration,
    /// For one answer of the broker; a consumer that is away for longer says so.
    pub answer_timeout: Duration,
    /// For the confirms of one window of messages.
    pub confirm_timeout: Duration,
    /// What a consumer has fetched and not handed out for so long goes back into the queue, so that the broker's own
    /// timeout for acknowledgements (30 minutes by default) never fires on it.
    pub hold: Duration,
    /// The wire version that tasks are written in, and the newest that is read.
    pub wire_version: u32,
}

impl RabbitOptions {
    /// The defaults for a broker at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: "fleetscan".into(),
            shards: 32,
            max_length: 100_000,
            ca_file: None,
            name: "fleetscan".into(),
            heartbeat: 10,
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(10),
            confirm_timeout: Duration::from_secs(15),
            hold: Duration::from_secs(300),
            wire_version: fleetscan_proto::WIRE_VERSION,
        }
    }

    pub(super) fn check(&self) -> Result<(), QueueError> {
        let refuse = |why: String| Err(QueueError::Refused(why));
        if self.shards == 0 || self.shards > MAX_SHARDS {
            return refuse(format!("{} shards: there must be 1 to {MAX_SHARDS}", self.shards));
        }
        if self.max_length == 0 {
            return refuse("a queue of at most 0 messages would take none".into());
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.prefix.is_empty() || self.prefix.len() > 64 || !self.prefix.chars().all(plain) {
            return refuse("the prefix of queue names must be 1 to 64 letters, digits, '-', '_' or '.'".into());
        }
        self.nodes().map(drop)
    }

    /// The URLs in parts: the nodes of one cluster, each of which will do. Errors never quote them.
    pub(super) fn nodes(&self) -> Result<Vec<AMQPUri>, QueueError> {
        let nodes: Vec<AMQPUri> = urls(&self.url).map(|url| self.uri(url)).collect::<Result<_, _>>()?;
        match nodes.split_first() {
            Some((first, rest)) if rest.iter().any(|node| node.vhost != first.vhost) => Err(QueueError::Refused(
                "the broker's URLs name different virtual hosts: the nodes of one cluster have the same".into(),
            )),
            _ => Ok(nodes),
        }
    }

    fn uri(&self, url: &str) -> Result<AMQPUri, QueueError> {
        let shape = || QueueError::Refused("the broker's URL must be amqp[s]://user:password@host:port/vhost".into());
        let mut uri: AMQPUri = url.parse().map_err(|_| shape())?;
        if let Some(host) = bracketed_host(url) {
            // The client's parser knows names and IPv4 only, and would quietly take localhost instead.
            uri.authority.host = host.to_owned();
        }
        if uri.authority.host.contains(',') || uri.vhost.contains(',') {
            // A list with an end that names nothing.
            return Err(shape());
        }
        if uri.vhost.is_empty() {
            // By the letter `…/` names the vhost "", which nobody has; everybody who writes it means "/".
            uri.vhost = "/".into();
        }
        uri.query.heartbeat.get_or_insert(self.heartbeat);
        Ok(uri)
    }

    /// The broker's name for messages: no user, no password.
    pub(super) fn place(&self) -> String {
        match self.nodes() {
            Ok(nodes) => nodes.iter().map(place).collect::<Vec<_>>().join(", "),
            Err(_) => "an unreadable URL".into(),
        }
    }
}

/// A node's name for messages: no user, no password.
pub(super) fn place(node: &AMQPUri) -> String {
    format!("{}://{}:{}", node.scheme, node.authority.host, node.authority.port)
}

/// The URLs of a list. A comma within a URL separates nothing: it may be part of a password.
pub fn urls(list: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(list);
    std::iter::from_fn(move || {
        let text = rest?;
        let cut = text.match_indices(',').map(|(at, _)| at).find(|at| {
            let next = text[at + 1..].trim_start();
            next.starts_with("amqp://") || next.starts_with("amqps://")
        });
        rest = cut.map(|at| &text[at + 1..]);
        Some(text[..cut.unwrap_or(text.len())].trim())
    })
}

/// The IPv6 address of a URL, without its brackets.
fn bracketed_host(url: &str) -> Option<&str> {
    let authority = url.split_once("://")?.1;
    let authority = authority.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    host.strip_prefix('[')?.split_once(']').map(|(host, _)| host)
}

impl fmt::Debug for RabbitOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prefix, shards, max_length, ca_file, name, .. } = self;
        f.debug_struct("RabbitOptions")
            .field("url", &self.place())
            .field("prefix", prefix)
            .field("shards", shards)
            .field("max_length", max_length)
            .field("ca_file", ca_file)
            .field("name", name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_password_nor_user_is_ever_shown() {
        for url in [
            "amqps://planted-user:planted-word@broker.example/v",
            "no-url://planted-user:planted-word@[",
            "planted-word",
        ] {
            let options = RabbitOptions::new(url);
            let shown = format!("{options:?} {} {:?}", options.place(), options.check());
            assert!(!shown.contains("planted"), "{shown}");
        }
    }

    #[test]
    fn a_url_is_read_as_people_mean_it() {
        let read = |url: &str| {
            let mut nodes = RabbitOptions::new(url).nodes().expect("a URL");
            assert_eq!(nodes.len(), 1);
            let uri = nodes.remove(0);
            (uri.authority.host, uri.authority.port, uri.vhost)
        };
        assert_eq!(read("amqp://u:p@127.0.0.1:5673"), ("127.0.0.1".into(), 5673, "/".into()));
        assert_eq!(read("amqp://u:p@broker.example/"), ("broker.example".into(), 5672, "/".into()));
        assert_eq!(read("amqps://u:p@[::1]:9/fleet%2fone"), ("::1".into(), 9, "fleet/one".into()));
    }

    #[test]
    fn the_nodes_of_a_cluster_are_a_list() {
        let read = |list: &str| {
            let nodes = RabbitOptions::new(list).nodes()?;
            Ok::<_, QueueError>(
                nodes
                    .into_iter()
                    .map(|node| (node.authority.host, node.authority.userinfo.password))
                    .collect::<Vec<_>>(),
            )
        };
        let three = read("amqp://u:p,q@a.example/v, amqp://u:p,q@b.example/v,amqp://u:p,q@c.example/v").expect("three");
        assert_eq!(three, ["a", "b", "c"].map(|host| (format!("{host}.example"), "p,q".to_owned())));
        assert_eq!(RabbitOptions::new("amqp://u:p@a:1,amqp://u:p@b:2").place(), "amqp://a:1, amqp://b:2");
        for bad in ["amqp://a/one,amqp://b/two", "amqp://a,", "amqp://a,,amqp://b", ""] {
            assert!(matches!(read(bad), Err(QueueError::Refused(_))), "{bad:?}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let good = RabbitOptions::new("amqp://localhost");
        good.check().expect("the defaults work");
        let none = RabbitOptions { shards: 0, ..good.clone() };
        let odd = RabbitOptions { prefix: "a b".into(), ..good.clone() };
        let mute = RabbitOptions { max_length: 0, ..good };
        for bad in [none, odd, mute] {
            assert!(matches!(bad.check(), Err(QueueError::Refused(_))), "{bad:?}");
        }
    }
}

use super::{
    options::{RabbitOptions, place},
    trouble::Trouble,
};
use lapin::{
    AsyncTcpStream, Channel, Connection, ConnectionProperties,
    tcp::{RustlsConnector, RustlsConnectorConfig},
    uri::{AMQPScheme, AMQPUri},
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{
    io,
    net::{Shutdown, SocketAddr, TcpStream},
    os::fd::AsFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};

/// How long a connection that is let go may take to close politely.
const CLOSE_GRACE: Duration = Duration::from_secs(5);

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A connection that is or was up. The client's own recovery is off: over a broker's death it tells nobody for seconds,
/// and may hang for good.
pub(super) struct Live {
    /// Unlike any other connection's of the process.
    pub id: u64,
    connection: Connection,
    socket: Socket,
    answer_timeout: Duration,
}

/// A second handle on the connection's socket. Without it, the client waits for a silent peer in a thread of its own
/// until the peer speaks again, however often the connection was given up.
#[derive(Clone, Default)]
struct Socket(Arc<Mutex<Option<TcpStream>>>);

impl Socket {
    fn set(&self, stream: TcpStream) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
    }
    fn shut(&self) {
        if let Some(stream) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It fails where the socket is closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Live {
    /// Connects to one of the nodes, each of which is tried once.
    pub async fn open(options: &RabbitOptions, purpose: &str) -> Result<Self, Trouble> {
        let mut nodes = options.nodes().map_err(|error| Trouble::Refused(error.to_string()))?;
        // Beginning anywhere, so that a fleet's connections spread over the nodes.
        let begin = usize::from(rand::random::<u16>()) % nodes.len().max(1);
        nodes.rotate_left(begin);
        let mut worst: Option<Trouble> = None;
        for node in nodes {
            match Self::open_node(options, node, purpose).await {
                Ok(live) => return Ok(live),
                // Where one node may be better soon, waiting mends it, whatever the others say: one that is starting
                // refuses what it will take later.
                Err(trouble) => {
                    worst = Some(match (worst, trouble) {
                        (Some(Trouble::Away(why)), _) => Trouble::Away(why),
                        (_, trouble) => trouble,
                    })
                }
            }
        }
        Err(worst.unwrap_or_else(|| Trouble::Refused("the broker has no URL".into())))
    }

    async fn open_node(options: &RabbitOptions, uri: AMQPUri, purpose: &str) -> Result<Self, Trouble> {
        let place = place(&uri);
        let tls = match uri.scheme {
            AMQPScheme::AMQP => None,
            AMQPScheme::AMQPS => Some(connector(options)?),
        };
        let name = format!("{} {purpose}", options.name);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let socket = Socket::default();
        let handed = socket.clone();
        let runtime = lapin::runtime::default_runtime()?;
        let connecting = Connection::connector(
            uri,
            runtime,
            async move |uri: AMQPUri, runtime| {
                let host = uri.authority.host;
                let addresses = tokio::net::lookup_host((host.as_str(), uri.authority.port)).await?;
                let plain = AsyncTcpStream::connect(&runtime, addresses.collect::<Vec<SocketAddr>>()).await?;
                if let AsyncTcpStream::Plain(stream) = &plain {
                    handed.set(TcpStream::from(stream.get_ref().as_fd().try_clone_to_owned()?));
                    stream.get_ref().set_nodelay(true)?;
                }
                match &tls {
                    None => Ok(plain),
                    Some(tls) => Ok(plain.into_rustls(tls, &host).await?),
                }
            },
            properties,
        );
        let connected = timeout(options.connect_timeout, connecting).await;
        let at = |why: String| format!("{place}: {why}");
        match connected {
            Ok(Ok(connection)) => Ok(Self {
                id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
                connection,
                socket,
                answer_timeout: options.answer_timeout,
            }),
            Ok(Err(error)) => Err(match error.into() {
                Trouble::Away(why) => Trouble::Away(at(why)),
                Trouble::Refused(why) => Trouble::Refused(at(why)),
            }),
            Err(_) => {
                socket.shut();
                Err(Trouble::Away(at("it does not answer".into())))
            }
        }
    }

    /// A channel of its own: any error on it closes it.
    pub async fn channel(&self) -> Result<Channel, Trouble> {
        answered(self.answer_timeout, self.connection.create_channel()).await
    }

    /// Whether it is up, as far as one knows without asking.
    pub fn is_up(&self) -> bool {
        self.connection.status().connected()
    }

    /// Whether the broker takes no messages for want of memory or disk: all that is sent waits for its end.
    pub fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Closes it without a word.
    pub fn cut(&self) {
        self.socket.shut();
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // The client says goodbye when the last handle goes; who does not answer is cut off.
        let socket = self.socket.clone();
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                sleep(CLOSE_GRACE).await;
                socket.shut();
            })),
            Err(_) => socket.shut(),
        }
    }
}

/// An answer of the broker, within a time.
pub(super) async fn answered<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, lapin::Error>>,
) -> Result<T, Trouble> {
    match timeout(limit, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Trouble::Away("the broker does not answer".into())),
    }
}

fn connector(options: &RabbitOptions) -> Result<RustlsConnector, Trouble> {
    let config = match &options.ca_file {
        None => RustlsConnectorConfig::new_with_native_certs(),
        Some(file) => authorities(file).map(|found| RustlsConnectorConfig::default().with_parsable_certificates(found)),
    };
    let built = config.and_then(|config| config.connector_with_no_client_auth());
    built.map_err(|error| match &options.ca_file {
        None => Trouble::Refused(format!("the system's certificate authorities cannot be read: {error}")),
        Some(file) => {
            Trouble::Refused(format!("the certificate authorities in {} cannot be read: {error}", file.display()))
        }
    })
}

fn authorities(file: &std::path::Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let pem = std::fs::read(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(io::Error::other("there is no certificate in it")),
        Ok(found) => Ok(found),
        Err(error) => Err(io::Error::other(error.to_string())),
    }
}

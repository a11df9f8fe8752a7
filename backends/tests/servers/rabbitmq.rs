//! A RabbitMQ of the tests' own: private ports, a private folder, and gone when the tests are, however they end.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio},
    sync::Mutex,
    thread::sleep,
    time::{Duration, Instant},
};

/// Debian's own `rabbitmq-server` changes to its own user and folders, so the scripts behind it are run.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// Obeys one word a line. When the tests end, by whatever death, so does its input: then it leaves nothing behind.
const KEEPER: &str = r#"
trap '' INT TERM HUP
epmd -port "$ERL_EPMD_PORT" >/dev/null 2>&1 &
epmd=$!
server=
halt() { [ -z "$server" ] || { kill -9 "$server"; wait "$server" 2>/dev/null; server=; }; }
while read -r word; do
    case "$word" in
        start) "$PROGRAMS/rabbitmq-server" >>"$FOLDER/output" 2>&1 & server=$! ;;
        kill) halt ;;
        freeze) kill -STOP "$server" ;;
        thaw) kill -CONT "$server" ;;
    esac
    echo "$word"
done
halt
kill -9 "$epmd"
rm -rf "$FOLDER"
"#;

/// A running broker.
pub struct Broker {
    folder: PathBuf,
    ports: [u16; 4],
    keeper: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    _child: Child,
}

impl Broker {
    /// Starts one, which listens with TLS as well; takes some seconds.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("rabbitmq-").tempdir().expect("a folder").keep();
        let ports = free_ports();
        make_certificates(&folder);
        std::fs::write(folder.join("rabbitmq.conf"), config(&folder, ports[3])).expect("written");
        let mut child = command(&folder, ports, "sh")
            .args(["-c", KEEPER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell starts");
        let keeper = (child.stdin.take().expect("piped"), BufReader::new(child.stdout.take().expect("piped")));
        let broker = Self { folder, ports, keeper: Mutex::new(keeper), _child: child };
        broker.start_again();
        broker
    }

    /// Its address, for the user that a new broker has.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.ports[0])
    }

    /// Its address with TLS, for a certificate that [`Broker::authority`] signed.
    pub fn tls_url(&self) -> String {
        format!("amqps://guest:guest@localhost:{}", self.ports[3])
    }

    /// The authority's certificate, PEM.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Removes all that it stored, while it is killed.
    pub fn wipe(&self) {
        std::fs::remove_dir_all(self.folder.join("data")).expect("removed");
    }

    /// Kills it as a power cut would.
    pub fn kill(&self) {
        self.tell("kill");
    }

    /// Starts it after it was killed, on the same ports and folder.
    pub fn start_again(&self) {
        self.tell("start");
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports[0])).is_err() {
            let output = || std::fs::read_to_string(self.folder.join("output")).unwrap_or_default();
            assert!(began.elapsed() < START_TIMEOUT, "RabbitMQ does not start: {}", output());
            sleep(Duration::from_millis(100));
        }
    }

    /// Stops it where it is, connections and all.
    pub fn freeze(&self) {
        self.tell("freeze");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.tell("thaw");
    }

    /// Runs `rabbitmqctl` on it.
    pub fn control(&self, arguments: &[&str]) -> Output {
        let program = format!("{PROGRAMS}/rabbitmqctl");
        let output = command(&self.folder, self.ports, &program).args(arguments).output().expect("rabbitmqctl runs");
        assert!(output.status.success(), "rabbitmqctl {arguments:?}: {output:?}");
        output
    }

    fn tell(&self, word: &str) {
        let mut keeper = self.keeper.lock().expect("not poisoned");
        writeln!(keeper.0, "{word}").expect("the keeper listens");
        let mut answer = String::new();
        keeper.1.read_line(&mut answer).expect("the keeper answers");
        assert_eq!(answer.trim(), word);
    }
}

fn config(folder: &Path, tls_port: u16) -> String {
    let folder = folder.display();
    format!(
        "listeners.ssl.1 = 127.0.0.1:{tls_port}\n\
         ssl_options.cacertfile = {folder}/ca.pem\n\
         ssl_options.certfile = {folder}/server.pem\n\
         ssl_options.keyfile = {folder}/server.key\n"
    )
}

/// An authority and a certificate of `localhost` that it signed.
fn make_certificates(folder: &Path) {
    let script = r#"
        exec 2>openssl.log
        new='req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30'
        openssl $new -keyout ca.key -out ca.pem -subj '/CN=authority of the tests' \
            -addext 'keyUsage=critical,keyCertSign' &&
        openssl $new -keyout server.key -out server.pem -subj /CN=localhost -CA ca.pem -CAkey ca.key \
            -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:false ||
        { cat openssl.log; exit 1; }
    "#;
    let made = Command::new("sh").args(["-c", script]).current_dir(folder).output().expect("a shell runs");
    assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stdout));
}

fn command(folder: &Path, [node, distribution, epmd, _]: [u16; 4], program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env("PROGRAMS", PROGRAMS)
        .env("FOLDER", folder)
        // Erlang's cookie is made there.
        .env("HOME", folder)
        .env("ERL_EPMD_PORT", epmd.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        // Both together: the script becomes the server, rather than wait for it as another process.
        .env("RABBITMQ_ALLOW_INPUT", "1")
        .env("RABBITMQ_SERVER_START_ARGS", "-noinput")
        .env("RABBITMQ_NODENAME", format!("fleetscan-{node}@localhost"))
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODE_PORT", node.to_string())
        .env("RABBITMQ_DIST_PORT", distribution.to_string())
        .env("RABBITMQ_MNESIA_BASE", folder.join("data"))
        .env("RABBITMQ_LOG_BASE", folder.join("log"))
        .env("RABBITMQ_PID_FILE", folder.join("pid"))
        .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq.conf"))
        .env("RABBITMQ_CONF_ENV_FILE", folder.join("no-environment.conf"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("plugins"));
    command
}

/// Ports that are free now.
fn free_ports() -> [u16; 4] {
    let listeners = [0; 4].map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("bound").port())
}

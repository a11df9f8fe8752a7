use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A Redis of a test's own, on a private port and folder; it ends with this.
pub struct RedisServer {
    port: u16,
    folder: TempDir,
    more: Vec<String>,
    process: Child,
    watcher: Child,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

impl RedisServer {
    /// Starts one with these settings beside the usual ones.
    pub fn start(more: &[&str]) -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().expect("a folder"));
        let more: Vec<String> = more.iter().map(|word| (*word).to_owned()).collect();
        let process = spawn(port, &folder, &more);
        let watcher = watch(&process);
        Self { port, folder, more, process, watcher }
    }

    /// The one that tests share which break nothing. Its watcher ends it with the tests. It is a cluster's node that
    /// has all slots: one that refuses a script whose keys do not lie in one slot, as any cluster would.
    pub fn shared() -> &'static RedisServer {
        static SHARED: OnceLock<RedisServer> = OnceLock::new();
        SHARED.get_or_init(|| {
            let server = RedisServer::start(&["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"]);
            server.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
            let began = Instant::now();
            while !server.ask(&["CLUSTER", "INFO"]).contains("cluster_state:ok") {
                assert!(began.elapsed() < Duration::from_secs(30), "the node does not become a cluster");
                std::thread::sleep(Duration::from_millis(20));
            }
            server
        })
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn kill(&mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("gone");
    }

    pub fn start_again(&mut self) {
        self.process = spawn(self.port, &self.folder, &self.more);
        let _ = self.watcher.kill();
        let _ = self.watcher.wait();
        self.watcher = watch(&self.process);
    }

    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, which: &str) {
        let status = Command::new("kill").args([which, &self.process.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// One command, as words.
    pub fn ask(&self, words: &[&str]) -> String {
        ask(self.port, words).expect("it answers")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = self.watcher.kill();
        let _ = self.watcher.wait();
    }
}

/// Kills the server when this process ends, however it ends: the pipe that the watcher reads is closed then.
fn watch(server: &Child) -> Child {
    Command::new("sh")
        .args(["-c", &format!("cat; kill -9 {}", server.id())])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell")
}

fn ask(port: u16, words: &[&str]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(format!("{}\r\n", words.join(" ")).as_bytes())?;
    let mut answer = [0; 512];
    let length = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

fn spawn(port: u16, folder: &TempDir, more: &[String]) -> Child {
    let process = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"])
        .arg(folder.path())
        .args(["--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction"])
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed (tests/run does that)");
    let began = Instant::now();
    // A server that loads answers with an error, one that wants a password too: both run.
    while !ask(port, &["PING"]).is_ok_and(|answer| answer.contains("PONG") || answer.contains("NOAUTH")) {
        assert!(began.elapsed() < Duration::from_secs(30), "redis-server does not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
    process
}

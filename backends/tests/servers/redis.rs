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
        Self { port, folder, more, process }
    }

    /// The one that tests share which break nothing. It ends when its standard input does: with the tests.
    pub fn shared() -> &'static RedisServer {
        static SHARED: OnceLock<RedisServer> = OnceLock::new();
        SHARED.get_or_init(|| RedisServer::start(&[]))
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
    }

    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, which: &str) {
        // The process is the watching shell's child.
        let status = Command::new("pkill").args([which, "-f", &format!("redis-server.*:{}", self.port)]).status();
        assert!(status.expect("pkill runs").success());
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
    }
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

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// Serves until its standard input ends, which it does with the tests, however they end.
const SERVE: &str = "
import os, sys, threading
from moto.server import main
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
main(['-H', '127.0.0.1', '-p', sys.argv[1]])
";

/// moto's server, an emulator of AWS that this project did not write.
pub struct Moto {
    port: u16,
    buckets: AtomicU32,
    _process: Child,
}

impl Moto {
    /// The one that all tests share, each with a bucket of its own.
    pub fn shared() -> &'static Moto {
        static SHARED: OnceLock<Moto> = OnceLock::new();
        SHARED.get_or_init(Moto::start)
    }

    fn start() -> Moto {
        let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr()).expect("a port").port();
        let python = python();
        assert!(python.exists(), "{} is not there: tests/run installs what the tests need", python.display());
        let process = Command::new(python)
            .args(["-c", SERVE, &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Python runs");
        let end = Instant::now() + Duration::from_secs(90);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "moto does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        Moto { port, buckets: AtomicU32::new(0), _process: process }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Makes a bucket, by the wire alone, and answers its name.
    pub fn new_bucket(&self) -> String {
        let name = format!("bucket-{}", self.buckets.fetch_add(1, Ordering::Relaxed));
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("connects");
        let scope = "AKIATEST/20260101/us-east-1/s3/aws4_request";
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature=0000");
        write!(
            stream,
            "PUT /{name} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-amz-date: 20260101T000000Z\r\nauthorization: \
             {authorization}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
        .expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        name
    }
}

/// Where `tests/run` installs moto.
fn python() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(workspace, PathBuf::from);
    target.join("test-venv/bin/python")
}

/// The address of a server that answers each request, of which it reads the head, as `answer` says.
pub fn answering(answer: impl Fn(&str) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = vec![0; 16 * 1024];
            let read = stream.read(&mut request).unwrap_or(0);
            let _written = stream.write_all(answer(&String::from_utf8_lossy(&request[..read])).as_bytes());
            // Closed with bytes unread, it would take its answer back.
            let _shut = stream.shutdown(Shutdown::Write);
            let _rest = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    format!("http://{address}")
}

/// An answer with a body of XML.
pub fn answer(status: u16, header: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} X\r\n{header}content-type: application/xml\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

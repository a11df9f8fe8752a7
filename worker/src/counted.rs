//! For tests of what leaves the process: an endpoint that answers everything with an empty success, and counts it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// The endpoint, for as long as the test's runtime.
pub(crate) struct CountedEndpoint {
    /// Its address.
    pub(crate) url: String,
    arrived: Arc<AtomicUsize>,
}

impl CountedEndpoint {
    /// One that nobody has asked yet.
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let arrived = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&arrived);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counter.fetch_add(1, SeqCst);
                let mut request = [0_u8; 16_384];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
            }
        });
        Self { url, arrived }
    }

    /// Connections that were made to it.
    pub(crate) fn arrived(&self) -> usize {
        self.arrived.load(SeqCst)
    }
}

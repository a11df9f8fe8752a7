use std::{fmt, path::PathBuf, time::Duration};

/// Where the server is, and how it is talked to.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis[s]://user:password@host:port/database`. Secret: it is never shown, not even by `Debug`.
    pub url: String,
    /// What every key begins with.
    pub prefix: String,
    /// PEM file of the authorities that a `rediss` server's certificate is checked against, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// For a connection to stand, TLS and password included.
    pub connect_timeout: Duration,
    /// For the answer to one call.
    pub answer_timeout: Duration,
    /// Begin a memory where the server has none.
    pub found: bool,
}

impl RedisOptions {
    /// The defaults for a server at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: "fleetscan".into(),
            ca_file: None,
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(5),
            found: false,
        }
    }

    /// The server's name for messages: no user, no password.
    pub(super) fn place(&self) -> String {
        match url::Url::parse(&self.url) {
            Ok(url) => match url.port() {
                Some(port) => format!("{}://{}:{port}", url.scheme(), url.host_str().unwrap_or_default()),
                None => format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default()),
            },
            Err(_) => "an unreadable URL".into(),
        }
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("place", &self.place())
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_password_nor_user_is_ever_shown() {
        for url in ["rediss://planted-user:planted-word@store.example:6380/1", "planted-word"] {
            let shown = format!("{:?}", RedisOptions::new(url));
            assert!(!shown.contains("planted"), "{shown}");
        }
    }
}

use super::RedisStore;
use fleetscan_proto::StoreError;
use redis::Cmd;
use std::collections::HashMap;

/// What the server says of how well it keeps what it acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// As `INFO` names it; other servers that speak as Redis does name a version of Redis.
    pub version: String,
    /// Whether every change is appended to a file (`appendonly`).
    pub appends: bool,
    /// When that file is synced (`appendfsync`): `always`, `everysec` or `no`. `None`: the server tells nobody, as
    /// managed ones do.
    pub syncs: Option<String>,
    /// Whether the last write to that file worked.
    pub append_works: bool,
    /// What it drops when its memory is full (`maxmemory-policy`).
    pub policy: String,
    /// Memory in use, in bytes.
    pub used: u64,
    /// Memory it may use, in bytes; 0: all there is.
    pub most: u64,
    /// Whether it is a copy of another server, which takes no changes.
    pub is_replica: bool,
}

impl RedisStore {
    /// Asks the server about itself.
    ///
    /// # Errors
    /// As every call; a server that keeps its configuration to itself is no error.
    pub async fn server_facts(&self) -> Result<ServerFacts, StoreError> {
        let mut info = String::new();
        for section in ["server", "memory", "persistence", "replication"] {
            let mut ask = redis::cmd("INFO");
            ask.arg(section);
            info += &self.link.command::<String>(ask).await?;
        }
        let syncs = match self.link.command::<HashMap<String, String>>(appendfsync()).await {
            Ok(found) => found.get("appendfsync").cloned(),
            // Unknown command, or not allowed: the server's own text decides nothing.
            Err(StoreError::Refused(_)) => None,
            Err(error) => return Err(error),
        };
        Ok(facts(&info, syncs))
    }
}

fn appendfsync() -> Cmd {
    let mut ask = redis::cmd("CONFIG");
    ask.arg("GET").arg("appendfsync");
    ask
}

fn facts(info: &str, syncs: Option<String>) -> ServerFacts {
    let fields: HashMap<&str, &str> = info.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
    let word = |name: &str| fields.get(name).copied().unwrap_or_default();
    let number = |name: &str| word(name).parse().unwrap_or_default();
    ServerFacts {
        version: word("redis_version").to_owned(),
        appends: word("aof_enabled") == "1",
        syncs,
        append_works: word("aof_last_write_status") != "err",
        policy: word("maxmemory_policy").to_owned(),
        used: number("used_memory"),
        most: number("maxmemory"),
        is_replica: word("role") == "slave",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_says_is_read() {
        let told = "# Server\r\nredis_version:7.0.15\r\n# Memory\r\nused_memory:1024\r\nmaxmemory:0\r\n\
                    maxmemory_policy:noeviction\r\n# Persistence\r\naof_enabled:1\r\naof_last_write_status:err\r\n\
                    # Replication\r\nrole:slave\r\n";
        let expected = ServerFacts {
            version: "7.0.15".into(),
            appends: true,
            syncs: None,
            append_works: false,
            policy: "noeviction".into(),
            used: 1024,
            most: 0,
            is_replica: true,
        };
        assert_eq!(facts(told, None), expected);
    }
}

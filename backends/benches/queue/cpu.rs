//! Processor time, which a busy machine distorts less than the clock does.

use crate::{rabbitmq::Broker, redis::RedisServer};
use std::time::Duration;

/// The client (this process), the store and the broker.
pub struct Cpu([u32; 3]);

impl Cpu {
    pub fn of(broker: &Broker, redis: &RedisServer) -> Self {
        let told = broker.control(&["eval", "io:format(\"~s\", [os:getpid()])."]);
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let broker =
            told.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("the broker's process");
        let info = redis.ask(&["INFO", "server"]);
        let store = info.lines().find_map(|line| line.strip_prefix("process_id:")).expect("the store's process");
        Self([std::process::id(), store.trim().parse().expect("a number"), broker])
    }

    /// What each has used so far.
    pub fn spent(&self) -> [Duration; 3] {
        self.0.map(spent)
    }
}

/// User and system time of all threads: fields 14 and 15 of proc(5)'s `stat`, in hundredths of a second.
fn spent(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it is alive");
    // The name, in parentheses, may have spaces.
    let (_, fields) = stat.rsplit_once(')').expect("its name");
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}

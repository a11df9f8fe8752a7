//! The queue on RabbitMQ 3.10 and later.
//!
//! * [`RabbitQueue`]: the queue; [`RabbitOptions`]: where it is and how it is bounded; [`urls`]: a cluster's nodes
//! * `topology`: exchanges and queues, their names and arguments, and the choice of a delay
//! * `link`, `connection`: connections that are made anew after any fault; the client's own recovery is never used
//! * `publisher`: windows of confirmed messages, which several callers share
//! * `consumer`, `pump`, `deliveries`: one connection a consumer, what it holds, and what it sees ahead

mod connection;
mod consumer;
mod consumers;
mod deliveries;
mod link;
mod message;
mod options;
mod publisher;
mod pump;
mod queue;
mod ready;
mod topology;
mod trouble;

pub use options::{RabbitOptions, urls};
pub use queue::{DeadLetter, RabbitQueue};

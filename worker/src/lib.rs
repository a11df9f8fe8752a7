//! The worker: the only crate that calls AWS, and on a customer's session only through the gate.
//!
//! * [`aws`]: the other end of a call: AWS, or a model of it
//! * [`hub`]: the principal that fleetscan runs as
//! * [`network`]: how AWS is reached, through proxies and to [`fips`] endpoints
//! * [`session`]: sessions of customers' accounts, from AssumeRole, in memory only
//! * [`gate`]: what may be called at all; [`never`]: what is not, whatever else says so; [`policy`]: both for IAM
//! * [`reads`]: what a task may call, by its scan's profile and its account's
//! * [`archive`]: CloudTrail's log files, where customer and operator want them read
//! * [`guard`]: whether work may go on
//! * [`limiter`]: how fast
//! * [`call`]: one call, from permit to classified answer; [`wire`] puts it on the wire by the catalogue's data,
//!   [`typed`] through the SDK's typed clients
//! * [`extract`]: a cell, from its operations to its records
//! * [`probe`]: an account, from its grant to its regions
//! * [`verify`]: a customer's role, from its trust to its rights
//! * [`organisation`]: which accounts an organisation has
//! * [`metrics`]: what Prometheus is told
//! * [`sink`]: where results go
//! * [`webhook`]: tells receivers of events; no AWS
//! * [`Worker`]: takes tasks from the queue and does all this

pub mod account;
pub mod archive;
pub mod aws;
pub mod call;
pub mod classify;
#[cfg(test)]
mod counted;
pub mod extract;
pub mod fips;
pub mod gate;
pub mod guard;
pub mod http;
pub mod hub;
pub mod limiter;
pub mod metrics;
pub mod network;
pub mod never;
pub mod organisation;
pub mod policy;
pub mod probe;
pub mod reads;
pub mod retry;
mod runner;
pub mod session;
pub mod sink;
pub mod slots;
mod stats;
pub mod typed;
pub mod verify;
pub mod webhook;
pub mod wire;

pub use http::SendError;
pub use hub::{Hub, HubError, HubOptions, HubRole, Identity, session_name};
pub use network::{Network, NetworkError, Proxy};
pub use runner::{Worker, WorkerConfig, WorkerParts};
pub use stats::{Stats, StatsCell};

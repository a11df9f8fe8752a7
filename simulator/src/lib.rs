//! An AWS at the wire: accounts, regions, limits, denial and latency, for demos and tests.
//!
//! [`Simulator::start`] listens; [`Expectations`] says what a correct scan must find; [`Control`] deletes roles,
//! detaches policies, breaks the hub; [`Counters`] say what was asked. Services, operations and limits come from the
//! catalogue, what answers look like from `fixtures/`, and everything else from the seed: nothing is stored, so that
//! ten thousand accounts cost no more than ten.
//!
//! A call's way: `server` (HTTP, with `tls` where it is wanted) → `engine` → `route` (which operation) → `admission` (signature,
//! session, region, bucket, permission) → `stock` (the cell's answers, made of `fixture`s) → `answer` (a page of one) → `xml` or JSON.

mod admin;
mod admission;
mod answer;
mod bucket;
mod config;
mod control;
mod counters;
mod dice;
mod engine;
mod events;
mod expectations;
mod expression;
mod fixture;
mod lists;
mod live;
mod own_role;
mod persona;
mod policy;
mod problem;
mod region;
mod request;
mod route;
mod server;
mod session;
mod signature;
mod simulator;
mod stock;
mod stocks;
mod sts;
mod synthesis;
mod template;
mod tls;
mod world;
mod xml;

pub use config::{Config, Limits, Sizes, WorldKind};
pub use control::{Command, Control, NotSimulated};
pub use counters::{AccountCounters, CallResult, Counters};
pub use expectations::{Expectations, ExpectedCell, ExpectedRecord, Meant};
pub use expression::SECRET_MARK;
pub use live::HubBreakage;
pub use simulator::Simulator;
pub use tls::Tls;

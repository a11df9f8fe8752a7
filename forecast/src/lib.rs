//! How long a scan will take: the real coordinator, queue and workers in virtual time, against a modelled AWS.
//!
//! * [`Sizes`]: how much there is in accounts, as distributions in a small file
//! * [`Estate`]: accounts drawn from such a file: how many items each list of each region has
//! * [`Bound`]: the least time that a scan of an estate can take, from the calls that it needs and AWS's buckets alone
//! * [`simulate`]: one scan, with the fleet's own code, on Tokio's paused clock
//! * [`Figures`]: what came of it
//!
//! Real are planner, window, dispatch, reconcile, leases and help among workers, desk, sessions, STS's shared bucket,
//! limiters, slots, retries, deferrals, time slices, extraction and the making of parts. Modelled are AWS (answers, waits
//! and token buckets), the broker and the store (both in memory, answering at once) and the results, which go nowhere.
//! Not in it are what was done in the accounts (CloudTrail's events), signing, TLS and parsing, the processor's time, and finalising.

mod aws;
mod bound;
mod calls;
mod clock;
mod estate;
mod figures;
mod nowhere;
mod shape;
mod sizes;
mod world;

pub use bound::{Binding, Bound};
pub use estate::{Estate, EstateError};
pub use figures::{Figures, Turnaround};
pub use sizes::{Sizes, SizesError};
pub use world::{Setting, SimulationError, simulate};

/// Where an unpublished limit really lies, as a multiple of what the catalogue begins with: nobody knows, so it is
/// assumed that the catalogue was careful.
const UNPUBLISHED: f64 = 2.0;

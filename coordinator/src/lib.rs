//! Decides what is to be read and when a scan is over; calls no AWS itself.
//!
//! * [`AccountsFile`]: what the operator wrote; [`Registry`]: the same accounts, where workers find their grants
//! * [`plan`]: which cells an account has, and the digest that tells one plan from another (pure)
//! * [`ScanRunner`]: creates or resumes a scan, feeds the queue within a window, plans accounts as their probes
//!   answer, publishes again what was lost, and ends the scan
//! * [`revocation`]: what a denied AssumeRole means (pure); the runner asks the hub and carries the verdict out
//! * [`fleet`]: the coordinator of a fleet, which runs every scan that was asked for
//! * [`events`]: tells receivers what happened, from the store's trail
//! * [`live`]: what the fleet is about right now, for people and programs that look
//! * [`history`]: which of the older results are kept, and how results are deleted
//!
//! A scan may be killed at any moment. Everything it needs to go on is in the store, and every step may be repeated.

mod accounts_file;
mod barred;
mod cancel;
mod connections;
mod deadline;
mod directory;
mod dispatch;
mod error;
pub mod events;
mod finalise;
pub mod fleet;
pub mod history;
mod ledger_file;
pub mod live;
mod longest;
mod membership;
mod options;
mod parts;
pub mod plan;
mod progress;
mod readback;
mod reconcile;
mod recovery;
mod registry;
pub mod revocation;
mod scan;
mod standing;
mod suspects;

pub use accounts_file::{AccountsFile, Judged, Problem, distance};
pub use connections::{COPY_FORMAT, Connected, ConnectionError, Connections, Listed, Offered, RegistryCopy};
pub use directory::{Described, Directory, Registered};
pub use error::ScanError;
pub use ledger_file::{LedgerReader, read_ledger, read_manifest};
pub use longest::Longest;
pub use membership::{Difference, difference, seen_in_either, wants_another_look};
pub use options::ScanOptions;
pub use parts::{PartError, read_part};
pub use progress::{Phase, Progress};
pub use registry::Registry;
pub use scan::{FleetLink, HubCheck, OpenedScan, ScanEnd, ScanParts, ScanRequest, ScanRunner};

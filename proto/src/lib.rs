//! The contract of fleetscan: what every part must agree on, and nothing that does I/O.
//!
//! * words: [`AccountId`], [`Cell`], [`ScanId`], [`Outcome`], [`Record`], [`LedgerLine`], [`Manifest`]
//! * transport: [`Task`] (the wire format) and the traits [`TaskQueue`] and [`TaskConsumer`]
//! * memory: the traits [`Store`] (scans and their ledger), [`Fleet`] (who is at work), [`AccountRegistry`] and
//!   [`EventTrail`] (what others are told)
//! * results: the trait [`Sink`]
//! * [`activity`]: who did what last, and which hours of it were read
//! * [`insight`]: rules over records
//! * the [`catalogue`]: which AWS operations may be called, and how; a [`Profile`]: which of them a scan calls
//!
//! Adapters live in `fleetscan-backends` and `fleetscan-worker`; none of them is known here.

pub mod activity;
pub mod catalogue;
mod clock;
mod event;
mod fleet;
mod grant;
mod ids;
pub mod insight;
mod ledger;
mod organisation;
mod outcome;
mod probe;
mod profile;
mod progress;
mod queue;
mod record;
pub mod redact;
mod region;
mod registry;
mod scan;
mod sink;
mod standing;
mod store;
mod task;
mod trail_bucket;

pub use clock::{Clock, SystemClock};
pub use event::{
    DeliveryError, EVENT_SCHEMA, EVENTS_KEPT, Event, EventKind, EventReceiver, EventTrail, NumberedEvent, ScanEnding,
};
pub use fleet::{Fleet, KillSwitch, Lease, Orders, WorkerReport};
pub use grant::{
    Account, EXTERNAL_ID_LENGTH, Grant, GrantError, Grants, Secret, Terms, check_external_id, parse_role_arn,
};
pub use ids::{AccountId, Cell, GLOBAL, InvalidId, ScanId};
pub use ledger::{Count, LedgerLine, Manifest, PartName, ResultPaths, Thinned, WorkTotals};
pub use organisation::{Member, MemberStanding, Membership, Organisation};
pub use outcome::{Denial, DeniedBy, Outcome};
pub use probe::{Probe, ProbeFailure, RegionSource};
pub use profile::{DEFAULT_PROFILE, MAX_PROFILE_FILE, Profile, ProfileError};
pub use progress::{Begin, Begun, CellProgress, Completion, PendingCell, WalkCursor};
pub use queue::{Delivery, Depth, QueueError, Shards, TaskConsumer, TaskQueue, shard_of};
pub use record::Record;
pub use region::{DEFAULT_REGIONS, KNOWN_REGIONS, is_region_shaped, partition_of};
pub use registry::{AccountRegistry, RegisteredAccount, SealedGrant, Told};
pub use scan::{ScanAccount, ScanAccountState, ScanCounts, ScanRow, ScanSpec, ScanState};
pub use sink::{Alone, ObjectWriter, Opened, Sink, SinkError, Stored};
pub use standing::{AccountChange, AccountState, AccountStatus, AssumeDenial};
pub use store::{LearnedFactor, Store, StoreError};
pub use task::{Lane, Task, TaskKind, WIRE_VERSION};
pub use trail_bucket::{TrailBucket, TrailPlace};

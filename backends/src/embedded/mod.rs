//! One machine's queue and store. They pass the same conformance suites as the fleet's.

mod lock;
mod queue;
mod schema;
mod store;
mod thread;

pub use lock::{DataLock, LockError};
pub use queue::EmbeddedQueue;
pub use store::EmbeddedStore;
pub(crate) use store::SharedBuckets;

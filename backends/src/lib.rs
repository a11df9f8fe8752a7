//! Backends behind fleetscan's traits. Only this crate names a database or a broker client.
//!
//! * [`SealedGrants`]: the grants of a registry, under lock and key
//! * [`embedded`]: queue and store of one machine, in the process and in one SQLite file
//! * [`memory`]: a store that ends with its process, for scans in virtual time
//! * [`rabbitmq`]: the fleet's queue; [`redis`]: its store

pub mod embedded;
pub mod memory;
pub mod rabbitmq;
pub mod redis;
mod sealed;

pub use sealed::{KeyError, Keyring, SealedGrants};

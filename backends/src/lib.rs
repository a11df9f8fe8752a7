//! Backends behind fleetscan's traits. Only this crate names a database or a broker client.
//!
//! * [`embedded`]: queue and store of one machine, in the process and in one SQLite file
//! * [`rabbitmq`]: the fleet's queue

pub mod embedded;
pub mod rabbitmq;

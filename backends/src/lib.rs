//! Backends behind fleetscan's traits. Only this crate names a database or a broker client.
//!
//! * [`embedded`]: queue and store of one machine, in the process and in one SQLite file

pub mod embedded;

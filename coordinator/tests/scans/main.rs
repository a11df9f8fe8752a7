//! Whole scans in virtual time, without AWS.
#![allow(clippy::unwrap_used)]

mod lifecycle;
mod revocation;
mod world;

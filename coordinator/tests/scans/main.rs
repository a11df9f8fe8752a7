//! Whole scans in virtual time, without AWS.
#![allow(clippy::unwrap_used)]

mod lifecycle;
mod looks;
mod revocation;
mod world;

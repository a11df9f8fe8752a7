//! Whole scans in virtual time, without AWS.
#![allow(clippy::unwrap_used)]

mod lifecycle;
mod looks;
mod operators;
mod readback;
mod reconcile;
mod revocation;
mod world;

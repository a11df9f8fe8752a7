//! Servers that tests start themselves, on private ports and folders.

pub mod redis;

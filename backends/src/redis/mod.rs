//! The store of a fleet, on Redis 7 (or a server that speaks as it does). Every change that must be whole is one script;
//! a script touches the keys of one hash tag only: of one scan, of one account, or of the fleet.
//!
//! What a wiped server looks like must never be mistaken for a scan that is over. So the memory has a name, its epoch:
//! each call asks for it together with its own commands, and once it is gone, or another, every call answers
//! [`fleetscan_proto::StoreError::Lost`] until the process is started anew. Only the first account, and a restored copy
//! of the registry, begin a memory (`found`).

mod activity;
mod batch;
mod cells;
mod events;
mod fleet;
mod keys;
mod link;
mod options;
mod registry;
mod scans;
mod script;
mod server;
mod status;
mod store;

pub use options::RedisOptions;
pub use server::ServerFacts;
pub use store::RedisStore;

//! Tells receivers what happened: from the store's trail, each event at least once and always under the same id, in
//! order, by whoever leads. How far a receiver was told is kept in the store, so that the next leader goes on there.

mod metrics;
mod relay;
mod standing;

pub(crate) use metrics::Deliveries;
pub(crate) use relay::Relay;
pub(crate) use standing::name_receivers;
pub use standing::{Failing, ReceiverStanding, Undelivered, receivers};

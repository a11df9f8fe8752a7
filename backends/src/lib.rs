//! Backends behind fleetscan's traits.

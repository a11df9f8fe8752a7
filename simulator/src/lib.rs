//! An AWS at the wire: accounts, regions, limits, denial and latency, for demos and tests.

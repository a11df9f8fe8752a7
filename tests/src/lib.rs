//! End-to-end, fault and scale tests and benchmarks.

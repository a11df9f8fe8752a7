//! End-to-end, fault and scale tests live in `tests/tests` and `tests/python`, benchmarks in `tests/benches` and `tests/bench`.

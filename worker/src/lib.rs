//! Sessions, limiter, calls, extraction and sinks: the only crate that calls AWS.

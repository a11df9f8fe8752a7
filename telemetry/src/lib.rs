//! What every process tells of itself.
//!
//! * [`Registrar`]: makes metrics and registers them; the one place that knows their prefix
//! * [`Label`], [`Family`]: labels whose values are enumerated beforehand, so that no series can be one too many
//! * [`Runtime`]: Tokio's figures; [`register_process`] adds those of the process

mod label;
mod registrar;
mod runtime;

pub use label::{Family, Label, OTHER, Vector};
pub use registrar::{Counters, Gauges, Histograms, Ratios, Registrar, Seconds};
pub use runtime::{Runtime, register_process};

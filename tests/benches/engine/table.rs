//! The table that the comparison ends with.

use std::fmt::Write as _;

/// One round of one way of calling.
pub struct Sample {
    /// What was called.
    pub call: &'static str,
    /// How.
    pub way: String,
    /// Calls a second.
    pub rate: f64,
    /// Microseconds of the client's CPU a call.
    pub cpu: f64,
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Medians, spreads, and ratios to the bare loop and the SDK.
pub fn render(samples: &[Sample]) -> String {
    let mut text = format!(
        "\n{:<6} {:<8} {:>10} {:>17} {:>12} {:>9} {:>8}\n",
        "call", "way", "calls/s", "min–max", "CPU µs/call", "to bare", "to SDK"
    );
    let mut rows: Vec<(&str, &str)> = samples.iter().map(|s| (s.call, s.way.as_str())).collect();
    rows.sort_unstable();
    rows.dedup();
    let of = |call: &str, way: &str, field: fn(&Sample) -> f64| {
        samples.iter().filter(|s| s.call == call && s.way == way).map(field).collect::<Vec<_>>()
    };
    for (call, way) in rows {
        let rates = of(call, way, |s| s.rate);
        let (low, high) = rates.iter().fold((f64::MAX, 0.0_f64), |(low, high), r| (low.min(*r), high.max(*r)));
        let rate = median(rates);
        let ratio = |other: &str| {
            let base = median(of(call, other, |s| s.rate));
            if base.is_nan() { "-".to_owned() } else { format!("{:.2}", rate / base) }
        };
        let cpu = median(of(call, way, |s| s.cpu));
        let _ = writeln!(
            text,
            "{call:<6} {way:<8} {rate:>10.0} {:>17} {cpu:>12.1} {:>9} {:>8}",
            format!("{low:.0}–{high:.0}"),
            ratio("bare"),
            ratio("sdk")
        );
    }
    text
}

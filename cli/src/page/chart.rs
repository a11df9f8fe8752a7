//! Small charts, as SVG within the page.

use crate::numbers::grouped;
use maud::{Markup, html};
use std::fmt::Write as _;

const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 60.0;

/// A curve over time, newest on the right; `most`: as many points as the whole width holds.
pub fn curve(title: &str, values: &[f64], most: usize, class: &str) -> Markup {
    let most_seen = values.iter().copied().fold(0.0, f64::max);
    // Of nothing, a flat line.
    let top = most_seen.max(1.0);
    let step = WIDTH / (most.max(2) - 1) as f64;
    let left = WIDTH - step * values.len().saturating_sub(1) as f64;
    let mut line = String::new();
    for (n, value) in values.iter().enumerate() {
        let (x, y) = (left + step * n as f64, HEIGHT - 2.0 - (HEIGHT - 6.0) * value / top);
        // Writing to a string cannot fail.
        let _ = write!(line, "{}{x:.1} {y:.1}", if n == 0 { "M" } else { "L" });
    }
    let area = format!("{line}L{WIDTH} {HEIGHT}L{left:.1} {HEIGHT}Z");
    let now = values.last().copied().unwrap_or_default();
    html! {
        figure class=(class) {
            figcaption { span { (title) } span { b { (figure(now)) } " now · " (figure(most_seen)) " at most" } }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" role="img" aria-label=(format!("{title}: {} now", figure(now))) {
                path class="base" d=(format!("M0 {HEIGHT}L{WIDTH} {HEIGHT}")) {}
                @if values.len() > 1 {
                    path class="area" d=(area) {}
                    path class="curve" d=(line) {}
                }
            }
        }
    }
}

/// Shares of a whole, side by side.
pub fn bar<'a>(parts: impl IntoIterator<Item = (&'a str, u64)>, whole: u64, label: &str) -> Markup {
    let mut at = 0.0;
    let mut pieces = Vec::new();
    for (class, count) in parts {
        let width = 100.0 * count as f64 / whole.max(1) as f64;
        pieces.push((format!("fill-{class}"), at, width));
        at += width;
    }
    html! {
        svg class="bar" viewBox="0 0 100 4" preserveAspectRatio="none" role="img" aria-label=(label) {
            @for (class, x, width) in &pieces {
                rect class=(class) x=(format!("{x:.3}")) y="0" width=(format!("{width:.3}")) height="4" {}
            }
        }
    }
}

/// A number as people read it.
pub fn figure(value: f64) -> String {
    if value >= 10.0 || value == 0.0 { grouped(value.round() as u64) } else { format!("{value:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_of_nothing_and_of_one_point_is_still_a_chart() {
        assert!(curve("calls", &[], 300, "").into_string().contains("0 now"));
        assert!(curve("calls", &[0.0, 0.0], 300, "").into_string().contains("0 at most"));
        assert!(!curve("calls", &[3.0], 300, "").into_string().contains("NaN"));
        assert!(!bar([("complete", 0)], 0, "nothing").into_string().contains("NaN"));
    }
}

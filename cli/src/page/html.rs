//! The fleet on one page. Whatever others wrote (names, reasons, evidence) is escaped by the templates.

use super::{access::Leave, chart};
use crate::numbers::{grouped, many, percent, time};
use fleetscan_coordinator::live::{Overview, Point, ScanView};
use fleetscan_proto::WorkerReport;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};
use std::time::Duration;

/// Points that the width of a chart holds at least: two minutes. At most it is ten, all that is remembered.
const POINTS: usize = 60;

/// A page around `body`.
pub fn page(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · fleetscan" }
                link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/assets/style.css";
                script src="/assets/live.js" defer {}
            }
            body {
                header {
                    h1 { a href="/" { "fleetscan" } }
                    nav {
                        a href="/" aria-current=[(title == "Fleet").then_some("page")] { "Fleet" } " · "
                        a href="/accounts" aria-current=[(title == "Accounts").then_some("page")] { "Accounts" } " · "
                        a href="/api/v1/openapi.json" { "API" }
                    }
                }
                main { (body) }
            }
        }
    }
}

/// A page with a sentence.
pub fn message(title: &str, text: &str) -> Markup {
    page(title, &html! { h2 { (title) } section { p { (text) } } })
}

/// Where the token is given.
pub fn login(was_wrong: bool) -> Markup {
    page(
        "Sign in",
        &html! {
            h2 { "Sign in" }
            section {
                @if was_wrong { p class="bad" { "That is not the token." } }
                form method="post" action="/login" {
                    input type="password" name="token" aria-label="Token" placeholder="Token" autocomplete="current-password" required;
                    button { "Sign in" }
                }
                p class="soft small" { "The coordinator's operator set it as FLEETSCAN_TOKEN_FILE." }
            }
        },
    )
}

/// The whole fleet.
pub fn overview(now: &Overview, leave: &Leave) -> Markup {
    page(
        "Fleet",
        &html! {
            p class="soft small" { "Updated every two seconds: " span id="connection" { "as of " (clock(now.at)) } }
            div id="live" { (live(now, leave)) }
        },
    )
}

/// What changes.
pub fn live(now: &Overview, leave: &Leave) -> Markup {
    let under_way: Vec<&ScanView> = now.scans.iter().filter(|scan| scan.is_under_way()).collect();
    html! {
        (notices(now, &under_way))
        @if under_way.is_empty() {
            section { h2 { "No scan is under way" } p class="soft" { "Ask for one with " code { "fleetscan scans start" } "." } }
        }
        @for scan in &under_way { (scan_under_way(scan, now.at, leave)) }
        section {
            h2 { "The last " (minutes(now)) }
            div class="charts" {
                (chart_of("Calls to AWS per second", "", now, |point| point.calls))
                (chart_of("Throttled calls per second", "throttled", now, |point| point.throttled))
                (chart_of("Cells read per second", "", now, |point| point.cells))
                (chart_of("Records written per second", "", now, |point| point.records))
            }
        }
        section {
            h2 { "Accounts" }
            dl class="figures" {
                @for (state, count) in &now.accounts {
                    div { dt { a href=(format!("/accounts?status={state}")) { (state) } } dd class=(tone(state, *count)) { (grouped(*count)) } }
                }
            }
        }
        @if !now.workers.is_empty() { (workers(&now.workers, now.at)) }
        (ended(now))
    }
}

fn minutes(now: &Overview) -> String {
    let shown = now.history.len().max(POINTS) as f64 * 2.0 / 60.0;
    format!("{shown:.0} minutes")
}

fn chart_of(title: &str, class: &str, now: &Overview, value: impl Fn(&Point) -> f64) -> Markup {
    let values: Vec<f64> = now.history.iter().map(value).collect();
    chart::curve(title, &values, POINTS.max(values.len()), class)
}

fn tone(state: &str, count: u64) -> &'static str {
    match (state, count) {
        (_, 0) => "soft",
        ("active", _) => "good",
        ("degraded", _) => "warn",
        ("revoked", _) => "bad",
        _ => "",
    }
}

fn notices(now: &Overview, under_way: &[&ScanView]) -> Markup {
    html! {
        @if let Some(trouble) = &now.trouble {
            section class="notice bad" role="alert" { b { "What follows is not of now. " } (trouble) }
        }
        @if now.leader.is_none() {
            section class="notice bad" { b { "No coordinator leads. " } "No scan goes on; another takes over within fifteen seconds, if one runs." }
        }
        @if now.workers.is_empty() {
            section class="notice" { b { "No worker reports. " } "Nothing is read until one is started: " code { "fleetscan worker" } }
        }
        @if now.breaker_open {
            section class="notice bad" role="alert" {
                b { "The breaker is open: " (now.breaker_why.as_deref().unwrap_or("many accounts deny AssumeRole at once")) ". " }
                "No account is marked revoked until it closes, and the denied ones wait. " code { "fleetscan doctor" } " looks for a fault on our own side."
            }
        }
        @if now.suspects > 0 && !under_way.is_empty() {
            section class="notice" { (many(now.suspects, "account")) " denied AssumeRole, and what that means is being confirmed." }
        }
    }
}

fn scan_under_way(scan: &ScanView, now: Timestamp, leave: &Leave) -> Markup {
    let left = scan.eta_seconds.map(|seconds| time(Duration::from_secs_f64(seconds.clamp(0.0, 1e9))));
    let about = if scan.planned == scan.accounts { "" } else { "about " };
    html! {
        section {
            h2 { "Scan " (scan.id) " " span class={ "tag " (word(scan)) } { (word(scan)) } }
            (chart::bar(scan.outcomes.iter().map(|(name, count)| (*name, *count)), scan.expected, &format!("{} of {} cells done", scan.done, scan.expected)))
            dl class="figures" {
                div { dt { "done" } dd { (percent(scan.done, scan.expected)) } }
                div { dt { "cells done" } dd { (grouped(scan.done)) " of " (about) (grouped(scan.expected)) } }
                div { dt { "time left" } dd { @match &left { Some(left) => (left), None => "–" } } }
                div { dt { "running for" } dd { (time(since(scan.started_at, now))) } }
                div { dt { "accounts planned" } dd { (grouped(scan.planned)) " of " (grouped(scan.accounts)) } }
                div { dt { "holes" } dd class=(if scan.holes > 0 { "warn" } else { "" }) { (grouped(scan.holes)) } }
                div { dt { "calls" } dd { (grouped(scan.calls)) } }
                div { dt { "throttled" } dd { (grouped(scan.throttled)) } }
                div { dt { "records" } dd { (grouped(scan.records)) } }
            }
            ul class="outcomes" { @for (name, count) in &scan.outcomes { li { span class={ "tag " (name) } { (name) } " " (grouped(*count)) } } }
            @if leave.may_change && word(scan) == "running" {
                form method="post" action=(format!("/api/v1/scans/{}/cancel", scan.id)) { button class="quiet" { "Cancel this scan" } }
            }
        }
    }
}

fn workers(workers: &[WorkerReport], now: Timestamp) -> Markup {
    html! {
        section {
            h2 { (many(workers.len() as u64, "worker")) }
            div class="wide" {
                table {
                    thead { tr { th { "worker" } th class="n" { "cells now" } th class="n" { "calls now" } th class="n" { "calls" } th class="n" { "throttled" } th class="n" { "tasks waiting" } th class="n" { "shards" } th { "up for" } th { "version" } } }
                    tbody {
                        @for worker in workers {
                            tr {
                                td { (worker.worker) @if worker.draining { " " span class="tag" { "draining" } } }
                                td class="n" { (grouped(worker.in_work)) }
                                td class="n" { (grouped(worker.calls_in_flight)) }
                                td class="n" { (grouped(worker.calls)) }
                                td class="n" { (grouped(worker.throttled)) }
                                td class="n" { (grouped(worker.shards.values().sum())) }
                                td class="n" { (worker.shards.len()) }
                                td { (time(since(worker.started_at, now))) }
                                td { (worker.version) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn ended(now: &Overview) -> Markup {
    html! {
        @if now.scans.iter().any(|scan| !scan.is_under_way()) {
            section {
                h2 { "Scans that ended" }
                div class="wide" {
                    table {
                        thead { tr { th { "scan" } th { "state" } th { "ended" } th class="n" { "accounts" } th class="n" { "cells" } th class="n" { "holes" } th class="n" { "records" } } }
                        tbody {
                            @for scan in now.scans.iter().filter(|scan| !scan.is_under_way()) {
                                tr {
                                    td { (scan.id) }
                                    td { span class={ "tag " (word(scan)) } { (word(scan)) } }
                                    td { @match scan.finished_at { Some(at) => (clock(at)), None => "–" } }
                                    td class="n" { (grouped(scan.accounts)) }
                                    td class="n" { (grouped(scan.done)) }
                                    td class={ "n " (if scan.holes > 0 { "warn" } else { "" }) } { (grouped(scan.holes)) }
                                    td class="n" { (grouped(scan.records)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn word(scan: &ScanView) -> &'static str {
    use fleetscan_proto::ScanState as S;
    match scan.state {
        S::Running => "running",
        S::Cancelling => "cancelling",
        S::Finished => "finished",
        S::Cancelled => "cancelled",
        S::Lost => "lost",
    }
}

fn since(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// A moment, to the second, in UTC.
pub fn clock(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_escaped() {
        let worker = "<script>alert(1)</script>\"'&";
        let report = serde_json::json!({ "worker": worker, "version": worker, "catalogue": "", "concurrency": 1,
            "started_at": "1970-01-01T00:00:00Z", "held": 0, "in_work": 0, "calls": 0, "shards": {} });
        let report: WorkerReport = serde_json::from_value(report).expect("a report");
        let now = Overview { workers: vec![report], trouble: Some(worker.to_owned()), ..Overview::default() };
        let text = overview(&now, &Leave { may_change: false }).into_string();
        assert!(!text.contains("<script>alert"), "{text}");
        assert!(text.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;"));
    }
}

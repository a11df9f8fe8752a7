//! Accounts: the list with its search, and a page for each.

use super::{
    access::Leave,
    answer::{Answer, error, html as answer},
    html::{clock, message, page},
};
use crate::numbers::{grouped, many};
use fleetscan_coordinator::live::{AccountDetail, AccountLine, AccountPage, AccountQuery, CellView, Coverage, Live};
use fleetscan_proto::{AccountId, AccountState};
use hyper::StatusCode;
use maud::{Markup, html};
use std::collections::{BTreeMap, BTreeSet};

/// Accounts on one page.
const LIMIT: usize = 100;
/// The longest text that is searched for.
const MAX_TEXT: usize = 200;

/// What a query string asks for; `limit` is at most 1,000.
///
/// # Errors
/// What is wrong with it, in a sentence.
pub fn query(text: &str) -> Result<AccountQuery, String> {
    let mut query = AccountQuery { limit: LIMIT, ..AccountQuery::default() };
    for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
        match &*name {
            "q" if value.chars().count() <= MAX_TEXT => query.text = value.into_owned(),
            "q" => return Err(format!("q has at most {MAX_TEXT} characters")),
            "status" if value.is_empty() => {}
            "status" => {
                let found = AccountState::ALL.into_iter().find(|state| state.as_str() == value);
                query.state = Some(found.ok_or("status is none of those that accounts have")?);
            }
            "after" => query.after = Some(value.parse().map_err(|_| "after is the id of an account: twelve digits")?),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=1_000).contains(limit));
                query.limit = limit.ok_or("limit is a number from 1 to 1000")?;
            }
            _ => {}
        }
    }
    Ok(query)
}

pub async fn list(live: &Live, text: &str) -> Answer {
    let wanted = match query(text) {
        Ok(wanted) => wanted,
        Err(why) => return answer(StatusCode::BAD_REQUEST, message("Accounts", &why)),
    };
    match live.accounts(&wanted).await {
        Ok(found) => answer(StatusCode::OK, page("Accounts", &list_of(&wanted, &found))),
        Err(problem) => answer(StatusCode::SERVICE_UNAVAILABLE, message("Accounts", &problem.to_string())),
    }
}

fn list_of(wanted: &AccountQuery, found: &AccountPage) -> Markup {
    html! {
        h2 { "Accounts" }
        form method="get" action="/accounts" {
            input type="search" name="q" value=(wanted.text) placeholder="Id, name or customer" aria-label="Id, name or customer" maxlength=(MAX_TEXT);
            select name="status" aria-label="Status" {
                option value="" { "any status" }
                @for state in AccountState::ALL { option value=(state.as_str()) selected[wanted.state == Some(state)] { (state.as_str()) } }
            }
            button { "Search" }
        }
        section {
            p class="soft small" { (many(found.found as u64, "account")) }
            div class="wide" {
                table {
                    thead { tr { th { "account" } th { "name" } th { "status" } th { "customer" } th { "since" } th { "last let in" } } }
                    tbody { @for line in &found.accounts { (row(line)) } }
                }
            }
            @if let Some(next) = &found.next {
                p { a href=(next_page(wanted, next)) { "More" } }
            }
        }
    }
}

fn next_page(wanted: &AccountQuery, next: &AccountId) -> String {
    let mut text = url::form_urlencoded::Serializer::new(String::from("/accounts?"));
    text.append_pair("q", &wanted.text);
    text.append_pair("status", wanted.state.map_or("", AccountState::as_str));
    text.append_pair("after", next.as_str());
    text.finish()
}

fn row(line: &AccountLine) -> Markup {
    html! {
        tr {
            td { a href=(format!("/accounts/{}", line.id)) { (line.id) } }
            td class="break" { (line.name.as_deref().unwrap_or("–")) }
            td { (tag(line.status.as_str())) }
            td class="break" { (line.customer) }
            td { (clock(line.since)) }
            td { @match line.last_success { Some(at) => (clock(at)), None => "never" } }
        }
    }
}

fn tag(word: &str) -> Markup {
    html! { span class={ "tag " (word) } { (word) } }
}

pub async fn detail(live: &Live, id: &str, leave: &Leave) -> Answer {
    let Ok(id) = id.parse::<AccountId>() else {
        return answer(StatusCode::NOT_FOUND, message("Not found", "An account's id has twelve digits."));
    };
    match live.account(&id).await {
        Ok(Some(account)) => answer(StatusCode::OK, page(id.as_str(), &detail_of(&account, leave))),
        Ok(None) => answer(StatusCode::NOT_FOUND, message("Not found", "This account is not connected.")),
        Err(problem) => error(StatusCode::SERVICE_UNAVAILABLE, &problem.to_string()),
    }
}

fn detail_of(account: &AccountDetail, leave: &Leave) -> Markup {
    let line = &account.line;
    html! {
        h2 { (line.name.as_deref().unwrap_or("Account")) " " span class="soft" { (line.id) } " " (tag(line.status.as_str())) }
        section {
            dl class="figures" {
                div { dt { "customer" } dd { (line.customer) } }
                div { dt { (line.status.as_str()) " since" } dd { (clock(line.since)) } }
                div { dt { "last let in" } dd { @match line.last_success { Some(at) => (clock(at)), None => "never" } } }
                div { dt { "connected" } dd { (clock(account.added_at)) } }
                div { dt { "profile" } dd { (account.profile) } }
                div { dt { "regions" } dd { @if account.regions.is_empty() { "all enabled" } @else { (account.regions.join(", ")) } } }
            }
            @if leave.may_change { (actions(line)) }
        }
        @if !account.evidence.is_empty() || !account.denied.is_empty() {
            section {
                h2 { "Evidence" }
                (evidence(&account.evidence))
                @if !account.denied.is_empty() {
                    p { "Denied: " @for denial in &account.denied { code { (denial.action) } " " } }
                }
            }
        }
        @match &account.coverage {
            Some(coverage) => (coverage_of(coverage)),
            None => section { h2 { "Coverage" } p class="soft" { "No scan that is remembered had this account." } },
        }
        section {
            h2 { "History" }
            @if account.history.is_empty() { p class="soft" { "Nothing has changed yet." } }
            div class="wide" {
                table {
                    tbody {
                        @for change in &account.history {
                            tr {
                                td { (clock(change.at)) }
                                td { @if let Some(from) = change.from { (tag(from.as_str())) " → " } (tag(change.to.as_str())) }
                                td class="break" { (evidence(&change.evidence)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn actions(line: &AccountLine) -> Markup {
    let act = match line.status {
        AccountState::Paused => "resume",
        AccountState::Disconnected => return html! {},
        _ => "pause",
    };
    html! {
        form method="post" action=(format!("/api/v1/accounts/{}/{act}", line.id)) { button class="quiet" { (act) " this account" } }
    }
}

fn evidence(evidence: &BTreeMap<String, String>) -> Markup {
    html! { @for (name, value) in evidence { span class="soft" { (name) ": " } (value) " " } }
}

/// Regions down, services across: a dot a cell.
fn coverage_of(coverage: &Coverage) -> Markup {
    let services: BTreeSet<&str> = coverage.cells.iter().map(|cell| cell.service.as_str()).collect();
    let mut regions: BTreeMap<&str, BTreeMap<&str, &CellView>> = BTreeMap::new();
    for cell in &coverage.cells {
        regions.entry(&cell.region).or_default().insert(&cell.service, cell);
    }
    let outcomes: BTreeSet<&str> = coverage.cells.iter().map(|cell| cell.outcome).collect();
    let reasons = reasons(&coverage.cells);
    html! {
        section {
            h2 { "Coverage in scan " (coverage.scan) }
            p class="soft small" { "Of " (clock(coverage.started_at)) ". " @for outcome in outcomes { span class="legend" { span class={ "dot " (outcome) } {} " " (outcome) } " " } }
            div class="wide" {
                table class="grid" {
                    thead { tr { th { "region" } @for service in &services { th { (service) } } } }
                    tbody {
                        @for (region, cells) in &regions {
                            tr {
                                th { (region) }
                                @for service in &services {
                                    td { @if let Some(cell) = cells.get(service) {
                                        span class={ "dot " (cell.outcome) } role="img" title=(about(cell)) aria-label=(about(cell)) {}
                                    } }
                                }
                            }
                        }
                    }
                }
            }
            @if !reasons.is_empty() {
                h2 { "What was not read, and why" }
                div class="wide" {
                    table {
                        thead { tr { th class="n" { "cells" } th { "outcome" } th { "where" } th { "why" } } }
                        tbody {
                            @for (Reason { outcome, error, denied }, cells) in &reasons {
                                tr {
                                    td class="n" { (grouped(cells.len() as u64)) }
                                    td { (tag(outcome)) }
                                    td class="break" { (whereabouts(cells)) }
                                    td class="break" { (error.unwrap_or_default()) " " @for action in denied { code { (action) } " " } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Why a cell was not read whole.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reason<'a> {
    outcome: &'a str,
    error: Option<&'a str>,
    denied: BTreeSet<&'a str>,
}

/// Cells that were not read whole, by why: an account that was revoked has one reason for hundreds of them.
fn reasons(cells: &[CellView]) -> BTreeMap<Reason<'_>, Vec<&CellView>> {
    let mut reasons: BTreeMap<Reason<'_>, Vec<&CellView>> = BTreeMap::new();
    for cell in cells.iter().filter(|cell| cell.error.is_some() || !cell.denied.is_empty()) {
        let denied = cell.denied.iter().map(|denial| denial.action.as_str()).collect();
        let reason = Reason { outcome: cell.outcome, error: cell.error.as_deref(), denied };
        reasons.entry(reason).or_default().push(cell);
    }
    reasons
}

/// Services with their regions; of many, how many.
fn whereabouts(cells: &[&CellView]) -> String {
    const NAMED: usize = 4;
    let mut places: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for cell in cells {
        places.entry(&cell.service).or_default().insert(&cell.region);
    }
    if places.len() > NAMED {
        let regions: BTreeSet<&str> = places.values().flatten().copied().collect();
        return format!("{} in {}", many(places.len() as u64, "service"), many(regions.len() as u64, "region"));
    }
    let named = |(service, regions): (&str, BTreeSet<&str>)| match regions.len() > NAMED {
        true => format!("{service} in {}", many(regions.len() as u64, "region")),
        false => format!("{service} in {}", regions.into_iter().collect::<Vec<_>>().join(", ")),
    };
    places.into_iter().map(named).collect::<Vec<_>>().join("; ")
}

fn about(cell: &CellView) -> String {
    format!("{} {}: {}, {}", cell.region, cell.service, cell.outcome, many(cell.records, "record"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetscan_proto::Denial;

    #[test]
    fn a_query_is_read_as_a_whole_or_refused() {
        let read = query("q=Pay%20roll&status=revoked&after=111122223333&limit=5&unknown=1").expect("right");
        assert_eq!((read.text.as_str(), read.state, read.limit), ("Pay roll", Some(AccountState::Revoked), 5));
        for wrong in
            ["status=gone", "after=12", "limit=0", "limit=1001", "limit=many", &format!("q={}", "x".repeat(201))]
        {
            query(wrong).expect_err(wrong);
        }
    }

    #[test]
    fn a_reason_that_many_cells_share_is_told_once() {
        let cell = |region: &str, service: &str, error: Option<&str>, denied: &[&str]| {
            let by = fleetscan_proto::DeniedBy::Identity;
            let denied = denied.iter().map(|action| Denial { action: (*action).to_owned(), by }).collect();
            let outcome = if error.is_some() { "revoked" } else { "partial" };
            let error = error.map(str::to_owned);
            CellView { region: region.into(), service: service.into(), outcome, records: 0, calls: 1, error, denied }
        };
        let gone = Some("the role does not let us in");
        let services: Vec<String> = (0..9).map(|n| format!("service-{n}")).collect();
        let mut cells: Vec<CellView> = services.iter().map(|service| cell("eu-west-1", service, gone, &[])).collect();
        cells.push(cell("us-east-1", "service-0", gone, &[]));
        cells.push(cell("eu-west-1", "lambda", None, &["lambda:GetPolicy"]));
        cells.push(cell("us-east-1", "lambda", None, &["lambda:GetPolicy"]));
        cells.push(cell("us-east-1", "sns", None, &[]));
        let told: Vec<_> =
            reasons(&cells).iter().map(|(r, cells)| (r.outcome.to_owned(), whereabouts(cells))).collect();
        let expected = [("partial", "lambda in eu-west-1, us-east-1"), ("revoked", "9 services in 2 regions")];
        assert_eq!(told, expected.map(|(outcome, place)| (outcome.to_owned(), place.to_owned())));
    }

    #[test]
    fn the_next_page_asks_for_the_same() {
        let wanted = query("q=a%26b&status=active").expect("right");
        let next = next_page(&wanted, &"111122223333".parse().expect("id"));
        let again = query(next.split_once('?').expect("a query").1).expect("right");
        assert_eq!((again.text.as_str(), again.state), ("a&b", Some(AccountState::Active)));
    }
}

//! `/api/v1`: what the page shows, as JSON; `/api/v1/openapi.json` describes it.

use super::{
    access::Leave,
    account,
    answer::{Answer, asset, error, json, see_other},
};
use fleetscan_coordinator::{ConnectionError, live::Live};
use fleetscan_proto::{AccountId, ScanId, StoreError};
use hyper::{Method, Request, StatusCode, header};
use serde::Serialize;

/// Scans that are listed at most.
const SCANS: usize = 100;

/// Answers a request below `/api/`.
pub async fn answer<B>(live: &Live, leave: &Leave, request: Request<B>) -> Answer {
    let Some(rest) = request.uri().path().strip_prefix("/api/v1/") else {
        return error(StatusCode::NOT_FOUND, "the API begins at /api/v1/; /api/v1/openapi.json describes it");
    };
    let parts: Vec<&str> = rest.split('/').collect();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match (parts.as_slice(), reads) {
        (["scans", _, "cancel"] | ["accounts", _, "pause" | "resume"], true) => {
            error(StatusCode::METHOD_NOT_ALLOWED, "only POST").allow("POST")
        }
        (_, true) => read(live, &parts, request.uri().query().unwrap_or_default()).await,
        (["scans", id, "cancel"], false) if *request.method() == Method::POST => match refused(leave) {
            None => shown(&request, cancel(live, id).await),
            Some(refusal) => refusal,
        },
        (["accounts", id, act @ ("pause" | "resume")], false) if *request.method() == Method::POST => {
            match refused(leave) {
                None => shown(&request, change(live, id, act).await),
                Some(refusal) => refusal,
            }
        }
        (["scans", _, "cancel"] | ["accounts", _, "pause" | "resume"], false) => {
            error(StatusCode::METHOD_NOT_ALLOWED, "only POST").allow("POST")
        }
        _ => error(StatusCode::METHOD_NOT_ALLOWED, "only GET").allow("GET, HEAD"),
    }
}

async fn read(live: &Live, parts: &[&str], query: &str) -> Answer {
    match parts {
        ["openapi.json"] => asset("application/json", include_str!("openapi.json")),
        ["overview"] => json(StatusCode::OK, &*live.overview().borrow().clone()),
        ["workers"] => json(StatusCode::OK, &live.overview().borrow().workers.clone()),
        ["scans"] => listed(live.scans(SCANS).await),
        ["scans", id] => match id.parse::<ScanId>() {
            Ok(id) => found(live.scan(&id).await, "there is no such scan"),
            Err(_) => error(StatusCode::NOT_FOUND, "there is no such scan"),
        },
        ["accounts"] => match account::query(query) {
            Ok(wanted) => listed(live.accounts(&wanted).await),
            Err(why) => error(StatusCode::BAD_REQUEST, &why),
        },
        ["accounts", id] => match id.parse::<AccountId>() {
            Ok(id) => found(live.account(&id).await, "this account is not connected"),
            Err(_) => error(StatusCode::NOT_FOUND, "an account's id has twelve digits"),
        },
        _ => error(StatusCode::NOT_FOUND, "there is no such resource; /api/v1/openapi.json lists them"),
    }
}

/// Why it may not change anything, if so.
fn refused(leave: &Leave) -> Option<Answer> {
    if leave.may_change {
        return None;
    }
    Some(error(StatusCode::FORBIDDEN, "read-only: changes need a token, and the coordinator has none configured"))
}

async fn cancel(live: &Live, id: &str) -> Answer {
    let Ok(id) = id.parse::<ScanId>() else { return error(StatusCode::NOT_FOUND, "there is no such scan") };
    match live.scan(&id).await {
        Ok(None) => return error(StatusCode::NOT_FOUND, "there is no such scan"),
        Ok(Some(_)) => {}
        Err(problem) => return away(&problem),
    }
    match live.cancel(&id).await {
        Ok(true) => {
            tracing::info!(scan = %id, "page.scan_cancelled");
            found(live.scan(&id).await, "there is no such scan")
        }
        Ok(false) => error(StatusCode::CONFLICT, "the scan is not running"),
        Err(problem) => away(&problem),
    }
}

async fn change(live: &Live, id: &str, act: &str) -> Answer {
    let Ok(id) = id.parse::<AccountId>() else {
        return error(StatusCode::NOT_FOUND, "an account's id has twelve digits");
    };
    match live.account(&id).await {
        Ok(None) => return error(StatusCode::NOT_FOUND, "this account is not connected"),
        Ok(Some(_)) => {}
        Err(problem) => return away(&problem),
    }
    let done = if act == "pause" { live.pause(&id).await } else { live.resume(&id).await };
    match done {
        Ok(()) => {
            tracing::info!(account = %id, act, "page.account_changed");
            found(live.account(&id).await, "this account is not connected")
        }
        Err(ConnectionError::Refused(why)) => error(StatusCode::CONFLICT, &why),
        Err(ConnectionError::Store(problem)) => away(&problem),
        Err(problem) => error(StatusCode::INTERNAL_SERVER_ERROR, &problem.to_string()),
    }
}

/// A form of the page goes back to it; a program gets the object.
fn shown<B>(request: &Request<B>, answer: Answer) -> Answer {
    let accepts = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !accepts.contains("text/html") || !answer.is_success() {
        return answer;
    }
    match request.uri().path().strip_prefix("/api/v1/accounts/").and_then(|rest| rest.split('/').next()) {
        Some(id) => see_other(&format!("/accounts/{id}")),
        None => see_other("/"),
    }
}

fn listed(list: Result<impl Serialize, StoreError>) -> Answer {
    match list {
        Ok(list) => json(StatusCode::OK, &list),
        Err(problem) => away(&problem),
    }
}

fn found(one: Result<Option<impl Serialize>, StoreError>, otherwise: &str) -> Answer {
    match one {
        Ok(Some(one)) => json(StatusCode::OK, &one),
        Ok(None) => error(StatusCode::NOT_FOUND, otherwise),
        Err(problem) => away(&problem),
    }
}

fn away(problem: &StoreError) -> Answer {
    error(StatusCode::SERVICE_UNAVAILABLE, &problem.to_string())
}

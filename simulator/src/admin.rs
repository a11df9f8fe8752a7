//! `/_simulator/…`: what is not AWS. Bucket names cannot begin with an underscore, so nothing of AWS is hidden by it.
//!
//! | request | answer |
//! |---|---|
//! | `GET /_simulator/counters` | [`crate::Counters`] |
//! | `POST /_simulator/reset-counters` | `{}` |
//! | `GET /_simulator/accounts` | the accounts file |
//! | `GET /_simulator/hub` | `{"access_key_id", "secret_access_key", "role_arn", "external_id"}`; the last two of a role that the hub may assume |
//! | `GET /_simulator/expectations?account=` | a list of [`crate::ExpectedCell`]s |
//! | `GET /_simulator/meant?account=&region=&service=&operation=` | a list of [`crate::Meant`]s |
//! | `POST /_simulator/control` | `{}`; the body is a [`crate::Command`] |

use crate::engine::Engine;
use crate::world::{HUB_EXTERNAL_ID, HUB_ROLE_ARN};
use crate::{Command, Control, Expectations, engine::Reply, request::Incoming, simulator::accounts_toml};
use fleetscan_proto::{AccountId, Cell};
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;

pub(crate) const PREFIX: &str = "/_simulator/";

/// Answers a request of an operator or a test.
pub(crate) fn answer(engine: &Arc<Engine>, request: &Incoming) -> Reply {
    let control = Control::new(Arc::clone(engine));
    let expectations = Expectations::new(Arc::clone(engine));
    let field = |name: &str| request.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    let account = || field("account").and_then(|id| id.parse::<AccountId>().ok());
    let route = request.path.strip_prefix(PREFIX).unwrap_or_default();
    match (request.method.as_str(), route) {
        ("GET", "counters") => body(200, &control.counters()),
        ("POST", "reset-counters") => {
            control.reset_counters();
            body(200, &json!({}))
        }
        ("GET", "accounts") => text(200, "application/toml", accounts_toml(engine)),
        ("GET", "hub") => {
            let (access_key, secret) = engine.hub_credentials();
            body(
                200,
                &json!({
                    "access_key_id": access_key, "secret_access_key": secret, "role_arn": HUB_ROLE_ARN, "external_id": HUB_EXTERNAL_ID,
                }),
            )
        }
        ("GET", "expectations") => match account() {
            Some(account) => body(200, &expectations.cells(&account).collect::<Vec<_>>()),
            None => wrong("name an account: ?account=<12 digits>"),
        },
        ("GET", "meant") => {
            let (Some(account), Some(service), Some(operation)) = (account(), field("service"), field("operation"))
            else {
                return wrong("name ?account=, service= and operation=, and region= of a regional service");
            };
            let region = field("region").unwrap_or_else(|| fleetscan_proto::GLOBAL.to_owned());
            match expectations.meant(&Cell::new(account, region, service), &operation) {
                Some(meant) => body(200, &meant),
                None => wrong("there is no such account, region, service or operation"),
            }
        }
        ("POST", "control") => match serde_json::from_slice::<Command>(&request.body) {
            Ok(command) => match control.carry_out(&command) {
                Ok(()) => body(200, &json!({})),
                Err(problem) => wrong(&problem.to_string()),
            },
            Err(problem) => wrong(&problem.to_string()),
        },
        _ => text(404, "text/plain", "There is no such page of the simulator.\n".to_owned()),
    }
}

fn wrong(why: &str) -> Reply {
    body(400, &json!({"error": why}))
}

fn body(status: u16, value: &impl Serialize) -> Reply {
    match serde_json::to_string(value) {
        Ok(json) => text(status, "application/json", json),
        Err(problem) => text(500, "text/plain", problem.to_string()),
    }
}

fn text(status: u16, content_type: &'static str, body: String) -> Reply {
    Reply { status, content_type, request_id: String::new(), headers: Vec::new(), body: body.into() }
}

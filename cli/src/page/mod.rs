//! The coordinator's live page and its API: what [`Live`] knows, as HTML, as server-sent events and as JSON.
//!
//! * [`access`]: who may look, and who may change something
//! * [`answer`]: responses, and the headers that every one of them carries
//! * [`html`], [`account`], [`chart`]: what people see; [`api`]: what programs do
//!
//! No build step and no outside host: three files beside the HTML, which the binary carries.

mod access;
mod account;
mod answer;
mod api;
mod chart;
mod events;
mod html;

pub use access::Access;
pub use answer::Body;

use access::Leave;
use answer::{Answer, asset, error, html as html_answer, see_other};
use fleetscan_coordinator::live::Live;
use http_body_util::{BodyExt as _, Limited};
use hyper::{Method, Request, StatusCode, body::Incoming};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// Browsers that are sent events at once.
const STREAMS: usize = 32;
/// The most that a form may have, in bytes.
const FORM: usize = 4_096;
/// How long a form may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// The page, the API, and who may see them.
pub struct Site {
    live: Arc<Live>,
    access: Access,
    streams: Arc<Semaphore>,
}

impl Site {
    /// A site that shows this.
    pub fn new(live: Arc<Live>, access: Access) -> Self {
        Self { live, access, streams: Arc::new(Semaphore::new(STREAMS)) }
    }

    /// Answers a request; carries headers of its own.
    pub async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        match (path.as_str(), request.method()) {
            ("/assets/style.css", &Method::GET) => return asset("text/css; charset=utf-8", include_str!("style.css")),
            ("/assets/live.js", &Method::GET) => {
                return asset("text/javascript; charset=utf-8", include_str!("live.js"));
            }
            ("/assets/icon.svg", &Method::GET) => return asset("image/svg+xml", include_str!("icon.svg")),
            ("/login", &Method::POST) => return self.log_in(request).await,
            _ => {}
        }
        let is_api = path.starts_with("/api/");
        let leave = match self.access.of(&request) {
            Ok(leave) => leave,
            Err(refusal) if is_api => return error(refusal.status(), &refusal.to_string()),
            Err(refusal) if refusal.wants_token() => {
                return html_answer(refusal.status(), html::login(path == "/login"));
            }
            Err(refusal) => return html_answer(refusal.status(), html::message("Not here", &refusal.to_string())),
        };
        if is_api {
            return api::answer(&self.live, &leave, request).await;
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return error(StatusCode::METHOD_NOT_ALLOWED, "only GET").allow("GET, HEAD");
        }
        self.page(&path, request.uri().query().unwrap_or_default(), &leave).await
    }

    async fn page(&self, path: &str, query: &str, leave: &Leave) -> Answer {
        match path {
            "/" => html_answer(StatusCode::OK, html::overview(&self.live.overview().borrow(), leave)),
            "/login" => see_other("/"),
            "/events" => events::stream(&self.live, leave, &self.streams),
            "/accounts" => account::list(&self.live, query).await,
            other => match other.strip_prefix("/accounts/") {
                Some(id) => account::detail(&self.live, id, leave).await,
                None => html_answer(
                    StatusCode::NOT_FOUND,
                    html::message("Not found", "There is no such page. Begin at the fleet."),
                ),
            },
        }
    }

    async fn log_in(&self, request: Request<Incoming>) -> Answer {
        let form = Limited::new(request.into_body(), FORM).collect();
        let body = match tokio::time::timeout(PATIENCE, form).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => return error(StatusCode::PAYLOAD_TOO_LARGE, "a form of at most 4,096 bytes"),
            Err(_) => return error(StatusCode::REQUEST_TIMEOUT, "the form did not come in time"),
        };
        let token = url::form_urlencoded::parse(&body).find(|(name, _)| name == "token").map(|(_, value)| value);
        match self.access.cookie_for(token.as_deref().unwrap_or_default()) {
            Some(cookie) => see_other("/").cookie(&cookie),
            None => {
                tokio::time::sleep(access::WRONG).await;
                html_answer(StatusCode::UNAUTHORIZED, html::login(true))
            }
        }
    }
}

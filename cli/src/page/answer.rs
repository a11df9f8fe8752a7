//! Responses, and the headers that every one of them carries.

use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::{Response, StatusCode, body::Bytes, header};
use maud::Markup;
use serde::Serialize;
use std::convert::Infallible;

/// A body: whole, or a stream.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Nothing from elsewhere, nothing inline, and no frame around it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const ALWAYS: [(header::HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// A response that carries what every one does.
pub struct Answer(Response<Body>);

impl Answer {
    /// A response of this kind.
    pub fn new(status: StatusCode, kind: &'static str, body: Body) -> Self {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
        for (name, value) in ALWAYS {
            headers.insert(name, header::HeaderValue::from_static(value));
        }
        Self(response)
    }
    /// Whether it is what was asked for.
    pub fn is_success(&self) -> bool {
        self.0.status().is_success()
    }
    /// Tells which methods are allowed.
    pub fn allow(self, methods: &'static str) -> Self {
        self.with(header::ALLOW, methods)
    }
    /// Sets a cookie.
    pub fn cookie(self, cookie: &str) -> Self {
        self.with(header::SET_COOKIE, cookie)
    }
    fn with(mut self, name: header::HeaderName, value: &str) -> Self {
        if let Ok(value) = header::HeaderValue::from_str(value) {
            self.0.headers_mut().insert(name, value);
        }
        self
    }
    /// As hyper takes it.
    pub fn into_response(self) -> Response<Body> {
        self.0
    }
}

/// A body that is there as a whole.
pub fn whole(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed_unsync()
}

/// A page.
pub fn html(status: StatusCode, page: Markup) -> Answer {
    Answer::new(status, "text/html; charset=utf-8", whole(page.into_string()))
}

/// A file that the binary carries.
pub fn asset(kind: &'static str, text: &'static str) -> Answer {
    Answer::new(StatusCode::OK, kind, whole(text)).with(header::CACHE_CONTROL, "no-cache")
}

/// An object, for programs.
pub fn json(status: StatusCode, object: &impl Serialize) -> Answer {
    match serde_json::to_vec(object) {
        Ok(text) => Answer::new(status, "application/json", whole(text)),
        Err(problem) => error(StatusCode::INTERNAL_SERVER_ERROR, &problem.to_string()),
    }
}

/// What is wrong, for programs.
pub fn error(status: StatusCode, why: &str) -> Answer {
    let answer = Answer::new(status, "application/json", whole(serde_json::json!({ "error": why }).to_string()));
    if status == StatusCode::UNAUTHORIZED { answer.with(header::WWW_AUTHENTICATE, "Bearer") } else { answer }
}

/// Go there.
pub fn see_other(place: &str) -> Answer {
    Answer::new(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", whole("")).with(header::LOCATION, place)
}

//! Tells a receiver of events by HTTP: one signed POST an event. Redirects are not followed, every wait has an end, and of
//! the answer only its status is read.

mod signature;

use crate::{
    network::{Network, NetworkError},
    retry::Backoff,
};
use ::http::Uri;
use aws_smithy_runtime_api::client::{
    http::{HttpConnector as _, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::HttpRequest,
};
use aws_smithy_types::body::SdkBody;
use fleetscan_proto::{Clock, DeliveryError, Event, EventReceiver, Secret};
use signature::Signer;
use std::{collections::BTreeSet, fmt, net::IpAddr, sync::Arc, time::Duration};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From the first byte sent to the status received.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Ceilings of the waits between tries: the first and the last.
const WAITS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));

/// A receiver as an operator describes it.
#[derive(Debug, Clone)]
pub struct WebhookOptions {
    /// Its name, unique among the receivers.
    pub name: String,
    /// Where it is: `https://`, or `http://` on this machine. Kept secret, since a path may be a password.
    pub url: Secret,
    /// Secrets that sign, `whsec_…` each, one a line; more than one while they are replaced.
    pub secret: Secret,
    /// Types of events that it is told of; empty: all.
    pub types: BTreeSet<String>,
    /// How old an event that it does not take may become.
    pub give_up_after: Duration,
}

/// What is wrong with a receiver. The texts repeat neither its address nor its secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// The address.
    #[error("{0}")]
    Address(&'static str),
    /// The secret.
    #[error("{0}")]
    Secret(&'static str),
    /// The way there.
    #[error("{0}")]
    Network(#[from] NetworkError),
}

/// A receiver of events.
pub struct Webhook {
    options: WebhookOptions,
    place: String,
    uri: Uri,
    signer: Signer,
    connector: SharedHttpConnector,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("name", &self.options.name).field("place", &self.place).finish_non_exhaustive()
    }
}

impl Webhook {
    /// A receiver, reached by this network.
    ///
    /// # Errors
    /// What is to be mended; nothing is called yet.
    pub fn new(options: WebhookOptions, network: &Network, clock: Arc<dyn Clock>) -> Result<Self, WebhookError> {
        let (uri, place) = address(options.url.expose()).map_err(WebhookError::Address)?;
        let signer = Signer::parse(options.secret.expose()).map_err(WebhookError::Secret)?;
        let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(TIMEOUT).build();
        let connector = network.links()?.connector(&settings);
        Ok(Self { options, place, uri, signer, connector, clock })
    }

    fn request(&self, event: &Event) -> Result<HttpRequest, String> {
        let body = serde_json::to_vec(event).map_err(|error| error.to_string())?;
        // Of this try, and not of the event: receivers refuse what was signed long ago.
        let timestamp = u64::try_from(self.clock.now().as_second()).unwrap_or_default();
        let request = ::http::Request::builder()
            .method("POST")
            .uri(self.uri.clone())
            .header("content-type", "application/json")
            .header("webhook-id", &event.id)
            .header("webhook-timestamp", timestamp.to_string())
            .header("webhook-signature", self.signer.sign(&event.id, timestamp, &body)?)
            .body(SdkBody::from(body))
            .map_err(|error| error.to_string())?;
        HttpRequest::try_from(request).map_err(|error| error.to_string())
    }
}

#[async_trait::async_trait]
impl EventReceiver for Webhook {
    fn name(&self) -> &str {
        &self.options.name
    }

    fn place(&self) -> &str {
        &self.place
    }

    fn wants(&self, kind: &str) -> bool {
        self.options.types.is_empty() || self.options.types.contains(kind)
    }

    fn gives_up_after(&self) -> Duration {
        self.options.give_up_after
    }

    async fn deliver(&self, event: &Event) -> Result<(), DeliveryError> {
        let request = self.request(event).map_err(|_| DeliveryError::Refused("it could not be sent".into()))?;
        match tokio::time::timeout(TIMEOUT, self.connector.call(request)).await {
            Err(_) => Err(DeliveryError::Later(format!("no answer within {} s", TIMEOUT.as_secs()))),
            Ok(Err(error)) if error.is_timeout() => Err(DeliveryError::Later("no answer in time".into())),
            Ok(Err(_)) => Err(DeliveryError::Later("it cannot be reached".into())),
            Ok(Ok(answer)) => judge(answer.status().as_u16()),
        }
    }

    fn waits(&self) -> Box<dyn Iterator<Item = Duration> + Send> {
        let (first, last) = WAITS;
        let mut backoff = Backoff::new(first, last);
        Box::new(std::iter::from_fn(move || Some(backoff.next_wait())))
    }
}

/// What an answer's status means for the event.
fn judge(status: u16) -> Result<(), DeliveryError> {
    match status {
        200..=299 => Ok(()),
        300..=399 => Err(DeliveryError::Later(format!("it answers {status}, a redirect, and none is followed"))),
        // Of this very event, and not of who sends it: that would not be better later.
        413 | 415 | 422 => Err(DeliveryError::Refused(format!("it refuses the event: {status}"))),
        // Some answer 400 to a signature or a time that they do not take.
        400 | 401 | 403 => Err(DeliveryError::Later(format!("it answers {status}: does it know our secret?"))),
        _ => Err(DeliveryError::Later(format!("it answers {status}"))),
    }
}

/// An address, and what of it may be shown.
fn address(url: &str) -> Result<(Uri, String), &'static str> {
    const WRONG: &str = "its url is no https:// address";
    let uri: Uri = url.trim().parse().map_err(|_| WRONG)?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(WRONG) };
    if authority.as_str().contains('@') {
        return Err("its url names a user: receivers know us by the signature, so leave that out");
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match scheme {
        "https" => {}
        "http" if is_here => {}
        "http" => {
            return Err("its url begins with http://, which is for receivers on this machine alone: use https://");
        }
        _ => return Err(WRONG),
    }
    Ok((uri.clone(), format!("{scheme}://{authority}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tls_leaves_the_machine_and_no_path_is_shown() {
        for url in [
            "https://hooks.example/T0/planted",
            "http://127.0.0.1:8080/planted",
            "http://[::1]:80/",
            "http://localhost/x",
        ] {
            let (_, place) = address(url).expect(url);
            assert!(!place.contains("planted") && place.contains("://"), "{place}");
        }
        for url in [
            "",
            "hooks.example",
            "/x",
            "http://hooks.example/x",
            "ftp://hooks.example/",
            "https://u:p@hooks.example/",
            "http://127.0.0.1.hooks.example/",
            "http://10.0.0.1/",
        ] {
            let why = address(url).expect_err(url);
            assert!(!why.contains("hooks.example"), "{why}");
        }
    }

    #[test]
    fn only_what_a_receiver_says_of_the_event_itself_ends_the_tries() {
        assert_eq!(judge(204), Ok(()));
        for status in [301, 307, 401, 403, 404, 408, 409, 410, 429, 500, 503] {
            assert!(matches!(judge(status), Err(DeliveryError::Later(_))), "{status}");
        }
        for status in [413, 415, 422] {
            assert!(matches!(judge(status), Err(DeliveryError::Refused(_))), "{status}");
        }
    }
}

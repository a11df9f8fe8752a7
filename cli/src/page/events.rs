//! Server-sent events: the part of the page that changes, whenever it has changed.

use super::{
    access::Leave,
    answer::{Answer, error},
    html,
};
use fleetscan_coordinator::live::Live;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    StatusCode,
    body::{Bytes, Frame},
};
use std::{convert::Infallible, sync::Arc};
use tokio::sync::Semaphore;

/// A stream of the overview, as long as the browser listens.
pub fn stream(live: &Arc<Live>, leave: &Leave, streams: &Arc<Semaphore>) -> Answer {
    let Ok(slot) = Arc::clone(streams).try_acquire_owned() else {
        return error(StatusCode::SERVICE_UNAVAILABLE, "too many browsers watch already");
    };
    let mut receiver = live.overview();
    receiver.mark_changed();
    let state = (receiver, *leave, slot);
    let events = stream::unfold(state, |(mut receiver, leave, slot)| async move {
        receiver.changed().await.ok()?;
        let fragment = html::live(&receiver.borrow_and_update().clone(), &leave).into_string();
        Some((Ok::<_, Infallible>(Frame::data(event(&fragment))), (receiver, leave, slot)))
    });
    Answer::new(StatusCode::OK, "text/event-stream", StreamBody::new(events).boxed_unsync())
}

/// One event; a line break within it begins another `data` line.
fn event(text: &str) -> Bytes {
    let mut event = String::with_capacity(text.len() + 16);
    for line in text.split(['\n', '\r']) {
        event.push_str("data: ");
        event.push_str(line);
        event.push('\n');
    }
    event.push('\n');
    event.into()
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_text_can_end_an_event_early() {
        let event = super::event("<p>a\n\nevent: other\rdata: x</p>");
        let text = std::str::from_utf8(&event).expect("text");
        assert!(text.trim_end_matches('\n').lines().all(|line| line.starts_with("data: ")), "{text}");
        assert!(text.ends_with("\n\n") && !text.trim_end_matches('\n').contains("\n\n"));
    }
}

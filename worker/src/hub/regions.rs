use aws_sdk_sts::{Client, config::http::HttpResponse, error::SdkError};
use futures_util::future::BoxFuture;
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// For how long the second region stands in before the first one is asked again.
const STANDS_IN: Duration = Duration::from_secs(60);

/// STS in one region, and in another that stands in while the first cannot be reached or errs.
#[derive(Debug, Clone)]
pub(super) struct StsRegions {
    first: Client,
    second: Option<Client>,
    away: std::sync::Arc<Mutex<Option<Instant>>>,
}

impl StsRegions {
    pub(super) fn new(first: Client, second: Option<Client>) -> Self {
        Self { first, second, away: std::sync::Arc::default() }
    }

    /// Makes a call, in the second region where the first one is away.
    pub(super) async fn call<T, E>(
        &self,
        call: impl Fn(Client) -> BoxFuture<'static, Result<T, SdkError<E, HttpResponse>>> + Send + Sync,
    ) -> Result<T, SdkError<E, HttpResponse>> {
        let Some(second) = &self.second else { return call(self.first.clone()).await };
        if !self.is_away() {
            let answer = call(self.first.clone()).await;
            match &answer {
                Err(error) if is_away(error) => self.note(true),
                _ => {
                    self.note(false);
                    return answer;
                }
            }
        }
        call(second.clone()).await
    }

    fn is_away(&self) -> bool {
        let away = *self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.is_some_and(|until| Instant::now() < until)
    }

    fn note(&self, is_away: bool) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        match (*away, is_away) {
            (None, true) => tracing::warn!("hub.sts_away: the fallback region is asked meanwhile"),
            (Some(_), false) => tracing::info!("hub.sts_back: the first region answers again"),
            _ => {}
        }
        *away = is_away.then(|| Instant::now() + STANDS_IN);
    }
}

/// The region's STS did not answer, or answered that it is at fault itself.
fn is_away<E>(error: &SdkError<E, HttpResponse>) -> bool {
    match error {
        SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) => true,
        SdkError::ServiceError(answer) => answer.raw().status().as_u16() >= 500,
        SdkError::ResponseError(answer) => answer.raw().status().as_u16() >= 500,
        _ => false,
    }
}

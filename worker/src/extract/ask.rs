//! One question to AWS on behalf of a cell, and how its operation fared.

use super::{Extraction, Halt};
use crate::call::{Call, CallError};
use fleetscan_proto::catalogue::{Operation, Poll};
use serde_json::{Map, Value};
use std::time::Duration;

/// What one operation answered in place of a value.
#[derive(Debug)]
pub(super) enum Refusal {
    Denied,
    Absent,
    Failed,
}

/// Which page of an answer is asked for, and of whom.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Page {
    /// Not the first one.
    pub(super) token: bool,
    /// Its token is one that was stored.
    pub(super) resumed: bool,
    /// It is about another account's resource.
    pub(super) foreign: bool,
}

/// How an answer that takes a while stands.
#[derive(Debug, PartialEq, Eq)]
enum Readiness {
    Ready,
    NotYet,
    Never,
}

fn readiness(poll: &Poll, answer: &Value) -> Readiness {
    let says = poll.field.get(answer).and_then(Value::as_str).unwrap_or_default();
    let is = |words: &[String]| words.iter().any(|word| word == says);
    match (is(&poll.until), is(&poll.failed)) {
        (true, _) => Readiness::Ready,
        (_, true) => Readiness::Never,
        _ => Readiness::NotYet,
    }
}

impl Extraction<'_> {
    /// Makes a call, again and again where its answer takes a while, and notes how its operation fared.
    pub(super) async fn ask(
        &self,
        operation: &Operation,
        region: &str,
        params: &Map<String, Value>,
        page: Page,
    ) -> Result<Result<Value, Refusal>, Halt> {
        let fail = |why: &str| {
            self.state().failed(&operation.name, why);
            Ok(Err(Refusal::Failed))
        };
        let mut asked = 0;
        let mut answer = loop {
            let answer = match self.ask_once(operation, region, params, page).await? {
                Ok(answer) => answer,
                refused => return Ok(refused),
            };
            // What was ready for its first page is ready for the others.
            let Some(poll) = operation.poll.as_ref().filter(|_| !page.token) else { break answer };
            asked += 1;
            match readiness(poll, &answer) {
                Readiness::Ready => break answer,
                Readiness::Never => return fail("AWS could not make it"),
                Readiness::NotYet if asked >= poll.most => return fail("it was not ready in time"),
                Readiness::NotYet => self.wait(Duration::from_secs(poll.seconds)).await?,
            }
        };
        if !operation.unpack(&mut answer) {
            return fail("the answer is not the table that it should be");
        }
        Ok(Ok(answer))
    }

    /// Waits, unless the cell must be handed in meanwhile.
    async fn wait(&self, time: Duration) -> Result<(), Halt> {
        let ends = tokio::time::Instant::now() + time;
        tokio::select! {
            () = tokio::time::sleep_until(ends.min(self.slice_ends)) => {}
            () = self.drain.cancelled() => {}
        }
        if self.must_halt() { Err(Halt::Yield) } else { Ok(()) }
    }

    async fn ask_once(
        &self,
        operation: &Operation,
        region: &str,
        params: &Map<String, Value>,
        page: Page,
    ) -> Result<Result<Value, Refusal>, Halt> {
        let call = Call {
            account: self.account,
            service: operation.lender.as_deref().unwrap_or(&self.service.id),
            operation: &operation.name,
            region,
            params,
            paged: page.token,
            budget: &self.budget,
        };
        let refusal = match self.caller.call(call).await {
            Ok(value) => {
                self.state().answered(&operation.name);
                return Ok(Ok(value));
            }
            Err(CallError::Absent) => {
                self.state().answered(&operation.name);
                Refusal::Absent
            }
            // That it is not ours to read is all there is to know of it.
            Err(CallError::Denied(_)) if page.foreign => {
                self.state().answered(&operation.name);
                Refusal::Absent
            }
            Err(CallError::Denied(by)) => {
                self.state().denied(&operation.name, &operation.action, by);
                Refusal::Denied
            }
            Err(CallError::Failed(why)) => {
                self.state().failed(&operation.name, &why);
                Refusal::Failed
            }
            Err(CallError::BadToken) if page.resumed => return Err(Halt::Restart),
            Err(CallError::BadToken) => {
                self.state().failed(&operation.name, "a page token that AWS had just given was refused");
                Refusal::Failed
            }
            Err(CallError::RegionDisabled) => return Err(Halt::RegionDisabled),
            Err(CallError::Defer(wait)) => return Err(Halt::Defer(wait)),
            Err(CallError::ThrottledOut) => return Err(Halt::ThrottledOut),
            Err(CallError::Session(error)) => return Err(Halt::Session(error)),
            Err(CallError::Stopped) => return Err(Halt::Yield),
        };
        Ok(Err(refusal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetscan_proto::catalogue::FieldPath;
    use serde_json::json;

    #[test]
    fn an_answer_says_whether_it_is_ready() {
        let poll = Poll {
            field: FieldPath::parse("State").expect("a path"),
            until: vec!["COMPLETE".into()],
            failed: vec!["FAILED".into()],
            seconds: 1,
            most: 2,
        };
        for (state, expected) in [
            (json!({"State": "COMPLETE"}), Readiness::Ready),
            (json!({"State": "STARTED"}), Readiness::NotYet),
            (json!({"State": "FAILED"}), Readiness::Never),
            (json!({}), Readiness::NotYet),
        ] {
            assert_eq!(readiness(&poll, &state), expected, "{state}");
        }
    }
}

use super::service;
use crate::{
    aws::Answer,
    call::{Call, CallError, Caller, Errand},
    gate::ArchiveGate,
    wire::parse_error,
};
use bytes::Bytes;
use fleetscan_proto::catalogue::{Operation, Service};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A question to a bucket of log files, on behalf of a task.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    /// What may be asked.
    pub(crate) gate: &'a ArchiveGate,
    /// The task, as it calls elsewhere; operation and parameters are this question's.
    pub(crate) call: Call<'a>,
}

impl Question<'_> {
    /// A page of a list of keys.
    pub(crate) async fn list(&self, caller: &Caller) -> Result<Value, CallError> {
        let (service, operation) = operation("ListObjectsV2")?;
        let errand = Errand { service, operation, log_files: Some(self.gate) };
        caller.make(self.call("ListObjectsV2"), errand, |answer: Answer| answer.read(service, operation)).await
    }

    /// An object; `None` if it is archived, so that it would have to be restored first.
    pub(crate) async fn get(&self, caller: &Caller) -> Result<Option<Bytes>, CallError> {
        let (service, operation) = operation("GetObject")?;
        let errand = Errand { service, operation, log_files: Some(self.gate) };
        let read = |answer: Answer| match answer {
            Answer::Raw(raw) if raw.status == 403 && parse_error(service.protocol, &raw).0 == "InvalidObjectState" => {
                Ok(None)
            }
            answer => answer.object().map(Some),
        };
        caller.make(self.call("GetObject"), errand, read).await
    }

    fn call(&self, operation: &'static str) -> Call<'_> {
        Call { service: "s3", operation, ..self.call }
    }
}

fn operation(name: &str) -> Result<(&'static Arc<Service>, &'static Operation), CallError> {
    let found = service().and_then(|service| Some((service, service.operation(name)?)));
    found.ok_or_else(|| CallError::Failed(format!("s3:{name} is not described")))
}

/// Parameters of a question.
pub(crate) fn params(pairs: &[(&str, &str)]) -> Map<String, Value> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect()
}

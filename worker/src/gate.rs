//! What may be called at all on a customer's session: the operations of the catalogue, and of these no writer and no
//! reader of secrets, whatever a catalogue file says.

mod wire;

pub use wire::inspect;

use crate::never;
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::BeforeSerializationInterceptorContextRef},
        orchestrator::Metadata,
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::ConfigBag;
use fleetscan_proto::catalogue::{Catalogue, Operation, Service};
use std::sync::Arc;

/// Operations begin with one of these, or do not leave.
pub(crate) const READ_VERBS: &[&str] = &["Get", "List", "Describe", "Head", "BatchGet", "Lookup", "Search", "Select"];

/// Reports that IAM draws up to be read: they create nothing else.
pub(crate) const REPORTS: &[(&str, &str)] =
    &[("iam", "GenerateCredentialReport"), ("iam", "GenerateServiceLastAccessedDetails")];

/// A call that was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{service}:{operation} is not an operation that fleetscan may call, and was not sent")]
pub struct Refused {
    /// The service that was asked for.
    pub service: String,
    /// The operation that was asked for.
    pub operation: String,
}

/// Stands between every call and the network.
#[derive(Debug, Clone)]
pub struct Gate {
    catalogue: Arc<Catalogue>,
}

impl Gate {
    /// A gate for what this catalogue has.
    pub fn new(catalogue: Arc<Catalogue>) -> Self {
        Self { catalogue }
    }

    /// Lets an operation through, or refuses it.
    pub fn admit(&self, service: &str, operation: &str) -> Result<(&Service, &Operation), Refused> {
        let refused = || Refused { service: service.to_owned(), operation: operation.to_owned() };
        let found = self.catalogue.service(service).and_then(|s| Some((s.as_ref(), s.operation(operation)?)));
        let (service, operation) = found.ok_or_else(refused)?;
        if may_read(service, operation) { Ok((service, operation)) } else { Err(refused()) }
    }
}

/// Whether an operation reads configuration, and no secret: by its own name under each name that its service goes by,
/// and by its IAM action.
pub fn may_read(service: &Service, operation: &Operation) -> bool {
    let names = [service.id.as_str(), &service.signing_name, &service.endpoint_prefix];
    let reads = READ_VERBS.iter().any(|verb| operation.name.starts_with(verb))
        || REPORTS.contains(&(service.signing_name.as_str(), operation.name.as_str()));
    reads
        && !never::forbids_action(&operation.action)
        && !names.iter().any(|name| never::forbids_operation(name, &operation.name))
}

/// The gate of a typed client: asked before the SDK builds a request.
#[derive(Debug)]
pub struct TypedGate {
    gate: Gate,
    service: &'static str,
}

impl TypedGate {
    /// A gate for the typed client of `service`, by the catalogue's id.
    pub fn new(gate: Gate, service: &'static str) -> Self {
        Self { gate, service }
    }
}

impl Intercept for TypedGate {
    fn name(&self) -> &'static str {
        "fleetscan::gate"
    }
    // Not `read_before_execution`: that runs before the operation's own configuration is there, which names it.
    fn read_before_serialization(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = cfg.load::<Metadata>().map(|m| m.name().to_owned()).unwrap_or_default();
        self.gate.admit(self.service, &operation)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;

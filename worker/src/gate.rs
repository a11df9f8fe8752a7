//! What may be called at all on a customer's session: the operations of the catalogue, and of these no writer and no
//! reader of secrets, whatever a catalogue file says. And, where customer and operator both want it, CloudTrail's log files
//! of the account itself, on sessions that can do nothing else ([`ArchiveGate`]).

mod archive;
mod wire;

pub use archive::ArchiveGate;
pub(crate) use archive::is_organisation;
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
use std::{collections::HashMap, sync::Arc};

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

/// A service's operations that may be called, by name: the places of both in the catalogue.
type Readable = HashMap<String, (usize, usize)>;

/// Stands between every call and the network.
#[derive(Debug, Clone)]
pub struct Gate {
    catalogue: Arc<Catalogue>,
    /// By service. The catalogue never changes, so neither does what may be called.
    readable: Arc<HashMap<String, Readable>>,
}

impl Gate {
    /// A gate for what this catalogue has.
    pub fn new(catalogue: Arc<Catalogue>) -> Self {
        let mut readable: HashMap<String, Readable> = HashMap::new();
        for (at, service) in catalogue.services().iter().enumerate() {
            let by_name = readable.entry(service.id.clone()).or_default();
            for (index, operation) in service.operations.iter().enumerate() {
                // Of several with one name the first is meant.
                let is_first = service.operation(&operation.name).is_some_and(|first| first.index == operation.index);
                if is_first && may_read(service, operation) {
                    by_name.insert(operation.name.clone(), (at, index));
                }
            }
        }
        Self { catalogue, readable: Arc::new(readable) }
    }

    /// Lets an operation through, or refuses it.
    pub fn admit(&self, service: &str, operation: &str) -> Result<(&Service, &Operation), Refused> {
        let found = self.readable.get(service).and_then(|by_name| by_name.get(operation));
        let (at, index) =
            found.ok_or_else(|| Refused { service: service.to_owned(), operation: operation.to_owned() })?;
        let service = &self.catalogue.services()[*at];
        Ok((service, &service.operations[*index]))
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
mod leaving;
#[cfg(test)]
mod tests;

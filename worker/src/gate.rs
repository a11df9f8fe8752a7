//! What may be called at all on a customer's session: the operations of the catalogue, and of these no writer and no
//! reader of secrets, whatever a catalogue file says.

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

/// Operations begin with one of these, or do not leave. `Generate` is for IAM's reports, which create nothing.
const READ_VERBS: &[&str] = &["Get", "List", "Describe", "Head", "BatchGet", "Lookup", "Search", "Select", "Generate"];

/// Readers of secrets and data, by service (`*`: of any service): never, whatever the catalogue says.
const NEVER: &[(&str, &[&str])] = &[
    ("secretsmanager", &["GetSecretValue", "BatchGetSecretValue", "GetRandomPassword"]),
    ("ssm", &["GetParameter", "GetParameters", "GetParametersByPath", "GetParameterHistory", "GetCommandInvocation"]),
    ("dynamodb", &["GetItem", "BatchGetItem", "GetRecords"]),
    (
        "s3",
        &["GetObject", "GetObjectTorrent", "ListObjects", "ListObjectsV2", "ListObjectVersions", "SelectObjectContent"],
    ),
    ("sts", &["GetSessionToken", "GetFederationToken", "GetWebIdentityToken"]),
    (
        "kms",
        &[
            "GenerateDataKey",
            "GenerateDataKeyPair",
            "GenerateDataKeyWithoutPlaintext",
            "GenerateMac",
            "GenerateRandom",
            "GetParametersForImport",
        ],
    ),
    ("ec2", &["GetPasswordData", "GetConsoleOutput", "GetConsoleScreenshot"]),
    ("stepfunctions", &["DescribeExecution", "GetExecutionHistory", "GetActivityTask", "DescribeMapRun"]),
    ("config", &["GetResourceConfigHistory", "GetAggregateResourceConfig", "BatchGetResourceConfig"]),
    ("cloudtrail", &["GetQueryResults"]),
    ("*", &["GetAuthorizationToken", "GetDownloadUrlForLayer", "BatchGetImage", "GetRecords", "GetLogEvents"]),
];

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
        if may_read(&service.id, &operation.name) { Ok((service, operation)) } else { Err(refused()) }
    }
}

/// Whether an operation reads, and reads no secret.
pub fn may_read(service: &str, operation: &str) -> bool {
    let never = NEVER.iter().any(|(of, names)| (*of == "*" || *of == service) && names.contains(&operation));
    READ_VERBS.iter().any(|verb| operation.starts_with(verb)) && !never
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
mod tests {
    use super::*;

    #[test]
    fn what_the_catalogue_lacks_is_refused() {
        let gate = Gate::new(Arc::new(Catalogue::built_in().clone()));
        assert!(gate.admit("lambda", "ListFunctions").is_ok());
        for (service, operation) in
            [("lambda", "Invoke"), ("lambda", "GetLayerVersion"), ("nosuch", "ListThings"), ("sts", "AssumeRole")]
        {
            assert!(gate.admit(service, operation).is_err(), "{service}:{operation}");
        }
    }

    #[test]
    fn a_doctored_catalogue_opens_nothing() {
        for (service, operation) in [
            ("secretsmanager", "GetSecretValue"),
            ("ssm", "GetParametersByPath"),
            ("dynamodb", "Query"),
            ("dynamodb", "GetItem"),
            ("lambda", "InvokeFunction"),
            ("s3", "GetObject"),
            ("s3", "PutBucketPolicy"),
            ("iam", "CreateUser"),
            ("events", "PutEvents"),
            ("states", "StartExecution"),
            ("stepfunctions", "GetExecutionHistory"),
            ("ecr", "GetAuthorizationToken"),
            ("s3", "SelectObjectContent"),
            ("iam", "TagRole"),
            ("iam", "DetachRolePolicy"),
        ] {
            let text = format!(
                "service = \"{service}\"\ntitle = \"x\"\nprotocol = \"rest-json\"\nscope = \"regional\"\n[[limit]]\ngroup = \"g\"\nrate = 1\nsource = \"s\"\n[[operation]]\nname = \"{operation}\"\n"
            );
            let catalogue = Catalogue::from_files([("doctored.toml", text.as_str())]).expect("well-formed");
            assert!(Gate::new(Arc::new(catalogue)).admit(service, operation).is_err(), "{service}:{operation}");
        }
    }
}

//! A client that signs with AWS's own crate, so that the simulator does not vouch for its own arithmetic.

#![allow(dead_code, reason = "each test file uses a part of it")]

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_runtime_api::client::identity::Identity;
use bytes::Bytes;
use fleetscan_proto::catalogue::{Operation, Protocol, Service};
use fleetscan_simulator::{Config, Simulator};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::time::SystemTime;
use tokio::net::{TcpListener, TcpStream};

/// Starts a simulation on a port of its own.
pub async fn start(config: Config) -> Simulator {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    Simulator::start(config, listener).await.expect("the catalogue and the fixtures are sound")
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub error_type: Option<String>,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
    /// The text of the first element of that name.
    pub fn element(&self, name: &str) -> Option<String> {
        let (_, rest) = self.body.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(text, _)| text.to_owned())
    }
    /// The error code, wherever the protocol puts it.
    pub fn code(&self) -> String {
        let in_json = || {
            let body: Value = serde_json::from_str(&self.body).ok()?;
            body.get("__type").and_then(Value::as_str).map(str::to_owned)
        };
        self.error_type.clone().or_else(|| self.element("Code")).or_else(in_json).unwrap_or_default()
    }
}

/// A request before it is signed.
#[derive(Debug, Clone, Default)]
pub struct Plain {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Plain {
    pub fn get(path: &str) -> Self {
        Self { method: "GET".into(), path: path.into(), ..Self::default() }
    }
    pub fn form(body: &str) -> Self {
        let headers = vec![("content-type".into(), "application/x-www-form-urlencoded".into())];
        Self { method: "POST".into(), path: "/".into(), headers, body: body.into() }
    }
    pub fn target(target: &str, body: &Value) -> Self {
        let headers = vec![("x-amz-target".into(), target.into())];
        Self { method: "POST".into(), path: "/".into(), headers, body: body.to_string() }
    }
    pub fn post(path: &str, body: &Value) -> Self {
        Self { method: "POST".into(), path: path.into(), headers: Vec::new(), body: body.to_string() }
    }
    /// The simplest call of an operation that is about no item.
    pub fn of(service: &Service, operation: &Operation) -> Self {
        match service.protocol {
            Protocol::Json10 | Protocol::Json11 => {
                let target = format!("{}.{}", service.target_prefix, operation.name);
                Self::target(&target, &Value::Object(operation.input.clone()))
            }
            Protocol::Query | Protocol::Ec2 => {
                Self::form(&format!("Action={}&Version={}", operation.name, service.api_version))
            }
            Protocol::RestJson | Protocol::RestXml if operation.http.method == "POST" => {
                Self::post(&operation.http.path, &Value::Object(operation.input.clone()))
            }
            Protocol::RestJson | Protocol::RestXml => {
                let query = &operation.http.query;
                let mark = if query.is_empty() { "" } else { "?" };
                Self::get(&format!("{}{mark}{query}", operation.http.path))
            }
        }
    }
}

/// Signs and sends, one connection for all.
pub struct Client {
    endpoint: String,
    identity: Identity,
    connection: SendRequest<Full<Bytes>>,
}

impl Client {
    pub async fn new(simulator: &Simulator, credentials: Credentials) -> Self {
        let endpoint = simulator.endpoint();
        let stream = TcpStream::connect(endpoint.trim_start_matches("http://")).await.expect("it listens");
        let (connection, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
        tokio::spawn(driver);
        Self { endpoint, identity: credentials.into(), connection }
    }
    pub async fn hub(simulator: &Simulator) -> Self {
        let (key, secret) = simulator.hub_credentials();
        Self::new(simulator, Credentials::new(key, secret, None, None, "test")).await
    }
    /// A client on a session of an account, assumed with what the accounts file says.
    pub async fn of_account(simulator: &Simulator, account: &str) -> Self {
        let answer = Self::hub(simulator).await.assume(simulator, account, "").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        Self::new(simulator, credentials(&answer)).await
    }

    /// AssumeRole for an account, with what the accounts file says, and whatever else is given (`&Name=value`).
    pub async fn assume(&mut self, simulator: &Simulator, account: &str, more: &str) -> Answer {
        let external_id = external_id(simulator, account);
        let body = format!(
            "Action=AssumeRole&Version=2011-06-15&RoleArn=arn:aws:iam::{account}:role/SecurityV0ReadOnly&RoleSessionName=test-{account}&ExternalId={external_id}&DurationSeconds=900{more}"
        );
        self.call("sts", "us-east-1", &Plain::form(&body)).await
    }

    pub async fn call(&mut self, service: &str, region: &str, plain: &Plain) -> Answer {
        let request = self.signed(service, region, plain);
        self.send(request).await
    }

    pub fn signed(&self, service: &str, region: &str, plain: &Plain) -> http::Request<Full<Bytes>> {
        let uri = format!("{}{}", self.endpoint, plain.path);
        let mut settings = SigningSettings::default();
        if service == "s3" {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        let params = v4::SigningParams::builder()
            .identity(&self.identity)
            .region(region)
            .name(service)
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .expect("parameters")
            .into();
        let headers = plain.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let signable = SignableRequest::new(&plain.method, &uri, headers, SignableBody::Bytes(plain.body.as_bytes()))
            .expect("signable");
        let (instructions, _) = sign(signable, &params).expect("signed").into_parts();
        let host = self.endpoint.trim_start_matches("http://");
        let mut builder = http::Request::builder().method(plain.method.as_str()).uri(&plain.path).header("host", host);
        for (name, value) in &plain.headers {
            builder = builder.header(name, value);
        }
        let mut request = builder.body(Full::new(Bytes::from(plain.body.clone()))).expect("a request");
        instructions.apply_to_request_http1x(&mut request);
        request
    }

    pub async fn send(&mut self, request: http::Request<Full<Bytes>>) -> Answer {
        let response = self.connection.send_request(request).await.expect("an answer");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let error_type = head.headers.get("x-amzn-errortype").and_then(|v| v.to_str().ok()).map(str::to_owned);
        Answer { status: head.status.as_u16(), error_type, body: String::from_utf8_lossy(&body).into_owned() }
    }
}

/// The credentials of an AssumeRole's answer.
pub fn credentials(answer: &Answer) -> Credentials {
    let text = |name| answer.element(name).unwrap_or_else(|| panic!("{name} in {}", answer.body));
    Credentials::new(text("AccessKeyId"), text("SecretAccessKey"), Some(text("SessionToken")), None, "test")
}

/// The ExternalId of an account in the accounts file.
pub fn external_id(simulator: &Simulator, account: &str) -> String {
    let file = simulator.accounts_toml();
    let (_, entry) = file.split_once(&format!("id = \"{account}\"")).expect("the account is in the file");
    let (_, rest) = entry.split_once("external_id = \"").expect("an ExternalId");
    rest.split('"').next().expect("quoted").to_owned()
}

/// The id of the account of a number.
pub fn account(simulator: &Simulator, number: usize) -> String {
    simulator.expectations().accounts().nth(number).expect("so many accounts").as_str().to_owned()
}

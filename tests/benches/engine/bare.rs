//! The bare loop: build, sign, send, parse; no gate, no limiter, no session, no retry, no redaction.

use crate::client::{Target, catalogue};
use anyhow::{Context as _, ensure};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::{Connector, tls};
use aws_smithy_runtime_api::client::{http::HttpConnector as _, identity::Identity, orchestrator::HttpRequest};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use fleetscan_proto::catalogue::Catalogue;
use fleetscan_worker::wire::{RawAnswer, parse_answer};
use std::time::SystemTime;

pub struct Bare {
    connector: Connector,
    identity: Identity,
    catalogue: Catalogue,
    service: String,
    operation: String,
    url: String,
    body: String,
}

impl Bare {
    pub async fn new(target: Target<'_>) -> anyhow::Result<Bare> {
        let connector = Connector::builder()
            .sleep_impl(TokioSleep::new())
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
            .build();
        let credentials = crate::sdk::session(target).await?;
        let (url, body) = match target.service {
            "lambda" => (format!("{}/2015-03-31/functions?MaxItems=50", target.endpoint), String::new()),
            _ => {
                (format!("{}/", target.endpoint), format!("Action={}&Version=2010-05-08&MaxItems=50", target.operation))
            }
        };
        Ok(Bare {
            connector,
            identity: Identity::from(credentials),
            catalogue: catalogue()?,
            service: target.service.to_owned(),
            operation: target.operation.to_owned(),
            url,
            body,
        })
    }

    pub async fn call(&self) -> anyhow::Result<()> {
        let service = self.catalogue.service(&self.service).context("service")?;
        let operation = service.operation(&self.operation).context("operation")?;
        let method = if self.body.is_empty() { "GET" } else { "POST" };
        let content = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        let params = v4::SigningParams::builder()
            .identity(&self.identity)
            .region("us-east-1")
            .name(&self.service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let headers = (!self.body.is_empty()).then_some(content);
        let signable =
            SignableRequest::new(method, &self.url, headers.into_iter(), SignableBody::Bytes(self.body.as_bytes()))?;
        let (instructions, _) = sign(signable, &params)?.into_parts();
        let mut builder = http::Request::builder().method(method).uri(&self.url);
        if let Some((name, value)) = headers {
            builder = builder.header(name, value);
        }
        let mut request = builder.body(SdkBody::from(self.body.as_str()))?;
        instructions.apply_to_request_http1x(&mut request);
        let response =
            self.connector.call(HttpRequest::try_from(request)?).await.map_err(|e| anyhow::anyhow!("{e:?}"))?;
        let status = response.status().as_u16();
        let body = ByteStream::new(response.into_body()).collect().await?.into_bytes();
        ensure!(status == 200, "HTTP {status}");
        let answer = RawAnswer { status, request_id: None, error_type: None, bucket_region: None, body };
        let value = parse_answer(service, operation, &answer)?;
        ensure!(!operation.emits[0].items.items(&value).is_empty(), "no items");
        Ok(())
    }
}

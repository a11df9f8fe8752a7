//! The SDK's typed client, as a program of one's own would use it: one client, kept; retries off, as nothing fails.

use crate::client::Target;
use anyhow::{Context as _, ensure};
use aws_config::{BehaviorVersion, Region, retry::RetryConfig};
use aws_credential_types::Credentials;
use aws_smithy_http_client::{Builder, tls};

pub struct Sdk {
    client: aws_sdk_iam::Client,
    roles: bool,
}

async fn config(target: Target<'_>, credentials: Credentials) -> aws_config::SdkConfig {
    let http = Builder::new().tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring)).build_https();
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .region(Region::from_static("us-east-1"))
        .endpoint_url(target.endpoint)
        .retry_config(RetryConfig::disabled())
        .credentials_provider(credentials)
        .load()
        .await
}

/// A session of the target's account.
pub async fn session(target: Target<'_>) -> anyhow::Result<Credentials> {
    let account = target.account()?;
    let hub = Credentials::new(target.hub.0, target.hub.1, None, None, "hub");
    let sts = aws_sdk_sts::Client::new(&config(target, hub).await);
    let output = sts
        .assume_role()
        .role_arn(account.grant.role_arn.expose())
        .external_id(account.grant.external_id.expose())
        .role_session_name("bench")
        .duration_seconds(900)
        .send()
        .await?;
    let given = output.credentials.context("credentials")?;
    Ok(Credentials::new(given.access_key_id, given.secret_access_key, Some(given.session_token), None, "session"))
}

impl Sdk {
    pub async fn new(target: Target<'_>) -> anyhow::Result<Sdk> {
        let credentials = session(target).await?;
        Ok(Sdk {
            client: aws_sdk_iam::Client::new(&config(target, credentials).await),
            roles: target.operation == "ListRoles",
        })
    }

    pub async fn call(&self) -> anyhow::Result<()> {
        let found = match self.roles {
            true => self.client.list_roles().max_items(50).send().await?.roles.len(),
            false => self.client.list_users().max_items(50).send().await?.users.len(),
        };
        ensure!(found > 0, "no items");
        Ok(())
    }
}

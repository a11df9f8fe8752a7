//! What a program of one's own would do with the SDK's typed clients: IAM as a scan reads it, retries in adaptive mode.
//!
//! ```text
//! typed_reader ACCOUNTS-FILE [CALLS-AT-ONCE]
//! ```
//!
//! Prints one JSON object: items, calls that were given up, seconds. The endpoint and the hub's keys come from AWS's own
//! environment variables.

use anyhow::Context as _;
use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_iam::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::EntityType,
};
use aws_smithy_http_client::{Builder, tls};
use fleetscan_coordinator::AccountsFile;
use fleetscan_proto::Account;
use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};
use tokio::{sync::Semaphore, task::JoinSet};

/// Tries of a call, the first included: as many as the other readers have.
const ATTEMPTS: u32 = 10;

struct Reader {
    iam: Client,
    /// Bounds the calls under way, of all accounts together.
    slots: Arc<Semaphore>,
    tally: Arc<Tally>,
}

#[derive(Default)]
struct Tally {
    items: AtomicU64,
    given_up: AtomicU64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let path = args.next().context("name an accounts file")?;
    let at_once = args.next().map_or(Ok(64), |word| word.parse())?;
    let file = AccountsFile::parse(&path, &std::fs::read_to_string(&path)?)
        .map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let http = Builder::new().tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring)).build_https();
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .region(Region::from_static("us-east-1"))
        .endpoint_url(std::env::var("AWS_ENDPOINT_URL")?)
        .retry_config(RetryConfig::adaptive().with_max_attempts(ATTEMPTS))
        .load()
        .await;
    let (slots, tally, began) = (Arc::new(Semaphore::new(at_once)), Arc::new(Tally::default()), Instant::now());
    let mut accounts = JoinSet::new();
    for account in file.accounts {
        let (config, slots, tally) = (config.clone(), Arc::clone(&slots), Arc::clone(&tally));
        accounts.spawn(async move {
            let iam = Client::new(&session(&config, &account).await?);
            Reader { iam, slots, tally }.read().await
        });
    }
    while let Some(ended) = accounts.join_next().await {
        ended??;
    }
    let told = serde_json::json!({
        "items": tally.items.load(Relaxed),
        "given_up": tally.given_up.load(Relaxed),
        "seconds": began.elapsed().as_secs_f64(),
    });
    writeln!(std::io::stdout(), "{told}")?;
    Ok(())
}

async fn session(config: &SdkConfig, account: &Account) -> anyhow::Result<SdkConfig> {
    let given = aws_sdk_sts::Client::new(config)
        .assume_role()
        .role_arn(account.grant.role_arn.expose())
        .external_id(account.grant.external_id.expose())
        .role_session_name("reader")
        .send()
        .await?
        .credentials
        .context("credentials")?;
    let credentials =
        Credentials::new(given.access_key_id, given.secret_access_key, Some(given.session_token), None, "session");
    Ok(config.clone().into_builder().credentials_provider(SharedCredentialsProvider::new(credentials)).build())
}

/// Sends a request when there is a slot, and answers what it found.
macro_rules! ask {
    ($reader:expr, $request:expr) => {{
        let _slot = $reader.slots.acquire().await?;
        $reader.answered($request.send().await)
    }};
}

/// All pages of a list, each page in a slot of its own.
macro_rules! pages {
    ($reader:expr, $request:expr, $answer:ident => $items:expr) => {{
        let (mut found, mut marker) = (Vec::new(), None);
        loop {
            let Some($answer) = ask!($reader, $request.max_items(1_000).set_marker(marker.take())) else { break };
            let next = $answer.marker().map(str::to_owned);
            found.extend($items);
            match next {
                Some(next) => marker = Some(next),
                None => break,
            }
        }
        $reader.tally.items.fetch_add(found.len() as u64, Relaxed);
        found
    }};
}

impl Reader {
    /// An answer; nothing where there is none, or where the SDK gave up.
    fn answered<T, E: ProvideErrorMetadata, R>(&self, answer: Result<T, SdkError<E, R>>) -> Option<T> {
        match answer {
            Ok(answer) => Some(answer),
            Err(error) => {
                let absent = error.code().is_some_and(|code| code.starts_with("NoSuchEntity"));
                self.tally.given_up.fetch_add(u64::from(!absent), Relaxed);
                None
            }
        }
    }

    async fn read(self) -> anyhow::Result<()> {
        let me = Arc::new(self);
        let mut lists = JoinSet::new();
        lists.spawn(Arc::clone(&me).policies());
        lists.spawn(Arc::clone(&me).users());
        lists.spawn(Arc::clone(&me).account());
        lists.spawn(Arc::clone(&me).providers());
        while let Some(ended) = lists.join_next().await {
            ended??;
        }
        Ok(())
    }

    async fn policies(self: Arc<Self>) -> anyhow::Result<()> {
        let kinds = [EntityType::User, EntityType::Role, EntityType::Group, EntityType::LocalManagedPolicy];
        let request = || self.iam.get_account_authorization_details().set_filter(Some(kinds.to_vec()));
        let policies = pages!(self, request(), answer => answer.policies.unwrap_or_default());
        let mut below = JoinSet::new();
        for arn in policies.into_iter().filter_map(|policy| policy.arn) {
            let me = Arc::clone(&self);
            below.spawn(async move {
                pages!(me, me.iam.list_policy_tags().policy_arn(&arn), answer => answer.tags);
                anyhow::Ok(())
            });
        }
        while let Some(ended) = below.join_next().await {
            ended??;
        }
        Ok(())
    }

    async fn users(self: Arc<Self>) -> anyhow::Result<()> {
        let users = pages!(self, self.iam.list_users(), answer => answer.users);
        let mut below = JoinSet::new();
        for user in users {
            below.spawn(Arc::clone(&self).user(user.user_name));
        }
        while let Some(ended) = below.join_next().await {
            ended??;
        }
        Ok(())
    }

    async fn user(self: Arc<Self>, name: String) -> anyhow::Result<()> {
        let iam = &self.iam;
        let keys = pages!(self, iam.list_access_keys().user_name(&name), answer => answer.access_key_metadata);
        for id in keys.into_iter().filter_map(|key| key.access_key_id) {
            ask!(self, iam.get_access_key_last_used().access_key_id(id));
        }
        pages!(self, iam.list_mfa_devices().user_name(&name), answer => answer.mfa_devices);
        ask!(self, iam.get_login_profile().user_name(&name));
        pages!(self, iam.list_signing_certificates().user_name(&name), answer => answer.certificates);
        pages!(self, iam.list_ssh_public_keys().user_name(&name), answer => answer.ssh_public_keys.unwrap_or_default());
        ask!(self, iam.list_service_specific_credentials().user_name(&name));
        Ok(())
    }

    async fn account(self: Arc<Self>) -> anyhow::Result<()> {
        let iam = &self.iam;
        ask!(self, iam.get_account_summary());
        ask!(self, iam.get_account_password_policy());
        pages!(self, iam.list_account_aliases(), answer => answer.account_aliases);
        pages!(self, iam.list_virtual_mfa_devices(), answer => answer.virtual_mfa_devices);
        ask!(self, iam.generate_credential_report());
        ask!(self, iam.get_credential_report());
        Ok(())
    }

    async fn providers(self: Arc<Self>) -> anyhow::Result<()> {
        let iam = &self.iam;
        ask!(self, iam.list_open_id_connect_providers());
        ask!(self, iam.list_saml_providers());
        pages!(self, iam.list_server_certificates(), answer => answer.server_certificate_metadata_list);
        pages!(self, iam.list_instance_profiles(), answer => answer.instance_profiles);
        Ok(())
    }
}

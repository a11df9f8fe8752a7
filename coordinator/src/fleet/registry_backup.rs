//! Copies of the registry beside the results: a store that is lost takes the grants with it, and nothing else has them.

use super::FleetParts;
use crate::{COPY_FORMAT, connections::Pages};
use fleetscan_proto::{AccountRegistry, Sink, SinkError, StoreError};
use jiff::Timestamp;
use std::time::Duration;
use tokio::time::Instant;

/// How often a copy is made.
const EVERY: Duration = Duration::from_secs(3_600);
/// After a failure.
const AGAIN: Duration = Duration::from_secs(60);
/// Copies that are kept: two days of them. A removed account's grant is in none that is made after its removal, so it
/// ages out of all of them within this.
const KEPT: usize = 48;
/// Their folder, below the root of the results.
pub const REGISTRY_FOLDER: &str = "registry";

/// Makes a copy every hour. Grants stay sealed.
#[derive(Debug)]
pub(super) struct RegistryBackup {
    out: Option<String>,
    due: Instant,
}

impl RegistryBackup {
    /// `out`: root of the results; without it no copies are made.
    pub(super) fn new(out: Option<String>) -> Self {
        Self { out, due: Instant::now() }
    }

    pub(super) async fn beat(&mut self, parts: &FleetParts) -> Result<(), StoreError> {
        let Some(out) = &self.out else { return Ok(()) };
        if Instant::now() < self.due {
            return Ok(());
        }
        let now = parts.clock.now();
        let written = async {
            let sink = (parts.open_sink)(out)?;
            write(sink.as_ref(), parts.registry.as_ref(), now).await
        };
        match written.await {
            Ok((accounts, path)) => {
                tracing::info!(accounts, path, "registry.copied");
                self.due = Instant::now() + EVERY;
            }
            Err(Failure::Store(error)) => return Err(error),
            Err(Failure::Sink(error)) => {
                tracing::error!(%error, "registry.not_copied: a lost store could not be restored; tried again soon");
                self.due = Instant::now() + AGAIN;
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
enum Failure {
    Store(StoreError),
    Sink(SinkError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<SinkError> for Failure {
    fn from(error: SinkError) -> Self {
        Self::Sink(error)
    }
}

/// Writes a copy, a [`RegistryCopy`](crate::RegistryCopy) page by page however many accounts there are, and removes the
/// oldest ones. Answers how many accounts it holds, and where it is.
async fn write(sink: &dyn Sink, registry: &dyn AccountRegistry, at: Timestamp) -> Result<(u64, String), Failure> {
    let path = format!("{REGISTRY_FOLDER}/accounts-{}.json", at.strftime("%Y%m%dT%H%M%SZ"));
    let mut file = sink.create(&path).await?;
    file.write(format!("{{\n\"format\": {COPY_FORMAT},\n\"at\": \"{at}\",\n\"accounts\": [").into_bytes()).await?;
    let (mut written, mut pages) = (0, Pages::of(registry));
    while let Some(page) = pages.next().await? {
        let mut text = Vec::new();
        for account in &page {
            text.extend_from_slice(if written == 0 { b"\n" } else { b",\n" });
            serde_json::to_writer(&mut text, account).map_err(|error| SinkError::Refused(error.to_string()))?;
            written += 1;
        }
        file.write(text).await?;
    }
    file.write(b"\n]\n}\n".to_vec()).await?;
    file.commit().await?;
    let mut copies: Vec<String> = sink.list(REGISTRY_FOLDER).await?;
    copies.retain(|path| path.starts_with(&format!("{REGISTRY_FOLDER}/accounts-")));
    // Their names sort as they were made.
    copies.sort_unstable();
    let spare = copies.len().saturating_sub(KEPT);
    for old in &copies[..spare] {
        sink.remove(old).await?;
    }
    Ok((written, sink.locate(&path)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RegistryCopy, history::tests::Mortal};
    use fleetscan_backends::embedded::EmbeddedStore;
    use fleetscan_proto::{RegisteredAccount, SealedGrant};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_770_000_000 + second).expect("a time")
    }

    /// Each seventh was disconnected.
    fn account(n: usize) -> RegisteredAccount {
        let gone = n % 7 == 3;
        let sealed = SealedGrant { key: "k1".to_owned(), sealed: format!("sealed+{n}=") };
        RegisteredAccount {
            id: format!("{n:012}").parse().expect("an id"),
            name: Some(format!("Name \"{n}\", with a comma")),
            customer: None,
            regions: vec!["eu-west-1".to_owned()],
            cloudtrail_bucket: None,
            profile: "full".to_owned(),
            catalogue: "c".to_owned(),
            told: None,
            no_session_policy: false,
            organisation: None,
            added_at: at(0),
            grant: (!gone).then_some(sealed),
            removed_at: gone.then(|| at(9)),
            version: 1,
        }
    }

    #[tokio::test]
    async fn a_copy_is_whole_however_many_pages_it_takes() {
        for count in [0, 1, Pages::SIZE, Pages::SIZE + 1, 2 * Pages::SIZE + 1] {
            let folder = tempfile::tempdir().expect("a folder");
            let registry = EmbeddedStore::open(folder.path()).expect("opens");
            let accounts: Vec<RegisteredAccount> = (1..=count).map(account).collect();
            for account in &accounts {
                assert!(registry.put_registered(account).await.expect("put"));
            }
            let files = Mortal::default();
            let (written, path) = write(&files, &registry, at(60)).await.expect("written");
            assert_eq!(written, count as u64);
            let text = files.read(&path).await.expect("there");
            let copy: RegistryCopy = serde_json::from_slice(&text).expect("a copy");
            assert_eq!(copy, RegistryCopy { format: COPY_FORMAT, at: at(60), accounts });
        }
    }

    #[tokio::test]
    async fn only_so_many_copies_are_kept_and_they_are_the_newest() {
        let folder = tempfile::tempdir().expect("a folder");
        let registry = EmbeddedStore::open(folder.path()).expect("opens");
        let files = Mortal::default();
        let mut paths = Vec::new();
        for hour in 0..KEPT as i64 + 3 {
            paths.push(write(&files, &registry, at(hour * 3_600)).await.expect("written").1);
        }
        let mut kept = files.list(REGISTRY_FOLDER).await.expect("listed");
        kept.sort_unstable();
        assert_eq!(kept, paths[3..]);
    }
}

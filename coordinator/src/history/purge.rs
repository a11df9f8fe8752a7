//! Deletes what was read: of an account, or a whole scan.

use super::{
    rewrite::{self, Gone, Keep},
    scans_in, whole_again,
};
use crate::{
    RegistryCopy, ScanError,
    fleet::REGISTRY_FOLDER,
    ledger_file::{read_ledger, read_manifest},
};
use fleetscan_proto::{AccountId, ResultPaths, ScanId, Sink, SinkError};

/// What a deletion removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purged {
    /// Scans that had something of it.
    pub scans: Vec<ScanId>,
    /// Files of records.
    pub parts: u64,
    /// Bytes of all files that went.
    pub bytes: u64,
    /// Lines of ledgers.
    pub lines: u64,
    /// Copies of the registry that named the account.
    pub copies: u64,
    /// Scans that have something of it and have not ended: they were left alone, since they would write it again.
    pub unfinished: Vec<ScanId>,
    /// Scans whose manifest or ledger cannot be read, and why: what they have of it is not known, and was left alone.
    pub damaged: Vec<(ScanId, String)>,
}

impl Purged {
    fn add(&mut self, scan: &ScanId, gone: Gone) {
        self.scans.push(scan.clone());
        self.parts += gone.parts;
        self.bytes += gone.bytes;
        self.lines += gone.lines;
    }
}

/// Removes what was read of an account, from every scan below the sink's root: files, ledger lines and counts; and the
/// account from the copies of the registry. A scan that has nothing else goes as a whole.
pub async fn purge(sink: &dyn Sink, account: &AccountId) -> Result<Purged, ScanError> {
    let _others = sink.alone().await?;
    let mut purged = Purged::default();
    for scan in scans_in(sink).await? {
        match purge_from(sink, account, &scan, &mut purged).await {
            // The others are to be rid of it all the same.
            Err(ScanError::Sink(SinkError::Damaged(why))) => purged.damaged.push((scan, why)),
            done => done?,
        }
    }
    purged.copies = forget_in_copies(sink, account).await?;
    Ok(purged)
}

async fn purge_from(sink: &dyn Sink, account: &AccountId, scan: &ScanId, purged: &mut Purged) -> Result<(), ScanError> {
    let paths = ResultPaths(scan);
    let manifest = whole_again(sink, scan).await?;
    let lines = lines_of(sink, scan, account).await?;
    let Some(manifest) = manifest else {
        if lines.its > 0 || !sink.list(&paths.account(account)).await?.is_empty() {
            purged.unfinished.push(scan.clone());
        }
        return Ok(());
    };
    if lines.its == 0 {
        // Files that no ledger lists do not count, but they would be there.
        let files = sink.entries(&paths.account(account)).await?;
        if !files.is_empty() {
            let names: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
            sink.remove_all(&names).await?;
            let bytes = files.iter().map(|file| file.bytes).sum();
            purged.add(scan, Gone { lines: 0, parts: files.len() as u64, bytes });
        }
    } else if lines.others == 0 {
        let gone = rewrite::remove(sink, scan, Some(&manifest)).await?;
        purged.add(scan, Gone { lines: lines.its, ..gone });
    } else {
        let gone = rewrite::rewrite(sink, manifest, Keep::AllBut(account)).await?;
        purged.add(scan, gone);
    }
    Ok(())
}

/// Removes a scan's results, damaged ones too. One that is under way would write on: that is for whoever asks to know.
pub async fn purge_scan(sink: &dyn Sink, scan: &ScanId) -> Result<Purged, ScanError> {
    let _others = sink.alone().await?;
    let mut purged = Purged::default();
    let lines = match read_ledger(sink, &ResultPaths(scan).ledger()).await {
        Ok(ledger) => ledger.map_while(Result::ok).count() as u64,
        Err(SinkError::Missing(_) | SinkError::Damaged(_)) => 0,
        Err(error) => return Err(error.into()),
    };
    let manifest = match read_manifest(sink, scan).await {
        Err(SinkError::Damaged(_)) => None,
        manifest => manifest?,
    };
    let gone = rewrite::remove(sink, scan, manifest.as_ref()).await?;
    purged.add(scan, Gone { lines, ..gone });
    Ok(purged)
}

#[derive(Default, PartialEq, Eq)]
struct Lines {
    its: u64,
    others: u64,
}

async fn lines_of(sink: &dyn Sink, scan: &ScanId, account: &AccountId) -> Result<Lines, ScanError> {
    let mut lines = Lines::default();
    let ledger = match read_ledger(sink, &ResultPaths(scan).ledger()).await {
        Ok(ledger) => ledger,
        Err(SinkError::Missing(_)) => return Ok(lines),
        Err(error) => return Err(error.into()),
    };
    for line in ledger {
        match line?.cell.account == *account {
            true => lines.its += 1,
            false => lines.others += 1,
        }
    }
    Ok(lines)
}

/// Takes the account out of the registry's copies. A restore from one of them then knows nothing of it.
async fn forget_in_copies(sink: &dyn Sink, account: &AccountId) -> Result<u64, ScanError> {
    let mut changed = 0;
    for path in sink.list(REGISTRY_FOLDER).await? {
        let Ok(mut copy) = serde_json::from_slice::<RegistryCopy>(&sink.read(&path).await?) else { continue };
        let before = copy.accounts.len();
        copy.accounts.retain(|registered| registered.id != *account);
        if copy.accounts.len() < before {
            let text = serde_json::to_vec_pretty(&copy).map_err(|error| ScanError::Internal(error.to_string()))?;
            let mut file = sink.create(&path).await?;
            file.write(text).await?;
            file.commit().await?;
            changed += 1;
        }
    }
    Ok(changed)
}

//! This machine: the folder of results, and how much may be open at once.

use crate::{
    args::{OutArgs, StoreArgs},
    backing::Memory,
    failure::Failure,
    numbers::grouped,
    out::Out,
    shared_folder::{self, Marked},
};
use fleetscan_backends::embedded::{DataLock, EmbeddedStore};
use std::path::Path;

/// A worker of the default size holds some hundreds of files and connections open: one for each call under way, the
/// parts that it writes, and those to store and broker.
const OPEN_FILES: u64 = 1_024;

/// Whether results can be written.
pub async fn results(args: &OutArgs) -> Result<String, Failure> {
    let out = args.out.as_str();
    let path = out.strip_prefix("file://").unwrap_or(out);
    let is_new = !path.contains("://") && !Path::new(path).exists();
    if is_new {
        return Ok(format!("{path} is not there yet, and is made by the first scan"));
    }
    let opened = Out::open(args)?;
    opened.check_writable().await?;
    Ok(format!("{} can be written", opened.name))
}

/// Whether results can be written, and go where the fleet's go.
pub async fn shared_results(args: &OutArgs, memory: &Memory) -> Result<String, Failure> {
    let written = results(args).await?;
    let out = args.out.as_str();
    let leads = !memory.fleet.leases("coordinator").await?.is_empty();
    let folder = match (out.contains("://") && !out.starts_with("file://"), shared_folder::folder(out)) {
        (true, _) => return Ok(written),
        (false, None) if leads => return Err(Failure::failed(shared_folder::not_shared(out))),
        (false, None) => return Ok(written),
        (false, Some(folder)) => folder,
    };
    let epoch = memory.fleet.epoch().await?;
    match shared_folder::marked(&folder, &epoch)? {
        Marked::Ours => Ok(format!("{written}, and the fleet's coordinator writes there too")),
        Marked::No if !leads => Ok(format!("{written}; whether every host has the same, a coordinator will show")),
        // After a loss of the store, or a move: the next coordinator puts its own mark there.
        Marked::Theirs if !leads => {
            Ok(format!("{written}; another fleet wrote there before, or this one with another store"))
        }
        Marked::No | Marked::Theirs => Err(Failure::failed(shared_folder::not_shared(out))),
    }
}

/// Whether the folder of a single machine can be used.
pub fn data(args: &StoreArgs) -> Result<String, Failure> {
    let folder = &args.data;
    if !folder.exists() {
        return Ok(format!("{} is not there yet, and is made by the first scan", folder.display()));
    }
    let _lock = DataLock::take(folder).map_err(Failure::failed)?;
    EmbeddedStore::open(folder).map_err(Failure::failed)?;
    Ok(format!("{} can be opened, and no other scan uses it", folder.display()))
}

/// How many files and connections a process may have open.
pub fn open_files() -> Result<String, Failure> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    match limit {
        Some(limit) if limit < OPEN_FILES => Err(Failure::failed(format!(
            "a process may have {limit} files open, and a worker needs {}: raise it (`ulimit -n 4096`, LimitNOFILE= in \
             its unit, or `ulimits` of its container)",
            grouped(OPEN_FILES)
        ))),
        Some(limit) => Ok(format!("a process may have {} open", grouped(limit))),
        None => Ok("a process may have any number open".to_owned()),
    }
}

//! The catalogue that this process reads by: the one that it was built with, and the operator's own files beside it.

use crate::{catalogue, failure::Failure, numbers::many};
use fleetscan_proto::{WorkerReport, catalogue::Catalogue};
use std::{fs, path::Path, sync::OnceLock};

/// Set once, before the first command looks at it.
static IN_USE: OnceLock<Catalogue> = OnceLock::new();

/// The catalogue of this process.
pub fn catalogue() -> &'static Catalogue {
    IN_USE.get().unwrap_or_else(|| Catalogue::built_in())
}

/// Whether a worker reads by another catalogue than this process: another version, or other files of the operator's.
pub fn differs(worker: &WorkerReport) -> bool {
    !worker.catalogue.is_empty() && worker.catalogue != catalogue().digest()
}

/// Adds the `*.toml` of a folder to the services that are read. What can be read stays what the gate lets through, and a
/// service that is built in stays as it is.
///
/// # Errors
/// A folder that cannot be read or has no such file, and every mistake in its files, `catalogue check`'s included.
pub fn add(folder: &Path) -> Result<(), Failure> {
    let files = files_of(folder)?;
    let whole = Catalogue::with_files(files.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    let whole = whole.map_err(|mistake| Failure::usage(format!("--catalogue: {mistake}")))?;
    let mistakes = catalogue::mistakes(&whole, true);
    if !mistakes.is_empty() {
        return Err(Failure::usage(format!("--catalogue: {}", mistakes.join("\n  "))));
    }
    let count = many(files.len() as u64, "service");
    tracing::info!(digest = whole.digest(), "catalogue.added: {count} of {}", folder.display());
    // Nobody has asked before: this runs first of all.
    let _ = IN_USE.set(whole);
    Ok(())
}

/// The files of a folder alone.
#[cfg(debug_assertions)]
pub fn replace(folder: &Path) -> Result<(), Failure> {
    let files = files_of(folder)?;
    let other = Catalogue::from_files(files.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    let _ = IN_USE.set(other.map_err(Failure::usage)?);
    Ok(())
}

/// Names and texts of a folder's `*.toml`, by name, so that the digest is the same on every machine.
fn files_of(folder: &Path) -> Result<Vec<(String, String)>, Failure> {
    let unreadable = |path: &Path, error: std::io::Error| Failure::usage(format!("{}: {error}", path.display()));
    let entries = fs::read_dir(folder).map_err(|error| unreadable(folder, error))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(folder, error))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(Failure::usage(format!("--catalogue: there is no *.toml in {}", folder.display())));
    }
    paths.sort();
    let mut files = Vec::new();
    for path in &paths {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        files.push((name, fs::read_to_string(path).map_err(|error| unreadable(path, error))?));
    }
    Ok(files)
}

//! The catalogue: the services, and in each the operations, that a scan may call. A service is a file.
//!
//! [`Catalogue::built_in`] parses the files of `proto/catalogue`; [`Catalogue::from_files`] any others. What it holds
//! is checked: an operation that names a parent, a limit or a path that is not there is an error, so that the code
//! that walks it need not doubt it. Each field of the format is described on the types below.

mod category;
mod file;
mod narrow;
mod path;
mod service;

pub use category::Category;
pub use narrow::Orphan;
pub use path::{Binding, FieldPath, PathError, Template};
pub use service::{
    Emit, Http, Join, Limit, LimitRate, Merge, Operation, Owner, Paging, Parent, Protocol, Scope, Service, XmlHints,
};

use sha2::{Digest as _, Sha256};
use std::sync::{Arc, OnceLock};

/// A mistake in a catalogue file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct CatalogueError {
    /// Which file.
    pub file: String,
    /// What is wrong and, where it can be said, what to write instead.
    pub problem: String,
}

/// Services by id, and a digest that names exactly this content.
#[derive(Debug, Clone)]
pub struct Catalogue {
    services: Vec<Arc<Service>>,
    digest: String,
}

const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/catalogue_files.rs"));

impl Catalogue {
    /// The catalogue that this binary was built with.
    ///
    /// # Panics
    /// If a built-in file is wrong, which a test rules out.
    pub fn built_in() -> &'static Catalogue {
        static BUILT: OnceLock<Catalogue> = OnceLock::new();
        BUILT.get_or_init(|| {
            Catalogue::from_files(BUILT_IN.iter().copied()).unwrap_or_else(|e| panic!("built-in catalogue: {e}"))
        })
    }

    /// Parses and checks files, given as (name, text).
    pub fn from_files<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Catalogue, CatalogueError> {
        let mut hash = Sha256::new();
        let mut services = Vec::new();
        for (name, text) in files {
            hash.update(name.as_bytes());
            hash.update([0]);
            hash.update(text.as_bytes());
            hash.update([0]);
            let service = file::parse(text).map_err(|problem| CatalogueError { file: name.to_owned(), problem })?;
            services.push(Arc::new(service));
        }
        services.sort_by(|a: &Arc<Service>, b| a.id.cmp(&b.id));
        if let Some(pair) = services.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(CatalogueError {
                file: format!("{}.toml", pair[0].id),
                problem: "two files describe this service".into(),
            });
        }
        Ok(Catalogue { services, digest: short_hex(hash) })
    }

    /// Every service, by id.
    pub fn services(&self) -> &[Arc<Service>] {
        &self.services
    }
    /// Services that have cells of their own: those that a scan reads by default.
    pub fn scanned(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.iter().filter(|s| s.cells)
    }
    /// A service by id.
    pub fn service(&self, id: &str) -> Option<&Arc<Service>> {
        self.services.iter().find(|s| s.id == id)
    }
    /// An operation by service id and name: the gate's question.
    pub fn operation(&self, service: &str, name: &str) -> Option<&Operation> {
        self.service(service)?.operation(name)
    }
    /// Every operation as `service:Operation`, sorted.
    pub fn operation_names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.services.iter().flat_map(|s| s.operations.iter().map(|o| format!("{}:{}", s.id, o.name))).collect();
        names.sort();
        names
    }
    /// Sixteen hexadecimal digits of the SHA-256 of all files and, in a part of the catalogue, of what is in it.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// The first sixteen hexadecimal digits.
fn short_hex(hash: Sha256) -> String {
    hash.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests;

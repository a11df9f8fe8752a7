//! The catalogue: the services, and in each the operations, that a scan may call. A service is a file.
//!
//! [`Catalogue::built_in`] parses the files of `proto/catalogue`; [`Catalogue::from_files`] any others. What it holds
//! is checked: an operation that names a parent, a limit or a path that is not there is an error, so that the code
//! that walks it need not doubt it. Each field of the format is described on the types below.

mod binding;
mod category;
mod file;
mod narrow;
mod path;
mod service;
mod table;
mod xml;

pub use binding::{Binding, place};
pub use category::Category;
pub use narrow::Orphan;
pub use path::{FieldPath, PathError, Template};
pub use service::{
    Emit, History, Http, Join, Limit, LimitRate, Merge, Operation, Owner, Paging, Parent, Poll, Protocol, Scope,
    Service,
};
pub use xml::{XmlHint, XmlHints, XmlIndex, XmlKind};

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

    /// The same with further files, given as (name, text): services that the binary was not built with. None of its own
    /// can be replaced, and the digest is another one.
    pub fn with_files<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Catalogue, CatalogueError> {
        Catalogue::from_files(BUILT_IN.iter().copied().chain(files))
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
            services.push(service);
        }
        lend(&mut services)?;
        let mut services: Vec<Arc<Service>> = services.into_iter().map(Arc::new).collect();
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

/// Fills in the operations that a file has from another service's.
fn lend(services: &mut [Service]) -> Result<(), CatalogueError> {
    for borrower in 0..services.len() {
        for index in 0..services[borrower].operations.len() {
            let operation = &services[borrower].operations[index];
            let Some(lender) = operation.lender.clone() else { continue };
            let error = |problem: String| CatalogueError {
                file: format!("{}.toml", services[borrower].id),
                problem: format!("operation {}: {problem}", operation.name),
            };
            let beside = services.iter().find(|s| s.id == lender).cloned();
            let lent = match beside.map_or_else(|| built_in_service(&lender), Ok).map_err(&error)? {
                service if service.typed => return Err(error(format!("{lender} is called through a typed client"))),
                service => service.operation(&operation.name).cloned(),
            };
            let Some(lent) = lent.filter(|o| o.parent.is_none() && o.lender.is_none()) else {
                return Err(error(format!("{lender} has no such operation that needs no other")));
            };
            let items = lent.emits.iter().map(Emit::without_record).collect();
            let (index, limit, same_as) = (operation.index, operation.limit, operation.same_as);
            services[borrower].operations[index] =
                Operation { index, limit, same_as, emits: items, lender: Some(lender), ..lent };
        }
    }
    Ok(())
}

/// A service of the binary's own files, for a file that borrows from one which does not lie beside it.
fn built_in_service(id: &str) -> Result<Service, String> {
    let name = format!("{id}.toml");
    let text = BUILT_IN.iter().find(|(file, _)| *file == name).map(|(_, text)| *text);
    file::parse(text.ok_or_else(|| format!("there is no service {id:?} to take it from"))?)
}

#[cfg(test)]
mod tests;

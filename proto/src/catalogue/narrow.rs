use super::{Catalogue, Operation, Service};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// An operation that would be kept without the one that it is called for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation} is called for what {parent} lists: take both, or leave out both")]
pub struct Orphan {
    /// `service:Operation` that was to stay.
    pub operation: String,
    /// `service:Operation` that it needs.
    pub parent: String,
}

impl Catalogue {
    /// The part of the catalogue that `keep` says yes to, with a digest of its own. Of operations that are kept, those
    /// that were to be asked for count as asked for; a service without any is left out, and one that has only the
    /// probe's left has no cells.
    ///
    /// # Errors
    /// When an operation is kept whose parent is not.
    pub fn narrowed(&self, keep: impl Fn(&Service, &Operation) -> bool) -> Result<Catalogue, Orphan> {
        let mut services = Vec::new();
        let mut hash = Sha256::new();
        hash.update(self.digest.as_bytes());
        for service in &self.services {
            let narrowed = service.narrowed(|operation| keep(service, operation))?;
            if narrowed.operations.is_empty() {
                continue;
            }
            for operation in &narrowed.operations {
                hash.update(format!("\n{}:{}", narrowed.id, operation.name));
            }
            services.push(Arc::new(narrowed));
        }
        Ok(Catalogue { services, digest: super::short_hex(hash) })
    }
}

impl Service {
    fn narrowed(&self, keep: impl Fn(&Operation) -> bool) -> Result<Service, Orphan> {
        let kept: Vec<&Operation> = self.operations.iter().filter(|operation| keep(operation)).collect();
        let place = |old: usize| kept.iter().position(|operation| operation.index == old);
        // The first that is left of an operation which stands once for each that it is called for.
        let first = |old: usize| kept.iter().position(|operation| operation.same_as == self.operations[old].same_as);
        let mut operations = Vec::with_capacity(kept.len());
        for (index, old) in kept.iter().enumerate() {
            let same_as = first(old.index).unwrap_or(index);
            let mut operation = Operation { index, same_as, ..(*old).clone() };
            if let Some(parent) = &mut operation.parent {
                parent.operation = first(parent.operation).ok_or_else(|| Orphan {
                    operation: format!("{}:{}", self.id, old.name),
                    parent: format!("{}:{}", self.id, self.operations[parent.operation].name),
                })?;
            }
            // What was to help out, or to be joined, does so no longer where the other is not there.
            operation.fallback_for = operation.fallback_for.and_then(place);
            operation.join =
                operation.join.and_then(|join| Some(super::Join { operation: place(join.operation)?, ..join }));
            if !operation.probe {
                operation.opt_in = None;
            }
            operations.push(operation);
        }
        let joined: Vec<usize> = operations.iter().filter_map(|o| Some(o.join.as_ref()?.operation)).collect();
        for operation in &mut operations {
            operation.joined = joined.contains(&operation.index);
        }
        let cells = self.cells && operations.iter().any(|operation| !operation.probe);
        Ok(Service { operations, cells, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// What is called for what, by name.
    fn family(service: &Service) -> BTreeSet<(String, usize, String)> {
        let each = service.operations.iter().flat_map(|operation| {
            (0..operation.emits.len()).flat_map(move |emit| {
                service
                    .children(operation.index, emit)
                    .map(move |child| (operation.name.clone(), emit, child.name.clone()))
            })
        });
        each.collect()
    }

    #[test]
    fn what_stays_is_called_for_the_same_as_before() {
        let catalogue = Catalogue::built_in();
        for dropped in [None, Some(0), Some(1), Some(3)] {
            for whole in catalogue.services() {
                // One that nobody is called for falls out, so that the others move up.
                let lone =
                    |o: &Operation| (0..o.emits.len()).all(|emit| whole.children(o.index, emit).next().is_none());
                let out = whole.operations.iter().filter(|o| lone(o)).nth(dropped.unwrap_or(usize::MAX));
                let keep = |o: &Operation| out.is_none_or(|out| out.name != o.name);
                let part = whole.narrowed(keep).expect("no orphans");
                let mut expected = family(whole);
                expected.retain(|(_, _, child)| out.is_none_or(|out| out.name != *child));
                assert_eq!(family(&part), expected, "{} without {:?}", whole.id, out.map(|o| &o.name));
                for operation in &part.operations {
                    let first = &part.operations[operation.same_as];
                    assert!(first.name == operation.name && first.same_as == first.index, "{}", operation.name);
                }
            }
        }
    }
}

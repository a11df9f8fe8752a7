//! How many calls of each operation a cell needs, from the sizes of an estate and the catalogue alone: what the bound
//! is made of. It knows nothing of how a worker reads.

use crate::Estate;
use fleetscan_proto::catalogue::{Operation, Service};

/// Items of a page where the catalogue does not ask for a size.
const USUAL_PAGE: u64 = 100;

/// Items of one page of an operation's answers.
pub(crate) fn page_size(operation: &Operation) -> u64 {
    match operation.paging.as_ref().map(|paging| &paging.size) {
        None => u64::MAX,
        Some(Some((_, size))) => u64::from(*size).max(1),
        Some(None) => USUAL_PAGE,
    }
}

/// Whether a child's answer is believed to have an item: it does where records are made of them, and where it is not
/// called for its own items again, however far below.
pub(crate) fn goes_on(service: &Service, operation: &Operation) -> bool {
    let copies = service.operations.iter().filter(|o| o.same_as == operation.same_as);
    let mut above = copies.filter_map(|copy| copy.parent.as_ref());
    operation.emits.iter().any(|emit| emit.is_record())
        && !above.any(|parent| is_below(service, &service.operations[parent.operation], operation.same_as))
}

/// Whether an operation is, or is called for the items of, the operation that stands first at `same_as`.
fn is_below(service: &Service, operation: &Operation, same_as: usize) -> bool {
    let mut here = Some(operation);
    // A parent stands before its children, so this ends.
    while let Some(operation) = here {
        if operation.same_as == same_as {
            return true;
        }
        here = operation.parent.as_ref().map(|parent| &service.operations[parent.operation]);
    }
    false
}

/// Emits whose items a list has; the answer itself is one item.
pub(crate) fn is_answer_itself(operation: &Operation, emit: usize) -> bool {
    operation.emits[emit].items.as_str() == "."
}

/// Adds, for each call that a cell needs, one to `count` of the operation that is called.
pub(crate) fn of_cell<'s>(
    estate: &Estate,
    account: u32,
    region: &str,
    service: &'s Service,
    count: &mut dyn FnMut(&'s Operation, u64),
) {
    let tops = service
        .operations
        .iter()
        .filter(|o| o.parent.is_none() && o.opt_in.is_none() && !o.probe && o.history.is_none());
    for operation in tops.filter(|o| o.fallback_for.is_none() || o.joined) {
        let owner = operation.lender.as_deref().unwrap_or(&service.id);
        let items: Vec<u64> = (0..operation.emits.len())
            .map(|emit| match is_answer_itself(operation, emit) {
                true => 1,
                false => estate.items(account, region, owner, &operation.name, emit),
            })
            .collect();
        count(operation, pages(operation, items.iter().sum()));
        if !operation.joined {
            below(estate, service, operation, &items, 1, count);
        }
    }
}

fn pages(operation: &Operation, items: u64) -> u64 {
    items.div_ceil(page_size(operation)).max(1)
}

/// The children's calls for `times` answers with so many `items` by emit.
fn below<'s>(
    estate: &Estate,
    service: &'s Service,
    operation: &Operation,
    items: &[u64],
    times: u64,
    count: &mut dyn FnMut(&'s Operation, u64),
) {
    for (emit, items) in items.iter().enumerate().filter(|(_, items)| **items > 0) {
        let sample = estate.shapes.sample(service, operation, emit);
        for child in service.children(operation.index, emit) {
            let Some(parent) = &child.parent else { continue };
            if child.opt_in.is_some() || child.fallback_for.is_some() || !parent.wants(&sample) {
                continue;
            }
            let each = |emit: usize| if is_answer_itself(child, emit) { 1 } else { estate.each(service, child) };
            let (calls, per_answer) = match &parent.batch {
                // A page's items at a time.
                Some((_, most)) => {
                    let page = page_size(operation).min(*items);
                    let (full, rest) = (items / page, items % page);
                    let most = *most as u64;
                    ((full * page.div_ceil(most) + rest.div_ceil(most)) * times, items * times)
                }
                None => (items * times, items * times),
            };
            let own: Vec<u64> = (0..child.emits.len()).map(each).collect();
            count(child, if parent.batch.is_some() { calls } else { calls * pages(child, own.iter().sum()) });
            below(estate, service, child, &own, per_answer, count);
        }
    }
}

//! What a catalogue file means, and whether that can be.

mod layout;

use super::{
    Binding, Emit, FieldPath, History, Http, Join, Limit, LimitRate, Merge, Operation, Paging, Parent, Poll, Protocol,
    Scope, Service, Template, XmlIndex,
};
use layout::{
    File, FileBatch, FileEmit, FileHistory, FileLimit, FileOnly, FileOperation, FilePages, FileParents, FilePoll,
    FileRecord, FileScope,
};

/// Parses and checks one file; the error says what is wrong in a sentence.
pub(super) fn parse(text: &str) -> Result<Service, String> {
    let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
    let limits = file.limit.into_iter().map(limit).collect::<Result<Vec<_>, _>>()?;
    let signing_name = file.signing_name.unwrap_or_else(|| file.service.clone());
    let scope = match (file.scope, file.home) {
        (FileScope::Regional, None) => Scope::Regional,
        (FileScope::Regional, Some(_)) => return Err("a regional service has no home region: remove `home`".into()),
        (FileScope::Global, Some(home)) => Scope::Global { home },
        (FileScope::Global, None) => {
            return Err("a global service needs `home`, the region that its calls are signed for".into());
        }
    };
    let mut service = Service {
        title: file.title,
        category: file.category,
        protocol: file.protocol,
        scope,
        typed: file.typed,
        cells: file.cells,
        everywhere: file.everywhere,
        endpoint_prefix: file.endpoint_prefix.unwrap_or_else(|| signing_name.clone()),
        signing_name,
        one_host: file.one_host,
        api_version: file.api_version,
        target_prefix: file.target_prefix,
        xml_index: XmlIndex::new(&file.xml, file.protocol),
        xml: file.xml,
        limits,
        operations: Vec::new(),
        id: file.service,
    };
    check_names(&service)?;
    check_protocol(&service)?;
    let names: Vec<String> = file.operation.iter().map(|o| o.name.clone()).collect();
    let joined: Vec<String> = file.operation.iter().filter_map(|o| Some(o.join.as_ref()?.operation.clone())).collect();
    for raw in file.operation {
        let name = raw.name.clone();
        for parent in each_parent(&raw)? {
            let operation = operation(&service, &names, &joined, raw.clone(), parent)
                .map_err(|problem| format!("operation {name}: {problem}"))?;
            service.operations.push(operation);
        }
    }
    settle_merges(&mut service)?;
    Ok(service)
}

/// Names become parts of host names, of paths of results and of labels: nothing may stand in them that could end one.
fn check_names(service: &Service) -> Result<(), String> {
    let is_plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let plain = |name: &str| !name.is_empty() && name.len() <= 63 && name.bytes().all(is_plain);
    if service.title.is_empty() || service.title.chars().count() > 64 || service.title.chars().any(char::is_control) {
        return Err("`title` is a name for people, of at most 64 characters".into());
    }
    let labels = |name: &str| name.split('.').all(plain);
    if !plain(&service.id) {
        return Err(format!("`service = {:?}`: write lower-case letters, digits and -", service.id));
    }
    for (key, name) in [("signing_name", &service.signing_name), ("endpoint_prefix", &service.endpoint_prefix)] {
        if !labels(name) {
            return Err(format!("`{key} = {name:?}`: write lower-case letters, digits, - and dots"));
        }
    }
    match (&service.scope, service.one_host) {
        (Scope::Regional, true) => Err("`one_host` is for global services: a regional one has a host a region".into()),
        _ => Ok(()),
    }
}

fn check_protocol(service: &Service) -> Result<(), String> {
    match service.protocol {
        Protocol::Json10 | Protocol::Json11 if service.target_prefix.is_empty() => {
            Err("a JSON protocol needs `target_prefix`".into())
        }
        Protocol::Query | Protocol::Ec2 if service.api_version.is_empty() => {
            Err("query and ec2 need `api_version`".into())
        }
        _ if service.limits.is_empty() => Err("a service needs at least one [[limit]]".into()),
        _ => Ok(()),
    }
}

fn limit(raw: FileLimit) -> Result<Limit, String> {
    let rate = match (raw.rate, raw.start) {
        (Some(rate), None) if rate > 0.0 => {
            LimitRate::Known { rate, burst: raw.burst.unwrap_or(rate).max(1.0), by_region: raw.by_region }
        }
        (None, Some(start)) if start > 0.0 => LimitRate::Unknown { start },
        _ => return Err(format!("limit {}: write `rate` where one is known, else `start`, above 0", raw.group)),
    };
    Ok(Limit {
        group: raw.group,
        rate,
        shared: raw.shared,
        every_region: raw.every_region,
        owner: raw.owner,
        source: raw.source,
    })
}

/// The parents of an operation, or the one none.
fn each_parent(raw: &FileOperation) -> Result<Vec<Option<String>>, String> {
    match &raw.parents {
        FileParents::One(name) => Ok(vec![Some(name.clone())]),
        FileParents::Many(names) if names.is_empty() => Ok(vec![None]),
        FileParents::Many(names) => {
            let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
            match distinct.len() == names.len() {
                true => Ok(names.iter().cloned().map(Some).collect()),
                false => Err(format!("operation {}: `for` names one operation twice", raw.name)),
            }
        }
    }
}

fn operation(
    service: &Service,
    names: &[String],
    joined: &[String],
    raw: FileOperation,
    parent_name: Option<String>,
) -> Result<Operation, String> {
    let index = service.operations.len();
    let first = service.operation(&raw.name);
    if first.is_some_and(|first| first.parent.is_none() || parent_name.is_none()) {
        return Err("stands twice".into());
    }
    let same_as = first.map_or(index, |first| first.same_as);
    let earlier = |name: &str| {
        service.operations.iter().position(|o| o.name == name).ok_or_else(|| match names.iter().any(|n| n == name) {
            true => format!("{name} must stand before it"),
            false => format!("there is no operation {name} in this file"),
        })
    };
    // What is joined may stand anywhere, so that it can be the fallback of what it is joined to.
    let anywhere = |name: &str| names.iter().position(|n| n == name).map_or_else(|| earlier(name), Ok);
    let limit = match &raw.limit {
        None => 0,
        Some(group) => service
            .limits
            .iter()
            .position(|l| l.group == *group)
            .ok_or_else(|| format!("there is no limit group {group:?}"))?,
    };
    let emits = emits(raw.items.as_deref(), raw.record, raw.emit)?;
    let parent = match &parent_name {
        None => None,
        Some(text) => Some(parent(service, text, &earlier, raw.batch, raw.only)?),
    };
    let records = emits.iter().any(Emit::is_record);
    if parent.as_ref().is_some_and(|p| p.batch.is_some()) && !records {
        return Err("a batched operation must emit records".into());
    }
    let merge = (parent.is_some() && !records)
        .then(|| Merge { keep: raw.keep.clone().unwrap_or_default(), into: raw.into.clone() });
    if merge.is_none() && (raw.keep.is_some() || raw.into.is_some()) {
        return Err("`keep` and `into` are for a child that emits no record of its own".into());
    }
    let join = match raw.join {
        None => None,
        Some(j) => Some(Join { operation: anywhere(&j.operation)?, on: path(&j.on)? }),
    };
    let with = raw
        .with
        .into_iter()
        .map(|(param, text)| Ok((param, Binding::parse(&text).map_err(|e| e.0)?)))
        .collect::<Result<Vec<_>, String>>()?;
    let add = raw
        .add
        .into_iter()
        .map(|(name, text)| Ok((name, Binding::parse(&text).map_err(|e| e.0)?)))
        .collect::<Result<Vec<_>, String>>()?;
    if !add.is_empty() && parent.is_none() {
        return Err("without `for` there is no item above to `add` from".into());
    }
    let (absent, absent_with_text) = absences(raw.absent);
    if parent.is_none() && with.iter().any(|(_, binding)| binding.is_of_item()) {
        return Err("without `for` there is no item: `with` takes $account or $region".into());
    }
    let operation = Operation {
        index,
        same_as,
        lender: raw.from,
        http: http(&raw.http)?,
        action: raw.action.unwrap_or_else(|| format!("{}:{}", service.signing_name, raw.name)),
        limit,
        input: raw.input,
        headers: raw.headers,
        paging: raw.pages.map(paging).transpose()?,
        emits,
        parent,
        with,
        merge,
        add,
        owner: raw.owner.as_deref().map(path).transpose()?,
        home: raw.home.as_deref().map(path).transpose()?,
        poll: raw.poll.map(poll).transpose()?,
        history: raw.history.map(history).transpose()?,
        table: raw.table.as_deref().map(path).transpose()?,
        absent,
        absent_with_text,
        redact: paths(&raw.redact)?,
        drop: paths(&raw.drop)?,
        decode: paths(&raw.decode)?,
        lift: raw.lift,
        join,
        joined: joined.contains(&raw.name),
        fallback_for: raw.fallback_for.as_deref().map(earlier).transpose()?,
        // A cell has no use for what only the probe asks.
        opt_in: if raw.probe { Some("called by the probe".to_owned()) } else { raw.opt_in },
        probe: raw.probe || !service.cells,
        in_region: raw.in_region.as_deref().map(path).transpose()?,
        denied: raw.denied,
        name: raw.name,
    };
    if operation.history.is_some() {
        check_history(&operation)?;
    }
    match first {
        Some(first)
            if (&first.http, &first.action, first.limit) != (&operation.http, &operation.action, operation.limit) =>
        {
            Err("stands twice, and not with the same `http`, `action` and `limit`".into())
        }
        _ => Ok(operation),
    }
}

/// Codes alone, and those that come with a text: `AccessDeniedException: not yours`.
fn absences(codes: Vec<String>) -> (Vec<String>, Vec<(String, String)>) {
    let (with_text, plain): (Vec<String>, Vec<String>) = codes.into_iter().partition(|code| code.contains(": "));
    let pairs = with_text.iter().filter_map(|code| code.split_once(": "));
    (plain, pairs.map(|(code, text)| (code.to_owned(), text.to_owned())).collect())
}

fn poll(raw: FilePoll) -> Result<Poll, String> {
    if raw.until.is_empty() || raw.seconds == 0 || raw.most == 0 {
        return Err("`poll` needs `until`, and `seconds` and `most` above 0".into());
    }
    Ok(Poll { field: path(&raw.field)?, until: raw.until, failed: raw.failed, seconds: raw.seconds, most: raw.most })
}

fn history(raw: FileHistory) -> Result<History, String> {
    if raw.days == 0 || u64::from(raw.late_minutes) >= u64::from(raw.days) * 1_440 {
        return Err("`history` needs `days` above 0, and `late_minutes` below them".into());
    }
    Ok(History {
        span: (raw.from, raw.to),
        time: path(&raw.time)?,
        document: path(&raw.document)?,
        days: raw.days,
        late_minutes: raw.late_minutes,
    })
}

/// What is read by its time has one list, whose items become records, and nothing that hangs on them.
fn check_history(operation: &Operation) -> Result<(), String> {
    let [emit] = operation.emits.as_slice() else { return Err("`history` goes with one list".into()) };
    let alone = operation.parent.is_none() && operation.join.is_none() && operation.fallback_for.is_none();
    match alone && emit.is_record() && operation.paging.is_some() && operation.lender.is_none() {
        true => Ok(()),
        false => Err("`history` goes with `pages`, `items` and `record`, and without `for`, `from`, `join` or \
            `fallback_for`"
            .into()),
    }
}

fn path(text: &str) -> Result<FieldPath, String> {
    FieldPath::parse(text).map_err(|e| e.0)
}
fn paths(texts: &[String]) -> Result<Vec<FieldPath>, String> {
    texts.iter().map(|t| path(t)).collect()
}
fn template(text: &str) -> Result<Template, String> {
    Template::parse(text).map_err(|e| e.0)
}

fn http(text: &str) -> Result<Http, String> {
    let (method, target) = text.split_once(' ').ok_or("`http` is a method and a path, as in \"GET /path/{Param}\"")?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if !["GET", "POST", "HEAD"].contains(&method) || !path.starts_with('/') {
        return Err(format!("`http = {text:?}`: use GET, POST or HEAD, and a path that begins with /"));
    }
    Ok(Http { method: method.into(), path: path.into(), query: query.into() })
}

fn paging(raw: FilePages) -> Result<Paging, String> {
    let size = match (raw.size, raw.max) {
        (Some(name), Some(max)) => Some((name, max)),
        (None, None) => None,
        _ => return Err("`size` and `max` of `pages` go together".into()),
    };
    let also =
        raw.also.into_iter().map(|(name, from)| Ok::<_, String>((name, path(&from)?))).collect::<Result<_, _>>()?;
    Ok(Paging {
        input: raw.input,
        output: path(&raw.out)?,
        more: raw.more.as_deref().map(path).transpose()?,
        size,
        also,
    })
}

fn emits(items: Option<&str>, record: Option<FileRecord>, many: Option<Vec<FileEmit>>) -> Result<Vec<Emit>, String> {
    match many {
        None => Ok(vec![emit(items.unwrap_or("."), record)?]),
        Some(_) if items.is_some() || record.is_some() => Err("write either `items` and `record`, or `emit`".into()),
        Some(many) if many.is_empty() => Err("`emit` is empty".into()),
        Some(many) => many.into_iter().map(|e| emit(&e.items, e.record)).collect(),
    }
}

fn emit(items: &str, record: Option<FileRecord>) -> Result<Emit, String> {
    let items = path(items)?;
    let Some(record) = record else {
        return Ok(Emit {
            items,
            kind: String::new(),
            id: template(".")?,
            arn: None,
            name: None,
            tags: path("Tags")?,
            region: None,
        });
    };
    let words: Vec<&str> = record.kind.split("::").collect();
    if words.len() != 3 || words.iter().any(|w| w.is_empty()) {
        return Err(format!("the record type {:?} is not like AWS::Lambda::Function", record.kind));
    }
    Ok(Emit {
        items,
        kind: record.kind,
        id: template(&record.id)?,
        arn: record.arn.as_deref().map(template).transpose()?,
        name: record.name.as_deref().map(template).transpose()?,
        tags: path(record.tags.as_deref().unwrap_or("Tags"))?,
        region: record.region.as_deref().map(path).transpose()?,
    })
}

fn parent(
    service: &Service,
    text: &str,
    earlier: &dyn Fn(&str) -> Result<usize, String>,
    batch: Option<FileBatch>,
    only: Option<FileOnly>,
) -> Result<Parent, String> {
    let (name, items) = match text.split_once('/') {
        Some((name, items)) => (name, Some(items)),
        None => (text, None),
    };
    let operation = earlier(name)?;
    if service.operations[operation].history.is_some() {
        return Err(format!("{name} tells what was done: nothing hangs on it"));
    }
    let emits = &service.operations[operation].emits;
    let emit = match items {
        None => 0,
        Some(items) => emits
            .iter()
            .position(|e| e.items.as_str() == items)
            .ok_or_else(|| format!("{name} has no items {items:?}"))?,
    };
    if batch.as_ref().is_some_and(|b| b.max == 0) {
        return Err("a batch of 0 is none".into());
    }
    let only = only.map(|o| Ok::<_, String>((path(&o.field)?, o.values))).transpose()?;
    Ok(Parent { operation, emit, batch: batch.map(|b| (b.param, b.max)), only })
}

/// A child that has children of its own only hands items down, unless it says where its answer goes. One below such
/// a child is called many times a record, and so must say where its answers are gathered.
fn settle_merges(service: &mut Service) -> Result<(), String> {
    let parents: Vec<(usize, usize)> =
        service.operations.iter().filter_map(|o| o.parent.as_ref().map(|p| (p.operation, p.emit))).collect();
    let used: Vec<usize> = parents.iter().map(|(operation, _)| *operation).collect();
    for index in 0..service.operations.len() {
        let operation = &service.operations[index];
        let Some(merge) = &operation.merge else { continue };
        let silent = merge.keep.is_empty() && merge.into.is_none();
        if silent && used.contains(&operation.same_as) {
            service.operations[index].merge = None;
            continue;
        }
        let has_record = record_ancestor(service, index);
        let many =
            operation.parent.as_ref().is_some_and(|p| !service.operations[p.operation].emits[p.emit].is_record());
        if !has_record {
            return Err(format!("operation {}: it has no record to be merged into", operation.name));
        }
        if many && merge.into.is_none() {
            return Err(format!("operation {}: it is called many times a record: say `into`", operation.name));
        }
    }
    Ok(())
}

fn record_ancestor(service: &Service, mut index: usize) -> bool {
    while let Some(parent) = &service.operations[index].parent {
        if service.operations[parent.operation].emits[parent.emit].is_record() {
            return true;
        }
        index = parent.operation;
    }
    false
}

//! `fleetscan catalogue`: what a scan reads.

use crate::{
    args::{CatalogueArgs, CatalogueCommand, PolicyArg},
    deploy,
    failure::{COMPLETE, Failure},
    numbers::many,
    profile, services,
};
use fleetscan_proto::{
    Profile,
    catalogue::{Catalogue, LimitRate, Operation, Scope, Service},
};
use fleetscan_worker::{gate, policy, sink::BucketPlace};
use serde_json::{Value, json};
use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

/// Services with an SDK client of their own.
const TYPED: [&str; 3] = ["iam", "s3", "sts"];

pub fn run(args: CatalogueArgs) -> Result<u8, Failure> {
    match args.command {
        CatalogueCommand::List { service: None } => services(args.json),
        CatalogueCommand::List { service: Some(id) } => operations(&id, args.json),
        CatalogueCommand::Check { files } => check(&files, args.json),
        CatalogueCommand::Template { profile, stackset } => template(&profile, stackset),
        CatalogueCommand::Policy { sink: Some(place), .. } => {
            let place = BucketPlace::parse(place.strip_prefix("s3://").unwrap_or(&place)).map_err(Failure::usage)?;
            show_policies(&[policy::sink(&place)], args.json)
        }
        CatalogueCommand::Policy { profile, of, role_name, sink: None } => {
            policies(&profile, of, &role_name, args.json)
        }
        CatalogueCommand::Write { root } => write(&root, args.json),
    }
}

fn template(profile: &str, stackset: bool) -> Result<u8, Failure> {
    let profile = profile::named(profile)?;
    let part = profile.of(services::catalogue()).map_err(Failure::usage)?;
    let variant = if stackset { deploy::Variant::StackSet } else { deploy::Variant::Role };
    write!(std::io::stdout().lock(), "{}", deploy::template(&profile, &part, variant))?;
    Ok(COMPLETE)
}

fn policies(profile: &str, of: PolicyArg, role_name: &str, json: bool) -> Result<u8, Failure> {
    let part = profile::named(profile)?.of(services::catalogue()).map_err(Failure::usage)?;
    let documents = match of {
        PolicyArg::Role => deploy::role_policies(&part),
        PolicyArg::Session => {
            vec![deploy::session_document(&policy::session_policy(&part).map_err(Failure::failed)?)?]
        }
        PolicyArg::Boundary => vec![deploy::boundary_policy(services::catalogue())?],
        PolicyArg::Hub => vec![policy::hub(role_name)],
    };
    show_policies(&documents, json)
}

fn show_policies(documents: &[Value], json: bool) -> Result<u8, Failure> {
    let mut stdout = std::io::stdout().lock();
    if json {
        writeln!(stdout, "{}", json!(documents))?;
        return Ok(COMPLETE);
    }
    for document in documents {
        write!(stdout, "{}", deploy::pretty(document))?;
    }
    Ok(COMPLETE)
}

fn write(root: &Path, json: bool) -> Result<u8, Failure> {
    let changed = deploy::write(root)?;
    let mut stdout = std::io::stdout().lock();
    if json {
        writeln!(stdout, "{}", json!({ "changed": changed }))?;
        return Ok(COMPLETE);
    }
    for path in &changed {
        writeln!(stdout, "{}", path.display())?;
    }
    writeln!(stdout, "{} changed", many(changed.len() as u64, "file"))?;
    Ok(COMPLETE)
}

fn services(json: bool) -> Result<u8, Failure> {
    let catalogue = services::catalogue();
    let mut stdout = std::io::stdout().lock();
    if json {
        let list: Vec<Value> = catalogue.services().iter().map(|service| service_json(service)).collect();
        writeln!(stdout, "{}", json!(list))?;
        return Ok(COMPLETE);
    }
    writeln!(stdout, "{:16}  {:28}  {:9}  {:10}  record types", "service", "title", "cells", "operations")?;
    for service in catalogue.services() {
        let types = record_types(service);
        writeln!(
            stdout,
            "{:16}  {:28}  {:9}  {:>10}  {}",
            service.id,
            service.title,
            cells(service),
            service.operations.len(),
            types.join(", ")
        )?;
    }
    let operations: usize = catalogue.services().iter().map(|service| service.operations.len()).sum();
    let count = many(catalogue.services().len() as u64, "service");
    writeln!(stdout, "{count}, {}; catalogue {}", many(operations as u64, "operation"), catalogue.digest())?;
    Ok(COMPLETE)
}

fn operations(id: &str, json: bool) -> Result<u8, Failure> {
    let Some(service) = services::catalogue().service(id) else {
        return Err(Failure::usage(format!("there is no service {id:?}: `fleetscan catalogue list` names them all")));
    };
    let mut stdout = std::io::stdout().lock();
    if json {
        writeln!(stdout, "{}", service_json(service))?;
        return Ok(COMPLETE);
    }
    writeln!(stdout, "{} ({}), {}", service.title, service.id, cells(service))?;
    writeln!(stdout, "{:34}  {:42}  {:>14}  called", "operation", "IAM action", "limit")?;
    for operation in &service.operations {
        writeln!(
            stdout,
            "{:34}  {:42}  {:>14}  {}",
            operation.name,
            operation.action,
            limit(service, operation),
            called(service, operation)
        )?;
    }
    Ok(COMPLETE)
}

fn check(files: &[PathBuf], json: bool) -> Result<u8, Failure> {
    let mut texts = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|e| Failure::usage(format!("{}: {e}", file.display())))?;
        texts.push((file.display().to_string(), text));
    }
    // Each file alone first, so that one mistake does not hide those of other files.
    let pairs = || texts.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    let mut mistakes: Vec<String> =
        pairs().filter_map(|pair| Catalogue::from_files([pair]).err()).map(|mistake| mistake.to_string()).collect();
    let together = if files.is_empty() { Ok(services::catalogue().clone()) } else { Catalogue::from_files(pairs()) };
    if let (Err(mistake), true) = (&together, mistakes.is_empty()) {
        mistakes.push(mistake.to_string());
    }
    if let Ok(catalogue) = &together {
        mistakes.extend(self::mistakes(catalogue, files.is_empty()));
    }
    match together {
        Ok(catalogue) if mistakes.is_empty() => {
            let services = catalogue.services().len();
            let mut stdout = std::io::stdout().lock();
            if json {
                writeln!(stdout, "{}", json!({ "sound": true, "services": services, "digest": catalogue.digest() }))?;
            } else {
                writeln!(stdout, "sound: {}, catalogue {}", many(services as u64, "service"), catalogue.digest())?;
            }
            Ok(COMPLETE)
        }
        _ => Err(Failure::usage(mistakes.join("\n  "))),
    }
}

/// What is wrong with a catalogue whose files can be read; `whole`: the built-in services are in it, and the profiles with
/// them.
pub fn mistakes(catalogue: &Catalogue, whole: bool) -> Vec<String> {
    let mut mistakes = forbidden(catalogue);
    let typed = catalogue.services().iter().filter(|service| service.typed && !TYPED.contains(&service.id.as_str()));
    mistakes.extend(typed.map(|service| format!("{}: `typed` is for {} alone", service.id, TYPED.join(", "))));
    mistakes.extend(policies_that_do_not_fit(catalogue, whole));
    mistakes
}

/// Operations that the gate would refuse, whatever the file says.
fn forbidden(catalogue: &Catalogue) -> Vec<String> {
    let refused = |service: &Service, operation: &Operation| {
        // The hub's own; never sent on a customer's session.
        let hubs = operation.action == "sts:AssumeRole";
        (!hubs && !gate::may_read(service, operation)).then(|| {
            format!("{}:{} can never be called: it does not read, or reads secrets", service.id, operation.name)
        })
    };
    let services = catalogue.services().iter();
    services.flat_map(|service| service.operations.iter().filter_map(move |o| refused(service, o))).collect()
}

/// Policies beyond AWS's bounds: of the whole, and of each profile where the catalogue is the built-in one.
fn policies_that_do_not_fit(catalogue: &Catalogue, built_in: bool) -> Vec<String> {
    let mut mistakes: Vec<String> =
        policy::session_policy(catalogue).err().map(|e| e.to_string()).into_iter().collect();
    mistakes.extend(deploy::boundary_policy(catalogue).err().map(|failure| failure.message().to_owned()));
    for profile in Profile::all_built_in().iter().filter(|_| built_in) {
        match profile.of(catalogue) {
            Ok(part) => mistakes.extend(policy::session_policy(&part).err().map(|e| format!("profile {profile}: {e}"))),
            Err(mistake) => mistakes.push(mistake.to_string()),
        }
    }
    mistakes
}

fn cells(service: &Service) -> &'static str {
    match (&service.scope, service.cells) {
        (_, false) => "probe",
        (Scope::Regional, true) => "regional",
        (Scope::Global { .. }, true) => "global",
    }
}

fn record_types(service: &Service) -> Vec<&str> {
    let mut types: Vec<&str> = service
        .operations
        .iter()
        .flat_map(|operation| &operation.emits)
        .filter(|emit| emit.is_record())
        .map(|emit| emit.kind.as_str())
        .collect();
    types.sort_unstable();
    types.dedup();
    types
}

fn limit(service: &Service, operation: &Operation) -> String {
    match &service.limits[operation.limit].rate {
        LimitRate::Known { rate, .. } => format!("{rate}/s"),
        LimitRate::Unknown { start } => format!("from {start}/s"),
    }
}

fn called(service: &Service, operation: &Operation) -> String {
    let when = match &operation.parent {
        None => match &operation.history {
            Some(history) => format!("what no scan read of the last {} days", history.days),
            None => "once a cell".to_owned(),
        },
        Some(parent) => {
            let name = &service.operations[parent.operation].name;
            match &parent.batch {
                Some((_, size)) => format!("for each {size} of {name}"),
                None => format!("for each of {name}"),
            }
        }
    };
    match &operation.opt_in {
        Some(why) => format!("{when}, only where asked for: {why}"),
        None => when,
    }
}

fn service_json(service: &Service) -> Value {
    let operations: Vec<Value> = service
        .operations
        .iter()
        .map(|operation| {
            json!({
                "name": operation.name, "action": operation.action, "limit": service.limits[operation.limit].group,
                "for": operation.parent.as_ref().map(|p| &service.operations[p.operation].name),
                "absent": operation.absent, "opt_in": operation.opt_in,
            })
        })
        .collect();
    let limits: Vec<Value> = service
        .limits
        .iter()
        .map(|limit| match &limit.rate {
            LimitRate::Known { rate, burst, .. } => {
                json!({ "group": limit.group, "rate": rate, "burst": burst, "source": limit.source })
            }
            LimitRate::Unknown { start } => json!({ "group": limit.group, "start": start, "source": limit.source }),
        })
        .collect();
    json!({
        "service": service.id, "title": service.title, "scope": cells(service), "types": record_types(service),
        "operations": operations, "limits": limits,
    })
}

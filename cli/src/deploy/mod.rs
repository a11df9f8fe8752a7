//! What customers and operators deploy, made of the catalogue: role templates, policies, and the generated part of the
//! customer's page; and what is made of the program itself: the page of its options, and its alerts for Kubernetes. `fleetscan catalogue write` writes them into a copy of this repository; a test keeps what is
//! committed equal.

mod boundary;
mod page;
mod rules;
mod template;

use crate::{failure::Failure, options_page};
use fleetscan_proto::{Profile, catalogue::Catalogue};
use fleetscan_worker::{policy, sink::BucketPlace};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

pub use template::{Variant, template};

/// Where the files are, within the repository.
pub const FOLDER: &str = "deploy/aws";
/// The place of results for which the sink's policy is written; operators put their own there.
const SINK: &str = "my-fleetscan-results/fleetscan";
/// The customer's page, of which a part is generated.
const PAGE: &str = "docs/permissions.md";

/// Every generated file under [`FOLDER`], by name.
pub fn files(catalogue: &Catalogue) -> Result<BTreeMap<String, String>, Failure> {
    let mut files = BTreeMap::new();
    for profile in Profile::all_built_in() {
        let part = profile.of(catalogue).map_err(Failure::failed)?;
        let name = profile.name();
        for (kind, variant) in [("role", Variant::Role), ("stackset", Variant::StackSet)] {
            files.insert(format!("{kind}-{name}.yaml"), template(profile, &part, variant));
        }
        for (n, document) in role_policies(&part).iter().enumerate() {
            files.insert(format!("policy-{name}-{}.json", n + 1), pretty(document));
        }
        let session = policy::session_policy(&part).map_err(Failure::failed)?;
        files.insert(format!("session-policy-{name}.json"), pretty(&session_document(&session)?));
    }
    files.insert("hub-policy.json".into(), pretty(&policy::hub(policy::ROLE_NAME)));
    let results = BucketPlace::parse(SINK).map_err(Failure::failed)?;
    files.insert("sink-policy.json".into(), pretty(&policy::sink(&results)));
    files.insert("permissions-boundary.json".into(), pretty(&boundary_policy(catalogue)?));
    files.insert("permissions-boundary.yaml".into(), boundary::template(&boundary_statements(catalogue)?));
    Ok(files)
}

/// The policies of a profile's role.
pub fn role_policies(part: &Catalogue) -> Vec<Value> {
    policy::role_policies(part).iter().map(|statements| policy::role_document(statements)).collect()
}

/// The permissions boundary.
pub fn boundary_policy(catalogue: &Catalogue) -> Result<Value, Failure> {
    Ok(policy::boundary_document(&boundary_statements(catalogue)?))
}

fn boundary_statements(catalogue: &Catalogue) -> Result<[policy::BoundaryStatement; 2], Failure> {
    policy::boundary(catalogue).map_err(|length| {
        Failure::failed(format!(
            "the permissions boundary has {length} characters, and IAM takes {}",
            policy::MAX_MANAGED_CHARACTERS
        ))
    })
}

/// A session policy's text, as a document that can be laid out for people.
pub fn session_document(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(Failure::failed)
}

/// As it is committed: two spaces, and a line feed at the end.
pub fn pretty(document: &Value) -> String {
    format!("{document:#}\n")
}

/// Writes every file into a copy of the repository, and removes those of profiles and policies that are no more.
/// Answers the paths that changed.
pub fn write(root: &Path) -> Result<Vec<PathBuf>, Failure> {
    let catalogue = Catalogue::built_in();
    let told = |path: &Path, error: io::Error| Failure::failed(format!("{}: {error}", path.display()));
    let folder = root.join(FOLDER);
    fs::create_dir_all(&folder).map_err(|error| told(&folder, error))?;
    let files = files(catalogue)?;
    let mut changed = Vec::new();
    for (name, text) in &files {
        let path = folder.join(name);
        if fs::read_to_string(&path).ok().as_ref() != Some(text) {
            fs::write(&path, text).map_err(|error| told(&path, error))?;
            changed.push(path);
        }
    }
    for name in listed(&folder).map_err(|error| told(&folder, error))? {
        if is_generated(&name) && !files.contains_key(&name) {
            let path = folder.join(name);
            fs::remove_file(&path).map_err(|error| told(&path, error))?;
            changed.push(path);
        }
    }
    let path = root.join(PAGE);
    let before = fs::read_to_string(&path).map_err(|error| told(&path, error))?;
    let after = page::renewed(&before, catalogue)
        .ok_or_else(|| Failure::failed(format!("{}: {}", path.display(), page::NO_MARKS)))?;
    if after != before {
        fs::write(&path, after).map_err(|error| told(&path, error))?;
        changed.push(path);
    }
    let alerts = root.join(rules::ALERTS);
    let alerts = fs::read_to_string(&alerts).map_err(|error| told(&alerts, error))?;
    for (name, text) in [(options_page::PAGE, options_page::page()), (rules::RULE, rules::rule(&alerts))] {
        let path = root.join(name);
        if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(|error| told(folder, error))?;
            }
            fs::write(&path, text).map_err(|error| told(&path, error))?;
            changed.push(path);
        }
    }
    Ok(changed)
}

fn listed(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// Templates and policies are; a README beside them is not.
fn is_generated(name: &str) -> bool {
    name.ends_with(".yaml") || name.ends_with(".json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_committed_is_what_the_catalogue_says() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
        let mend = "run `cargo run -- catalogue write .` and commit what it changes";
        let files = files(Catalogue::built_in()).expect("made");
        for (name, text) in &files {
            let committed = fs::read_to_string(root.join(FOLDER).join(name)).unwrap_or_default();
            assert!(committed == *text, "{FOLDER}/{name} is not what the catalogue says: {mend}");
        }
        for name in listed(&root.join(FOLDER)).expect("there") {
            assert!(!is_generated(&name) || files.contains_key(&name), "{FOLDER}/{name} is of no profile: {mend}");
        }
        let page = fs::read_to_string(root.join(PAGE)).expect("there");
        assert!(page::renewed(&page, Catalogue::built_in()).as_ref() == Some(&page), "{PAGE} is not: {mend}");
        let alerts = fs::read_to_string(root.join(rules::ALERTS)).expect("there");
        for (name, text) in [(options_page::PAGE, options_page::page()), (rules::RULE, rules::rule(&alerts))] {
            let committed = fs::read_to_string(root.join(name)).unwrap_or_default();
            assert!(committed == text, "{name} is not what it is made of: {mend}");
        }
    }

    #[test]
    fn writing_brings_everything_and_removes_what_is_no_more() {
        let root = std::env::temp_dir().join(format!("fleetscan-deploy-{}", std::process::id()));
        fs::create_dir_all(root.join(FOLDER)).expect("made");
        fs::create_dir_all(root.join("docs")).expect("made");
        fs::write(root.join(PAGE), format!("before\n{}\nold\n{}\nafter\n", page::BEGIN, page::END)).expect("written");
        fs::write(root.join(FOLDER).join("role-gone.yaml"), "x").expect("written");
        fs::create_dir_all(root.join("deploy/prometheus")).expect("made");
        fs::write(root.join(rules::ALERTS), "groups: []\n").expect("written");
        let changed = write(&root).expect("written");
        assert!(changed.len() > 5 && !root.join(FOLDER).join("role-gone.yaml").exists());
        let page = fs::read_to_string(root.join(PAGE)).expect("there");
        assert!(page.starts_with("before\n") && page.ends_with("after\n") && page.contains("iam:ListUsers"));
        assert_eq!(write(&root).expect("written"), Vec::<PathBuf>::new(), "the second time, nothing changes");
        fs::remove_dir_all(&root).expect("removed");
    }
}

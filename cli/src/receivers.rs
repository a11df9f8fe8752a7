//! The file that says who is told of events.

use crate::failure::Failure;
use fleetscan_proto::{EventKind, EventReceiver, Secret, SystemClock};
use fleetscan_worker::{
    Network,
    webhook::{Webhook, WebhookOptions},
};
use serde::Deserialize;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Receivers at a time.
const MOST: usize = 8;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    receiver: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    url: Option<String>,
    /// The address in a file, where its path is a password.
    url_file: Option<PathBuf>,
    secret_file: Option<PathBuf>,
    secret_env: Option<String>,
    #[serde(default)]
    types: BTreeSet<String>,
    give_up_after_hours: Option<u64>,
}

/// Reads the file of receivers; secrets come from the files and variables that it names.
///
/// # Errors
/// All mistakes at once; no secret and no address is repeated.
pub fn read(file: &Path, network: &Network) -> Result<Vec<Arc<dyn EventReceiver>>, Failure> {
    let shown = file.display();
    let text = crate::scan::read_named("receivers", file).map_err(Failure::usage)?;
    // The parser's own text may quote the line, and a secret with it.
    let parsed: File = toml::from_str(&text).map_err(|error: toml::de::Error| {
        let line = error.span().map_or(0, |span| text[..span.start].matches('\n').count() + 1);
        Failure::usage(format!("{shown}, line {line}: {}", error.message()))
    })?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let (mut receivers, mut mistakes) = (Vec::<Arc<dyn EventReceiver>>::new(), Vec::new());
    let mut names = BTreeSet::new();
    for entry in parsed.receiver {
        let name = entry.name.clone();
        if !names.insert(name.clone()) {
            mistakes.push(format!("{name}: there are two of this name"));
        }
        match entry.open(folder, network) {
            Ok(receiver) => receivers.push(Arc::new(receiver)),
            Err(why) => mistakes.extend(why.into_iter().map(|why| format!("{name}: {why}"))),
        }
    }
    if names.is_empty() {
        mistakes.push("it has no [[receiver]]".to_owned());
    }
    if names.len() > MOST {
        mistakes.push(format!("more than {MOST} receivers: let one of them pass events on"));
    }
    match mistakes.is_empty() {
        true => Ok(receivers),
        false => Err(Failure::usage(format!("{shown}:\n  {}", mistakes.join("\n  ")))),
    }
}

impl Entry {
    fn open(self, folder: &Path, network: &Network) -> Result<Webhook, Vec<String>> {
        let mut mistakes = Vec::new();
        let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty() || self.name.len() > 32 || !self.name.chars().all(letters) {
            mistakes.push("a name is 1 to 32 of a-z, 0-9 and -".to_owned());
        }
        let known = EventKind::ALL.map(EventKind::as_str);
        for unknown in self.types.iter().filter(|kind| !known.contains(&kind.as_str())) {
            mistakes.push(format!("there are no events of the type {unknown}: there are {}", known.join(", ")));
        }
        let hours = self.give_up_after_hours.unwrap_or(24);
        if !(1..=168).contains(&hours) {
            mistakes.push("give_up_after_hours is a number from 1 to 168".to_owned());
        }
        let mut keep = |read: Result<String, String>| read.map_err(|why| mistakes.push(why)).ok();
        let url = keep(match (&self.url, &self.url_file) {
            (Some(url), None) => Ok(url.clone()),
            (None, Some(file)) => contents("url_file", &folder.join(file)),
            _ => Err("it needs one of url and url_file".to_owned()),
        });
        let secret = keep(match (&self.secret_file, &self.secret_env) {
            (Some(file), None) => contents("secret_file", &folder.join(file)),
            (None, Some(name)) => std::env::var(name).map_err(|_| format!("secret_env: {name} is not set")),
            _ => Err("it needs one of secret_file and secret_env".to_owned()),
        });
        let (Some(url), Some(secret)) = (url, secret) else { return Err(mistakes) };
        let options = WebhookOptions {
            name: self.name,
            url: Secret::new(url),
            secret: Secret::new(secret),
            types: self.types,
            give_up_after: Duration::from_secs(hours.saturating_mul(3_600)),
        };
        match Webhook::new(options, network, Arc::new(SystemClock)) {
            Ok(webhook) if mistakes.is_empty() => Ok(webhook),
            Ok(_) => Err(mistakes),
            Err(why) => {
                mistakes.push(why.to_string());
                Err(mistakes)
            }
        }
    }
}

fn contents(what: &str, file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("{what}: {} cannot be read: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receivers(text: &str) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("secret"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").expect("written");
        let file = folder.path().join("receivers.toml");
        std::fs::write(&file, text).expect("written");
        match read(&file, &Network::default()) {
            Ok(all) => Ok(all.iter().map(|one| format!("{} {}", one.name(), one.place())).collect()),
            Err(failure) => Err(failure.message().to_owned()),
        }
    }

    #[test]
    fn a_receiver_is_read_with_the_secret_beside_its_file() {
        let text = "[[receiver]]\nname = 'siem'\nurl = 'https://siem.example/hook'\nsecret_file = 'secret'\n\
            types = ['account.revoked']\n";
        assert_eq!(receivers(text), Ok(vec!["siem https://siem.example".to_owned()]));
    }

    #[test]
    fn all_mistakes_are_told_at_once_and_no_secret_with_them() {
        let why = receivers(
            "[[receiver]]\nname = 'Siem'\nurl = 'http://siem.example/planted'\nsecret_file = 'secret'\n\
             [[receiver]]\nname = 'b'\nsecret_file = 'missing'\ntypes = ['account.deleted']\n\
             [[receiver]]\nname = 'b'\nurl = 'https://b.example/'\nsecret_env = 'FLEETSCAN_NO_SUCH'\n",
        )
        .expect_err("wrong");
        for part in [
            "Siem: a name is",
            "use https://",
            "b: it needs one of url",
            "missing cannot be read",
            "account.deleted",
            "b: there are two",
            "FLEETSCAN_NO_SUCH is not set",
        ] {
            assert!(why.contains(part), "{part}: {why}");
        }
        assert!(!why.contains("planted"), "{why}");
        let why = receivers("[[receiver]]\nname = 'a'\nsecret = 'whsec_planted'\n").expect_err("no such field");
        assert!(why.contains("line ") && !why.contains("planted"), "{why}");
        assert!(receivers("").expect_err("empty").contains("no [[receiver]]"));
    }
}

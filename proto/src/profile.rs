//! Profiles: what of the catalogue a scan reads, each a small TOML file.
//!
//! [`Profile::built_in`] finds the files of `proto/profiles`; [`Profile::parse`] reads a user's own. A profile with its
//! version is what a customer was told of: its template's description carries both.

use crate::catalogue::{Catalogue, Category, Operation, Service};
use serde::Deserialize;
use std::{fmt, sync::OnceLock};

const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/profile_files.rs"));

/// The profile of a scan that names none.
pub const DEFAULT_PROFILE: &str = "full";

/// A profile's file is small: it names categories, services and a few operations.
pub const MAX_PROFILE_FILE: usize = 65_536;

/// A mistake in a profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("profile {profile}: {problem}")]
pub struct ProfileError {
    /// Which profile: its name, or its file's.
    pub profile: String,
    /// What is wrong, and what to write instead.
    pub problem: String,
}

/// What of the catalogue is read, by name and version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    name: String,
    version: u32,
    title: String,
    every_category: bool,
    categories: Vec<Category>,
    services: Vec<String>,
    operations: Vec<String>,
    except: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Lower-case letters, digits, `-` and `_`.
    name: String,
    /// From 1; raised with every change that reads more.
    version: u32,
    /// A sentence for the customer.
    title: String,
    /// Every service of these categories, but for operations that are to be asked for; `*`: of all.
    #[serde(default)]
    categories: Vec<String>,
    /// Services, likewise.
    #[serde(default)]
    services: Vec<String>,
    /// Single operations, `service:Operation`: those to be asked for, the probe's lists of regions, or a narrow choice.
    #[serde(default)]
    operations: Vec<String>,
    /// Services and operations that are left out all the same.
    #[serde(default)]
    except: Vec<String>,
}

impl Profile {
    /// The profiles that this binary was built with, by name.
    ///
    /// # Panics
    /// If a built-in file is wrong, which a test rules out.
    pub fn all_built_in() -> &'static [Profile] {
        static BUILT: OnceLock<Vec<Profile>> = OnceLock::new();
        BUILT.get_or_init(|| {
            BUILT_IN
                .iter()
                .map(|(name, text)| Profile::parse(name, text).unwrap_or_else(|e| panic!("built-in {e}")))
                .collect()
        })
    }

    /// One of them.
    pub fn built_in(name: &str) -> Option<&'static Profile> {
        Profile::all_built_in().iter().find(|profile| profile.name == name)
    }

    /// Reads a profile's file; `file` is what mistakes are told of.
    pub fn parse(file: &str, text: &str) -> Result<Profile, ProfileError> {
        let wrong = |problem: String| ProfileError { profile: file.to_owned(), problem };
        if text.len() > MAX_PROFILE_FILE {
            return Err(wrong(format!("has {} bytes: a profile has at most {MAX_PROFILE_FILE}", text.len())));
        }
        let raw: File = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let is_named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        if raw.name.is_empty() || raw.name.len() > 32 || !raw.name.chars().all(is_named) {
            return Err(wrong("`name` has 1 to 32 lower-case letters, digits, - and _".into()));
        }
        if raw.version == 0 {
            return Err(wrong("`version` counts from 1".into()));
        }
        let mut categories = Vec::new();
        for text in raw.categories.iter().filter(|text| *text != "*") {
            categories.push(category(text).map_err(wrong)?);
        }
        Ok(Profile {
            every_category: raw.categories.iter().any(|text| text == "*"),
            name: raw.name,
            version: raw.version,
            title: raw.title,
            categories,
            services: raw.services,
            operations: raw.operations,
            except: raw.except,
        })
    }

    /// The profile that a scan was asked to read: one of fleetscan's own by its name, or the text of another.
    pub fn of_scan(name: &str, file: Option<&str>) -> Result<Profile, ProfileError> {
        // Scans that were asked for before there were profiles read everything.
        let name = if name == "standard" { DEFAULT_PROFILE } else { name };
        match file {
            Some(text) => Profile::parse(name, text),
            None => Profile::built_in(name).cloned().ok_or_else(|| ProfileError {
                profile: name.to_owned(),
                problem: "this fleetscan has no such profile: run the same version everywhere".to_owned(),
            }),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Its version, from 1.
    pub fn version(&self) -> u32 {
        self.version
    }
    /// A sentence for the customer.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The part of the catalogue that the profile reads. GetCallerIdentity, by which the probe makes sure of the
    /// account, is always in it.
    ///
    /// # Errors
    /// When the profile names what the catalogue lacks, or an operation without the one that it is called for.
    pub fn of(&self, catalogue: &Catalogue) -> Result<Catalogue, ProfileError> {
        let wrong = |problem: String| ProfileError { profile: self.name.clone(), problem };
        for name in self.services.iter().chain(&self.operations).chain(&self.except) {
            if !knows(catalogue, name) {
                return Err(wrong(format!(
                    "there is no {name} in the catalogue: `fleetscan catalogue list` names services, and with a \
                     service its operations; an operation is written service:Operation"
                )));
            }
        }
        catalogue.narrowed(|service, operation| self.reads(service, operation)).map_err(|e| wrong(e.to_string()))
    }

    fn reads(&self, service: &Service, operation: &Operation) -> bool {
        let name = format!("{}:{}", service.id, operation.name);
        match name.as_str() {
            "sts:GetCallerIdentity" => return true,
            // The hub's, never a customer's session's.
            "sts:AssumeRole" => return false,
            _ => {}
        }
        if self.except.contains(&service.id) || self.except.contains(&name) {
            return false;
        }
        let of_service =
            self.every_category || self.categories.contains(&service.category) || self.services.contains(&service.id);
        // What is called for what is not read falls away with it, unless it was named itself: then that is a mistake.
        let follows =
            || operation.parent.as_ref().is_none_or(|p| self.reads(service, &service.operations[p.operation]));
        self.operations.contains(&name) || (of_service && operation.opt_in.is_none() && !operation.probe && follows())
    }
}

/// `full version 1`.
impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} version {}", self.name, self.version)
    }
}

fn category(text: &str) -> Result<Category, String> {
    use serde::de::{IntoDeserializer, value};
    Category::deserialize(IntoDeserializer::<value::Error>::into_deserializer(text))
        .map_err(|error| format!("`categories`: {error}"))
}

fn knows(catalogue: &Catalogue, name: &str) -> bool {
    match name.split_once(':') {
        Some((service, operation)) => catalogue.operation(service, operation).is_some(),
        None => catalogue.service(name).is_some(),
    }
}

#[cfg(test)]
mod tests;

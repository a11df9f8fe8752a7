//! A profile by the name or the file that somebody typed.

use crate::{failure::Failure, scan};
use fleetscan_coordinator::distance;
use fleetscan_proto::Profile;
use std::path::Path;

/// A profile as a scan of the fleet carries it: with its text, where it is not one of fleetscan's own.
pub fn of_scan(text: &str) -> Result<(Profile, Option<String>), Failure> {
    match Profile::built_in(text) {
        Some(profile) => Ok((profile.clone(), None)),
        None => {
            let profile = named(text)?;
            Ok((profile, Some(scan::read_named("profile", Path::new(text)).map_err(Failure::usage)?)))
        }
    }
}

/// A built-in profile's name, or the path of a profile's file.
pub fn named(text: &str) -> Result<Profile, Failure> {
    if let Some(profile) = Profile::built_in(text) {
        return Ok(profile.clone());
    }
    let path = Path::new(text);
    if path.exists() || text.ends_with(".toml") || text.contains(std::path::MAIN_SEPARATOR) {
        let read = scan::read_named("profile", path).map_err(Failure::usage)?;
        return Profile::parse(text, &read).map_err(Failure::usage);
    }
    let names: Vec<&str> = Profile::all_built_in().iter().map(Profile::name).collect();
    let nearest = names.iter().min_by_key(|name| distance(text, name)).filter(|name| distance(text, name) <= 3);
    let hint = nearest.map(|name| format!("; did you mean {name:?}?")).unwrap_or_else(|| ".".to_owned());
    let names = names.join(", ");
    Err(Failure::usage(format!("there is no profile {text:?}{hint} There are {names}, and files of your own (*.toml)")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_profile_is_answered_with_the_nearest_one() {
        let mistake = named("securtyv0").expect_err("mistyped");
        assert!(
            mistake.message().contains("\"securityv0\"") && mistake.message().contains("minimal"),
            "{}",
            mistake.message()
        );
        assert!(named("no-such.toml").expect_err("no file").message().contains("no-such.toml"));
        assert_eq!(named("minimal").expect("built in").name(), "minimal");
    }
}

//! Every option, as a page: made of the command tree itself, so that it cannot be wrong. `fleetscan catalogue write`
//! writes it.

use crate::args::Args;
use clap::{Arg, ArgAction, Command, CommandFactory as _};
use std::{collections::BTreeSet, fmt::Write as _};

/// Where it is, within the repository.
pub const PAGE: &str = "docs/options.md";

const HEAD: &str = "\
# Every option

Made of the program itself by `fleetscan catalogue write .`; do not edit. A flag wins over its environment variable, and
that over the default. Units stand in the names (`--deadline-minutes`), a value's shape in `<…>`.

Read from the environment alone, since a flag would show in the process list:

| variable | what |
|---|---|
| `FLEETSCAN_KEY` | the key that seals grants, in place of `--key-file` |
| `FLEETSCAN_TOKEN` | the token of the live page, in place of `--token-file` |
| `FLEETSCAN_STORE`, `FLEETSCAN_BROKER` | may hold a password here; in a flag it is refused |
| `AWS_PROFILE`, `AWS_ACCESS_KEY_ID`, … | AWS's own, for the principal that fleetscan runs as |
| `AWS_ENDPOINT_URL` | replaces AWS's hosts, for tests and the simulator |

For every command: `-v` and `-vv` log more; `FLEETSCAN_LOG` filters the log (`warn,fleetscan_worker=debug`),
`FLEETSCAN_LOG_FORMAT` is `text`, `json` or `auto`, and `NO_COLOR` turns colours off. `--catalogue DIR`
(`FLEETSCAN_CATALOGUE`) adds catalogue files of your own, `DIR/*.toml`, to the services that are read; every process of a
fleet is to have the same.
";

/// The page's text.
pub fn page() -> String {
    let mut root = Args::command();
    root.build();
    let mut page = HEAD.to_owned();
    for command in root.get_subcommands() {
        write_command(&mut page, "", command, &BTreeSet::new());
    }
    page
}

/// A command's options, and those of its subcommands that it does not share with them.
fn write_command(page: &mut String, above: &str, command: &Command, known: &BTreeSet<String>) {
    if command.get_name() == "help" || command.is_hide_set() {
        return;
    }
    let name = format!("{above}{}", command.get_name());
    let own: Vec<&Arg> =
        command.get_arguments().filter(|arg| is_shown(arg) && !known.contains(arg.get_id().as_str())).collect();
    let mark = if above.is_empty() { "##" } else { "###" };
    // Writing to a String cannot fail.
    let _ = writeln!(page, "\n{mark} fleetscan {name}\n\n{}.", about(command));
    if !own.is_empty() {
        let _ = writeln!(page, "\n| option | environment | default | |\n|---|---|---|---|");
    }
    for arg in &own {
        let environment = arg.get_env().map_or(String::new(), |name| format!("`{}`", name.to_string_lossy()));
        let _ = writeln!(page, "| {} | {environment} | {} | {} |", written(arg), default(arg), help(arg));
    }
    let mut known = known.clone();
    known.extend(own.iter().map(|arg| arg.get_id().to_string()));
    for below in command.get_subcommands() {
        write_command(page, &format!("{name} "), below, &known);
    }
}

/// What people are to use: not what only tests do, nor what every command has.
fn is_shown(arg: &Arg) -> bool {
    !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version" | "verbose" | "catalogue")
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn written(arg: &Arg) -> String {
    let value = match arg.get_value_names() {
        Some(names) if arg.get_action().takes_values() => names.join(" "),
        _ => String::new(),
    };
    match (arg.get_long(), value.as_str()) {
        (None, value) => format!("`<{}>`", cell(value)),
        (Some(long), "") => format!("`--{long}`"),
        (Some(long), value) => format!("`--{long} <{}>`", cell(value)),
    }
}

fn default(arg: &Arg) -> String {
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return String::new();
    }
    let values: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    match (values.is_empty(), arg.is_required_set()) {
        (false, _) => format!("`{}`", cell(&values.join(","))),
        (true, true) => "required".to_owned(),
        (true, false) => String::new(),
    }
}

fn help(arg: &Arg) -> String {
    let text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values: Vec<_> = match arg.get_action() {
        ArgAction::SetTrue => Vec::new(),
        _ => arg.get_possible_values(),
    };
    let names: Vec<_> =
        values.iter().filter(|value| !value.is_hide_set()).map(|value| format!("`{}`", value.get_name())).collect();
    match names.is_empty() {
        true => cell(&text),
        false => format!("{}: {}", cell(&text), names.join(", ")),
    }
}

/// A text within a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_told_with_its_environment_default_and_unit() {
        let page = page();
        for row in [
            "| `--drain-seconds <SECONDS>` |  | `45` |",
            "| `--broker <URL>` | `FLEETSCAN_BROKER` | required |",
            "| `--out <URL>` | `FLEETSCAN_OUT` | `fleetscan-results` |",
            "### fleetscan accounts import",
        ] {
            assert!(page.contains(row), "{row}\n{page}");
        }
        assert!(!page.contains("dies-of") && !page.contains("stuck-after"), "what tests use is nobody's");
        assert_eq!(page.matches("`--store-ca <FILE>`").count(), 9, "once a command, not again for its subcommands");
    }
}

use fleetscan_proto::{
    Profile,
    catalogue::{Catalogue, Category},
};
use fleetscan_worker::{never::NEVER, policy};
use std::fmt::Write as _;

/// Where the generated part of the page begins.
pub const BEGIN: &str = "<!-- generated: `fleetscan catalogue write` renews what stands between these two marks -->";
/// Where it ends.
pub const END: &str = "<!-- end of the generated part -->";
/// What is wrong with a page without marks.
pub const NO_MARKS: &str = "the two marks of the generated part are not there";

/// The page with its generated part made anew; `None` where it lacks the marks.
pub fn renewed(page: &str, catalogue: &Catalogue) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}{END}{after}", generated(catalogue)))
}

fn generated(catalogue: &Catalogue) -> String {
    let mut text = String::new();
    profiles(&mut text, catalogue);
    let actions = policy::actions(catalogue);
    for category in Category::ALL {
        let Some(of_category) = actions.get(&category) else { continue };
        let services: Vec<&str> =
            catalogue.services().iter().filter(|s| s.category == category).map(|s| s.title.as_str()).collect();
        let _ =
            writeln!(text, "\n### {}\n\n{}: {} actions.\n", category.title(), services.join(", "), of_category.len());
        for action in of_category {
            let _ = writeln!(text, "- `{action}`{}", asked_for(catalogue, action));
        }
    }
    let _ = writeln!(
        text,
        "\n### Never\n\nWhatever a policy would allow, these are refused before they leave the process, and denied by\nthe session policy and the permissions boundary. Of `s3:GetObject` and `s3:ListBucket` one use is left, which customer and\noperator must both want: [CloudTrail's log files](#cloudtrails-log-files), on sessions of their own.\n"
    );
    for action in NEVER {
        let _ = writeln!(text, "- `{action}`");
    }
    text
}

fn profiles(text: &mut String, catalogue: &Catalogue) {
    let _ = writeln!(text, "\n| profile | version | actions | what it reads |\n|---|---|---|---|");
    for profile in Profile::all_built_in() {
        let part = profile.of(catalogue);
        let count =
            part.map(|part| policy::actions(&part).values().map(|a| a.len()).sum::<usize>()).unwrap_or_default();
        let _ = writeln!(text, "| `{}` | {} | {count} | {} |", profile.name(), profile.version(), profile.title());
    }
}

/// What is to be said of an action: why it is called only where a profile asks for it, or how little of it is kept.
fn asked_for(catalogue: &Catalogue, action: &str) -> String {
    let operations = || catalogue.services().iter().flat_map(|s| &s.operations).filter(|o| o.action == action);
    if let Some(history) = operations().find_map(|operation| operation.history.as_ref()) {
        return format!(" (of each principal, the last thing that it did in {} days, and nothing else)", history.days);
    }
    if operations().any(|operation| operation.probe || operation.opt_in.is_none()) {
        return String::new();
    }
    match operations().find_map(|operation| operation.opt_in.as_ref()) {
        Some(why) => format!(" (only where a profile asks for it: {why})"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_renewed() {
        let page = format!("# Title\n{BEGIN}\nold\n{END}\nend\n");
        let new = renewed(&page, Catalogue::built_in()).expect("marks");
        assert!(new.starts_with("# Title\n") && new.ends_with("\nend\n") && !new.contains("\nold\n"));
        assert!(new.contains("- `secretsmanager:GetSecretValue`") && new.contains("### Identity"));
        assert_eq!(renewed("no marks", Catalogue::built_in()), None);
    }
}

use super::AccountsFile;
use std::fmt::Write as _;

const ARN: &str = "arn:aws:iam::111122223333:role/SecurityV0ReadOnly";
const EXTERNAL_ID: &str = "an-external-id-of-16-to-64";

/// One account on lines 1 to 4, then `more`; `from` is written as `to`.
fn account(from: &str, to: &str, more: &str) -> String {
    let text = format!("[[account]]\nid = \"111122223333\"\nrole_arn = \"{ARN}\"\nexternal_id = \"{EXTERNAL_ID}\"\n");
    assert!(text.contains(from), "{from:?} is not in the sample");
    format!("{}{more}", text.replacen(from, to, 1))
}

fn problems(text: &str) -> Vec<String> {
    let problems = AccountsFile::parse("accounts.toml", text).expect_err("a mistake");
    for problem in &problems {
        assert!(!problem.text.contains("SecurityV0ReadOnly"), "the ARN is repeated: {problem}");
        assert!(!problem.text.contains("external-id-of"), "the ExternalId is repeated: {problem}");
        assert!(!problem.text.contains('\n'), "more than a line: {problem}");
    }
    problems.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn one(text: &str, place: &str, words: &[&str]) {
    let found = problems(text);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with(&format!("accounts.toml:{place}: ")), "{} is not at {place}", found[0]);
    for word in words {
        assert!(found[0].contains(word), "{} does not say {word:?}", found[0]);
    }
}

#[test]
fn a_full_entry_is_read_with_all_its_keys() {
    let more = "name = \"payments-prod\"  # optional\ncustomer = \"acme\"\nregions = [\"eu-west-1\", \"us-east-1\"]\n";
    let file = AccountsFile::parse("a.toml", &account("", "", more)).expect("right");
    let [account] = &file.accounts[..] else { panic!("one account") };
    assert_eq!(account.id.as_str(), "111122223333");
    assert_eq!((account.grant.role_arn.expose(), account.grant.external_id.expose()), (ARN, EXTERNAL_ID));
    assert_eq!((account.name.as_deref(), account.customer()), (Some("payments-prod"), "acme"));
    assert_eq!(account.regions, ["eu-west-1", "us-east-1"]);
    assert!(file.warnings.is_empty());
}

#[test]
fn the_optional_keys_may_be_left_out() {
    let file = AccountsFile::parse("a.toml", &account("", "", "")).expect("right");
    assert_eq!((file.accounts[0].name.as_ref(), file.accounts[0].customer()), (None, "111122223333"));
    assert!(file.accounts[0].regions.is_empty());
}

#[test]
fn text_that_is_not_toml_is_told_with_what_to_write() {
    one(&account("\"111122223333\"\n", "\"111122223333\n", ""), "2:19", &["not TOML", "id = \"111122223333\""]);
    one(&account(&format!("\"{EXTERNAL_ID}\""), EXTERNAL_ID, ""), "4:15", &["not TOML", "external_id", "quotes"]);
    one(&account("[[account]]", "[[account]", ""), "1:11", &["not TOML", "[[account]]"]);
    one(&account("\"111122223333\"", "011122223333", ""), "2:6", &["not TOML", "in quotes"]);
    one(&account("id = ", "id: ", ""), "2:5", &["not TOML", "id = \"111122223333\""]);
    one(&account("", "", "name = \"a\"\nname = \"b\"\n"), "6:1", &["duplicate key", "remove one"]);
}

#[test]
fn accounts_beside_a_break_in_the_toml_are_judged_too() {
    let second =
        "[[account]]\nid = \"1\"\nrole_arn = \n[[account]]\nid = \"12\"\nrol_arn = \"x\"\nexternal_id = \"short\"\n";
    let found = problems(&account("", "", second));
    let places: Vec<&str> = found.iter().filter_map(|text| text.split(": ").next()).collect();
    let expected = ["7:12", "8:1", "9:6", "10:1", "11:15"].map(|place| format!("accounts.toml:{place}"));
    assert_eq!(places, expected, "{found:#?}");
}

#[test]
fn an_unknown_key_is_told_with_the_one_that_was_meant() {
    one(&account("", "", "reigons = [\"eu-west-1\"]\n"), "5:1", &["\"reigons\"", "did you mean \"regions\"?"]);
    one(&account("", "", "colour = 1\n"), "5:1", &["\"colour\"", "role_arn, external_id"]);
    one(&account("", "", "[account.tags]\na = 1\n"), "5:10", &["\"tags\""]);
    one(&account("", "", "[[acount]]\n"), "5:3", &["did you mean [[account]]?"]);
    one(&account("", "", &format!("{EXTERNAL_ID} = 1\n")), "5:1", &["unknown key: "]);
    one(&account("", "", &format!("\"{ARN}\" = 1\n")), "5:1", &["unknown key: "]);
}

#[test]
fn a_missing_key_is_told_at_its_account() {
    for (line, key) in [("id = \"111122223333\"\n", "id"), (&format!("role_arn = \"{ARN}\"\n"), "role_arn")] {
        one(&account(line, "", ""), "1:1", &[&format!("no {key}: write {key} = \"")]);
    }
    one(&account(&format!("external_id = \"{EXTERNAL_ID}\"\n"), "", ""), "1:1", &["no external_id: write"]);
    assert_eq!(problems("# accounts\n[[account]]\n").len(), 3);
}

#[test]
fn an_id_is_twelve_digits_in_quotes() {
    one(&account("\"111122223333\"", "\"11112222333\"", ""), "2:6", &["11 digits", "12 digits"]);
    one(&account("\"111122223333\"", "\"1111-2222-3333\"", ""), "2:6", &["other characters", "12 digits"]);
    one(&account("\"111122223333\"", "111122223333", ""), "2:6", &["in quotes", "id = \"111122223333\""]);
    one(&account("\"111122223333\"", "[1]", ""), "2:6", &["id is a list", "quotes"]);
    one(&account("\"111122223333\"", &format!("\"{ARN}\""), ""), "2:6", &["other characters"]);
}

#[test]
fn an_account_named_twice_is_told_with_both_lines() {
    one(&account("", "", &account("", "", "")), "6:6", &["111122223333", "line 6", "line 2", "remove"]);
}

#[test]
fn a_role_is_one_of_its_own_account() {
    let foreign = ARN.replace("111122223333", "444455556666");
    one(&account(ARN, &foreign, ""), "3:12", &["444455556666", "111122223333"]);
    for wrong in ["arn:aws:iam::1111:role/SecurityV0ReadOnly", "SecurityV0ReadOnly", ""] {
        one(&account(ARN, wrong, ""), "3:12", &["arn:aws:iam::<12 digits>:role/<name>"]);
    }
    one(&account(&format!("\"{ARN}\""), "true", ""), "3:12", &["role_arn is true or false", "quotes"]);
}

#[test]
fn an_external_id_is_16_to_64_of_its_characters() {
    one(&account(EXTERNAL_ID, &"x".repeat(15), ""), "4:15", &["15 characters", "16 to 64"]);
    one(&account(EXTERNAL_ID, &"x".repeat(65), ""), "4:15", &["65 characters", "16 to 64"]);
    one(&account(EXTERNAL_ID, "an external-id-of", ""), "4:15", &["' '", "letters, digits"]);
    one(&account(&format!("\"{EXTERNAL_ID}\""), "1234567890123456", ""), "4:15", &["external_id is a number"]);
    for length in [16, 64] {
        AccountsFile::parse("a.toml", &account(EXTERNAL_ID, &"x".repeat(length), "")).expect("fits");
    }
}

#[test]
fn names_are_written_in_plain_characters() {
    one(&account("", "", "name = \"\"\n"), "5:8", &["name is empty"]);
    one(&account("", "", "customer = \"a\\u001b[2J\"\n"), "5:12", &["customer has a control character"]);
    one(&account("", "", "name = 7\n"), "5:8", &["name is a number"]);
}

#[test]
fn regions_are_a_list_of_region_names() {
    let wrong =
        |list: &str, place: &str, words: &[&str]| one(&account("", "", &format!("regions = {list}")), place, words);
    wrong("[\"eu-west-1\", \"EU-West-1\"]", "5:25", &["\"EU-West-1\"", "is not a region"]);
    wrong("[\"eu-west-1\", \"\"]", "5:25", &["a region is empty"]);
    wrong("[\"global\"]", "5:12", &["global services are always read"]);
    wrong("[1]", "5:12", &["an entry of regions is a number"]);
    wrong("[]", "5:11", &["regions is empty", "every enabled region"]);
    wrong("\"eu-west-1\"", "5:11", &["regions is text", "[\"eu-west-1\"]"]);
    wrong(&format!("[\"{ARN}\"]"), "5:12", &["is not a region"]);
    wrong(&format!("[\"{EXTERNAL_ID}\"]"), "5:12", &["is not a region"]);
}

#[test]
fn a_region_of_the_right_shape_that_nobody_knows_is_only_warned_of() {
    let text = account("", "", "regions = [\"eu-west-9\", \"eu-west-1\", \"eu-west-1\"]\n");
    let file = AccountsFile::parse("a.toml", &text).expect("only warnings");
    assert_eq!(file.accounts[0].regions, ["eu-west-9", "eu-west-1"]);
    let warnings: Vec<String> = file.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("a.toml:5:12: region \"eu-west-9\""), "{warnings:?}");
    assert!(warnings[1].starts_with("a.toml:5:38: region \"eu-west-1\" is named twice"), "{warnings:?}");
}

#[test]
fn a_file_without_an_account_is_a_mistake() {
    for text in ["", "# nothing yet\n", "account = []\n"] {
        one(text, "1:1", &["no account", "[[account]]"]);
    }
    one("[account]\nid = \"111122223333\"\n", "1:2", &["[[account]]", "two brackets"]);
    one("id = \"111122223333\"\n", "1:1", &["id is of no account", "[[account]] above"]);
    one("account = [1]\n", "1:12", &["not an account", "[[account]]"]);
}

#[test]
fn columns_are_counted_in_characters_and_lines_may_end_as_on_windows() {
    let text = account("", "", "regions = [\"é\", \"ü\"]\n").replace('\n', "\r\n");
    let found = problems(&text);
    assert!(found[0].starts_with("accounts.toml:5:12: \"é\""), "{found:?}");
    assert!(found[1].starts_with("accounts.toml:5:17: \"ü\""), "{found:?}");
}

#[test]
fn all_mistakes_come_at_once_in_the_order_of_the_file() {
    let more = "[[account]]\nid = 5\nrole_arn = \"x\"\nexternal_id = \"y\"\nregions = [\"\", \"Z\"]\nnmae = \"z\"\n";
    let found = problems(&account("111122223333", "1", more));
    let lines: Vec<&str> = found.iter().filter_map(|text| text.split(':').nth(1)).collect();
    assert_eq!(lines, ["2", "6", "7", "8", "9", "9", "10"], "{found:#?}");
}

#[test]
fn ten_thousand_accounts_are_read_and_ten_thousand_mistakes_on_one_line_are_placed() {
    let mut right = String::new();
    let mut wrong = String::from("account = [");
    for n in 0..10_000 {
        let id = format!("{:012}", 100_000_000_000_u64 + n);
        let arn = format!("arn:aws:iam::{id}:role/R");
        let _ = write!(right, "[[account]]\nid = \"{id}\"\nrole_arn = \"{arn}\"\nexternal_id = \"{EXTERNAL_ID}\"\n\n");
        let _ = write!(wrong, "{{ id = \"{id}\", role_arn = \"{arn}\", external_id = \"é\" }}, ");
    }
    wrong.push_str("]\n");
    assert_eq!(AccountsFile::parse("a.toml", &right).expect("right").accounts.len(), 10_000);
    let found = AccountsFile::parse("a.toml", &wrong).expect_err("wrong");
    assert_eq!(found.len(), 10_000);
    assert!(found.iter().all(|problem| problem.line == 1));
    assert!(found.windows(2).all(|pair| pair[0].column < pair[1].column));
}

#[test]
fn no_slip_of_the_hand_makes_it_panic_or_tell_a_secret() {
    let text = account("", "", "name = \"é\"\nregions = [\"eu-west-1\"]\n");
    let text = format!("{text}{}", text.replace("111122223333", "444455556666"));
    for (at, character) in text.char_indices() {
        for slip in ["", "\"", "[", "]", "{", "=", ".", ",", "\n", "\\", "\"\"\"", "é"] {
            let (before, after) = (&text[..at], &text[at + character.len_utf8()..]);
            if let Err(found) = AccountsFile::parse("accounts.toml", &format!("{before}{slip}{after}")) {
                assert!(!found.is_empty());
                for problem in found {
                    assert!(!problem.text.contains("SecurityV0ReadOnly"), "{problem}");
                    assert!(!problem.text.contains("an-external-id"), "{problem}");
                }
            }
        }
    }
}

//! The same file as CSV: a header names the columns, and regions stand in one column, separated by spaces.

use super::{AccountsFile, Judged, Problem, entry::KEYS};
use std::sync::Arc;

/// Lines that each account takes in the TOML that stands for the file: its header, and one for each key.
const LINES: usize = KEYS.len() + 1;

impl AccountsFile {
    /// Reads CSV text of the file called `name`: the columns of the TOML file's keys, in any order.
    pub fn judge_csv(name: &str, text: &str) -> Judged {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(text.as_bytes());
        let problem = |line: usize, text: String| Problem { file: Arc::from(name), line, column: 1, text };
        let header: Vec<String> = match reader.headers() {
            Ok(header) => header.iter().map(str::to_owned).collect(),
            Err(error) => return Judged::broken(problem(1, format!("not CSV: {}", kind(&error)))),
        };
        if let Some(unknown) = header.iter().find(|column| !KEYS.contains(&column.as_str())) {
            let text = format!("there is no column {unknown:?}: the first line names columns, of {}", KEYS.join(", "));
            return Judged::broken(problem(1, text));
        }
        let (mut toml, mut lines, mut broken) = (String::new(), Vec::new(), Vec::new());
        for row in reader.records() {
            match row {
                Ok(row) => {
                    let line = row.position().map_or(0, |at| usize::try_from(at.line()).unwrap_or_default());
                    if row.len() > header.len() {
                        broken.push(problem(line, format!("{} values, and {} columns", row.len(), header.len())));
                        continue;
                    }
                    lines.push(line);
                    write_entry(&mut toml, &header, &row);
                }
                Err(error) => {
                    let line = error.position().map_or(0, |at| usize::try_from(at.line()).unwrap_or_default());
                    broken.push(problem(line, format!("not CSV: {}", kind(&error))));
                }
            }
        }
        let mut judged = if lines.is_empty() && !broken.is_empty() {
            Judged { accounts: Vec::new(), errors: Vec::new(), warnings: Vec::new() }
        } else {
            AccountsFile::judge(name, &toml)
        };
        // Back to the lines of the CSV file; a column of the TOML says nothing of it.
        for found in judged.errors.iter_mut().chain(&mut judged.warnings) {
            found.line = lines.get((found.line - 1) / LINES).copied().unwrap_or(1);
            found.column = 1;
        }
        judged.errors.extend(broken);
        judged.errors.sort_by_key(|found| found.line);
        judged
    }
}

fn write_entry(toml: &mut String, header: &[String], row: &csv::StringRecord) {
    let value = |key: &str| {
        let at = header.iter().position(|column| column == key)?;
        row.get(at).filter(|value| !value.is_empty())
    };
    toml.push_str("[[account]]\n");
    for key in KEYS {
        match value(key) {
            None => {}
            Some(list) if key == "regions" => {
                let regions: Vec<String> = list.split([' ', ';']).filter(|r| !r.is_empty()).map(quoted).collect();
                toml.push_str(&format!("{key} = [{}]", regions.join(", ")));
            }
            Some(text) => toml.push_str(&format!("{key} = {}", quoted(text))),
        }
        toml.push('\n');
    }
}

/// Text as TOML writes it; always on one line.
fn quoted(text: &str) -> String {
    toml::Value::String(text.replace(['\n', '\r'], " ")).to_string()
}

/// What is wrong, without a word of the file's own text.
fn kind(error: &csv::Error) -> &'static str {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "it is not UTF-8 text",
        csv::ErrorKind::UnequalLengths { .. } => "its lines have different numbers of values",
        _ => "it cannot be read",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "id,role_arn,external_id,regions,name\n";

    #[test]
    fn rows_become_accounts_and_mistakes_keep_their_lines() {
        let row = |id: &str, external: &str| {
            format!("{id},arn:aws:iam::{id}:role/R,{external},eu-west-1 us-east-1,\"a, b\"\n")
        };
        let good = "an-external-id-of-16";
        let text =
            [HEAD, &row("111122223333", good), &row("444455556666", "short"), &row("777788889999", good)].concat();
        let judged = AccountsFile::judge_csv("accounts.csv", &text);
        assert_eq!(judged.accounts.len(), 2);
        assert_eq!(judged.accounts[0].regions, ["eu-west-1", "us-east-1"]);
        assert_eq!(judged.accounts[0].name.as_deref(), Some("a, b"));
        let told: Vec<String> = judged.errors.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("accounts.csv:3:1: ") && told[0].contains("5 characters"), "{told:?}");
    }

    #[test]
    fn a_header_that_is_none_is_said_so() {
        let judged = AccountsFile::judge_csv("a.csv", "111122223333,arn,x\n");
        assert!(judged.errors[0].text.contains("no column"), "{:?}", judged.errors);
        let judged = AccountsFile::judge_csv("a.csv", &format!("{HEAD}1,2,3,4,5,6,7\n"));
        assert!(judged.errors[0].text.contains("7 values"), "{:?}", judged.errors);
    }
}

//! Answers that are a table: a text in base64 that is CSV, as IAM's credential report is.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

/// The rows of a table, each an object by the names in the first line; `None` where the text is none.
pub(super) fn rows(text: &str) -> Option<Vec<Value>> {
    let bytes = STANDARD.decode(text.split_whitespace().collect::<String>()).ok()?;
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let names = reader.headers().ok()?.clone();
    reader
        .records()
        .map(|row| {
            let row = row.ok()?;
            let pairs = names.iter().zip(row.iter());
            Some(Value::Object(Map::from_iter(pairs.map(|(name, field)| (name.to_owned(), Value::from(field))))))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_becomes_its_rows() {
        let text = STANDARD.encode("user,arn,mfa_active\n<root_account>,arn:aws:iam::1:root,true\n\"a,b\",arn:x,N/A\n");
        let expected = [
            json!({"user": "<root_account>", "arn": "arn:aws:iam::1:root", "mfa_active": "true"}),
            json!({"user": "a,b", "arn": "arn:x", "mfa_active": "N/A"}),
        ];
        assert_eq!(rows(&text), Some(expected.to_vec()));
        assert_eq!(rows("no base64!"), None);
        assert_eq!(rows(&STANDARD.encode("a,b\n1\n")), None, "a line that is too short");
    }
}

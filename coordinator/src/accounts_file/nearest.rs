/// Says that a key is unknown in `place` and what was probably meant.
pub(super) fn unknown_key(key: &str, known: &[&str], place: &str) -> String {
    // Only what is shorter than any ExternalId is repeated: a pasted secret may stand where a key belongs.
    let shown = match key.len() < *fleetscan_proto::EXTERNAL_ID_LENGTH.start()
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    {
        true => format!("unknown key {key:?}"),
        false => "unknown key".to_owned(),
    };
    match nearest(key, known) {
        Some(meant) if known.len() > 1 => format!("{shown}: did you mean {meant:?}?"),
        Some(meant) => format!("{shown}: did you mean [[{meant}]]?"),
        None if known.len() > 1 => format!("{shown}: an account has {}", known.join(", ")),
        None => format!("{shown}: {place} has nothing but [[{}]] and its keys", known.join("]], [[")),
    }
}

/// The known word that a mistyped, abbreviated or otherwise spelt one most likely means.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let bare = |text: &str| text.replace(['_', '-'], "").to_ascii_lowercase();
    // Long words are not compared: the effort grows with the length.
    let word = bare(word);
    if !(2..=40).contains(&word.len()) {
        return None;
    }
    let near = |candidate: &str| {
        let candidate = bare(candidate);
        let edits = distance(&word, &candidate);
        let part = candidate.starts_with(&word) || candidate.ends_with(&word) || word.ends_with(&candidate);
        (part || edits <= 2.min(candidate.len() / 2)).then_some(edits)
    };
    let scored = known.iter().filter_map(|candidate| Some((near(candidate)?, *candidate)));
    scored.min_by_key(|(edits, _)| *edits).map(|(_, candidate)| candidate)
}

/// How many letters must be inserted, removed or replaced to make one word the other.
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            next.push((row[j] + usize::from(x != *y)).min(row[j + 1] + 1).min(next[j] + 1));
        }
        row = next;
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_and_other_spellings_find_their_key() {
        let known = ["id", "role_arn", "external_id", "name", "customer", "regions"];
        for (word, meant) in [
            ("role-arn", "role_arn"),
            ("RoleArn", "role_arn"),
            ("arn", "role_arn"),
            ("externalId", "external_id"),
            ("extrenal_id", "external_id"),
            ("account_id", "id"),
            ("region", "regions"),
            ("custmer", "customer"),
        ] {
            assert_eq!(nearest(word, &known), Some(meant), "{word}");
        }
        for word in ["", "x", "colour", "profile"] {
            assert_eq!(nearest(word, &known), None, "{word}");
        }
    }
}

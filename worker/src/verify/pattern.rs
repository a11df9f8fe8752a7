//! Patterns of IAM actions and resources: `*` stands for any text, `?` for any character. Actions are compared without
//! case (IAM User Guide, "IAM JSON policy elements: Action").

/// Whether a pattern stands for a text, without regard to case.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (lower(pattern), lower(text));
    // The place after the last `*`, and where its text began: one step back is enough, since a later `*` can stand for
    // whatever an earlier one would.
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((after, began)) => {
                    (p, t) = (after, began + 1);
                    star = Some((after, began + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// Whether two patterns of actions, or of parts of them, have a text in common. An action has one colon: what stands
/// before it in both is compared, and what comes after it.
pub fn meet(one: &str, other: &str) -> bool {
    match (one.split_once(':'), other.split_once(':')) {
        (Some((service, name)), Some((other_service, other_name))) => {
            have_in_common(service, other_service) && have_in_common(name, other_name)
        }
        _ => have_in_common(one, other),
    }
}

fn have_in_common(one: &str, other: &str) -> bool {
    let (one, other) = (lower(one), lower(other));
    // reachable[j]: what was read of `one` and the first j of `other` can stand for the same text.
    let mut reachable = vec![false; other.len() + 1];
    reachable[0] = true;
    skip_stars(&mut reachable, &other);
    for c in &one {
        let mut next = vec![false; other.len() + 1];
        if *c == b'*' {
            // It stands for nothing, or for what one more of `other` stands for.
            next[0] = reachable[0];
            for j in 1..=other.len() {
                next[j] = reachable[j] || next[j - 1];
            }
        } else {
            for j in 1..=other.len() {
                let o = other[j - 1];
                let same = o == *c || o == b'?' || *c == b'?';
                next[j] = match o {
                    b'*' => reachable[j],
                    _ => same && reachable[j - 1],
                };
            }
        }
        skip_stars(&mut next, &other);
        reachable = next;
    }
    reachable[other.len()]
}

/// A `*` stands for nothing, too.
fn skip_stars(reachable: &mut [bool], pattern: &[u8]) {
    for (j, c) in pattern.iter().enumerate() {
        if *c == b'*' && reachable[j] {
            reachable[j + 1] = true;
        }
    }
}

/// Whether whatever `inner` stands for, `outer` does. May say no where it is hard to tell.
pub fn covers(outer: &str, inner: &str) -> bool {
    // Read as text, a wildcard of `inner` is stood for by one of `outer`; a `?` would take a `*` for one character.
    matches(outer, inner) && !(inner.contains('*') && outer.contains('?'))
}

/// The narrower of two patterns of actions, or what both have of service and of name; `None`: they have nothing in
/// common. What it stands for may be more than both do, where neither covers the other, but never less.
pub fn narrower(one: &str, other: &str) -> Option<String> {
    if !meet(one, other) {
        return None;
    }
    if covers(other, one) {
        return Some(one.to_owned());
    }
    if covers(one, other) {
        return Some(other.to_owned());
    }
    let narrowest = |one: &str, other: &str| {
        let certain = |pattern: &str| pattern.split(['*', '?']).next().unwrap_or_default().len();
        let first = covers(other, one) || (!covers(one, other) && certain(one) >= certain(other));
        if first { one.to_owned() } else { other.to_owned() }
    };
    Some(match (one.split_once(':'), other.split_once(':')) {
        (Some((service, name)), Some((other_service, other_name))) => {
            format!("{}:{}", narrowest(service, other_service), narrowest(name, other_name))
        }
        _ => narrowest(one, other),
    })
}

fn lower(text: &str) -> Vec<u8> {
    text.bytes().map(|byte| byte.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_stand_for_what_iam_says_in_any_case() {
        for (pattern, text) in [
            ("*", ""),
            ("*", "s3:GetObject"),
            ("s3:*", "S3:getobject"),
            ("S3:GET*", "s3:GetObject"),
            ("s3:Get?bject", "s3:GetObject"),
            ("*:*", "iam:PassRole"),
            ("ec2:*Instance*s", "ec2:DescribeInstanceStatus"),
            ("a*b*c", "aXbYbZc"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "x"),
            ("s3:Get", "s3:GetObject"),
            ("s3:?", "s3:"),
            ("a*b", "ac"),
            ("s3:*", "s3express:x"),
            ("??", "a"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
        assert!(!matches(&"a*".repeat(30), &"a".repeat(29)), "and it takes no time");
    }

    #[test]
    fn patterns_meet_where_a_text_fits_both() {
        for (one, other) in [
            ("s3:*", "s3:GetObject*"),
            ("s3:Get*", "s3:*Object"),
            ("*", "kms:Decrypt"),
            ("s?:*", "s3:GetObject*"),
            ("ssm:*Parameter", "ssm:GetParameter*"),
            ("a", "A"),
            ("*a", "a*"),
            ("", "*"),
        ] {
            assert!(meet(one, other) && meet(other, one), "{one} {other}");
        }
        for (one, other) in [
            ("s3:Put*", "s3:GetObject*"),
            ("*:Put*", "s3:Get*"),
            ("a?", "a"),
            ("lambda:*", "s3:*"),
            ("*b", "*a"),
            ("", "a*"),
        ] {
            assert!(!meet(one, other) && !meet(other, one), "{one} {other}");
        }
    }

    #[test]
    fn the_narrower_of_two_is_what_both_stand_for() {
        for (one, other, narrow) in [
            ("*", "s3:Get*", Some("s3:Get*")),
            ("s3:Get*", "S3:*", Some("s3:Get*")),
            ("s3:*", "*:Get*", Some("s3:Get*")),
            ("iam:Get*", "iam:*Role", Some("iam:Get*")),
            ("s3:Get*", "s3:Put*", None),
            ("s3*", "*:Get*", Some("s3*")),
        ] {
            assert_eq!(narrower(one, other).as_deref(), narrow, "{one} {other}");
            assert_eq!(narrower(other, one).as_deref(), narrow, "{other} {one}");
        }
    }

    #[test]
    fn one_covers_another_when_nothing_of_it_is_left_out() {
        assert!(covers("s3:*", "s3:Get*") && covers("*", "kms:Decrypt") && covers("s3:get*", "s3:GetObject*"));
        assert!(
            !covers("s3:Get*", "s3:*")
                && !covers("s3:GetObject", "s3:GetObject*")
                && !covers("s3:x", "s3:?")
                && !covers("s3:?", "s3:*")
        );
    }
}

//! The wildcards of `COPY` and `ADD`: those of Go's `filepath.Match`, one component at a time.

/// Whether a name has a meaning beyond itself.
pub fn has_wildcard(name: &[u8]) -> bool {
    name.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'))
}

/// Whether `name` is what `pattern` means; a malformed pattern means nothing.
pub(super) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut here) = (0, 0);
    // Where the last star was, and how much of the name it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if let Some(b'*') = pattern.get(at) {
            star = Some((at + 1, here));
            at += 1;
            continue;
        }
        let step = match (pattern.get(at), name.get(here)) {
            (None, None) => return true,
            (Some(_), Some(_)) => one(&pattern[at..], &name[here..]),
            _ => None,
        };
        match (step, star) {
            (Some((pattern_length, name_length)), _) => {
                at += pattern_length;
                here += name_length;
            }
            (None, Some((after, taken))) if taken < name.len() => {
                star = Some((after, taken + 1));
                (at, here) = (after, taken + 1);
            }
            _ => return false,
        }
    }
}

/// Matches one character; answers how many bytes of the pattern and of the name that took.
fn one(pattern: &[u8], name: &[u8]) -> Option<(usize, usize)> {
    let width = character(name).1;
    match pattern.first()? {
        b'?' => Some((1, width)),
        b'[' => Some((class(pattern, character(name).0)?, width)),
        b'\\' => (pattern.get(1)? == name.first()?).then_some((2, 1)),
        byte => (byte == name.first()?).then_some((1, 1)),
    }
}

/// The first character and its length; a byte that begins none stands for itself.
fn character(text: &[u8]) -> (char, usize) {
    let end = text.len().min(4);
    let valid = match std::str::from_utf8(&text[..end]) {
        Ok(valid) => valid,
        Err(error) => std::str::from_utf8(&text[..error.valid_up_to()]).unwrap_or_default(),
    };
    match valid.chars().next() {
        Some(first) => (first, first.len_utf8()),
        None => (char::REPLACEMENT_CHARACTER, 1),
    }
}

/// Length of the class that `pattern` begins with, if it has `wanted`.
fn class(pattern: &[u8], wanted: char) -> Option<usize> {
    let mut at = 1;
    let is_negated = pattern.get(at) == Some(&b'^');
    at += usize::from(is_negated);
    let (mut is_in, mut count) = (false, 0);
    loop {
        if pattern.get(at) == Some(&b']') && count > 0 {
            return (is_in != is_negated).then_some(at + 1);
        }
        let low = bound(pattern, &mut at)?;
        let mut high = low;
        if pattern.get(at) == Some(&b'-') {
            at += 1;
            high = bound(pattern, &mut at)?;
        }
        is_in |= (low..=high).contains(&wanted);
        count += 1;
    }
}

fn bound(pattern: &[u8], at: &mut usize) -> Option<char> {
    match pattern.get(*at)? {
        b'-' | b']' => return None,
        b'\\' => *at += 1,
        _ => {}
    }
    pattern.get(*at)?;
    let (found, length) = character(&pattern[*at..]);
    *at += length;
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_go_means() {
        let yes = [
            ("abc", "abc"),
            ("*", "abc"),
            ("*c", "abc"),
            ("a*", "a"),
            ("a*b*c*d*e*", "axbxcxdxexxx"),
            ("ab[c]", "abc"),
            ("ab[b-d]", "abc"),
            ("ab[^e-g]", "abc"),
            ("a\\*b", "a*b"),
            ("a?b", "a☺b"),
            ("a[^a]b", "a☺b"),
            ("[\\]a]", "]"),
            ("package*.json", "package-lock.json"),
        ];
        let no = [
            ("a?", "a"),
            ("ab[e-g]", "abc"),
            ("ab[^c]", "abc"),
            ("a\\*b", "ab"),
            ("[]a]", "]"),
            ("[-]", "-"),
            ("[a-b-c]", "a"),
            ("[", "a"),
            ("[^", "a"),
            ("a[", "ab"),
        ];
        for (pattern, name) in yes {
            assert!(matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
        for (pattern, name) in no {
            assert!(!matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
        assert!(matches(b"*", b""));
    }

    proptest::proptest! {
        #[test]
        fn no_pattern_makes_it_fail(pattern: Vec<u8>, name: Vec<u8>) {
            matches(&pattern, &name);
        }
    }
}

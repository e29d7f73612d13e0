//! Go's literals: numbers and escapes in strings.

use serde_json::{Number, Value as Json};

/// The value of a number such as `3`, `-0x1f`, `017`, `1_000`, `2.5` or `1e3`.
pub(super) fn parse(text: &str) -> Result<Json, String> {
    let bad = || format!("bad number syntax: {text:?}");
    let negative = text.starts_with('-');
    let plain: String = text.trim_start_matches(['+', '-']).chars().filter(|c| *c != '_').collect();
    let lower = plain.to_ascii_lowercase();
    let (digits, radix) = match lower.get(..2) {
        Some("0x") => (&lower[2..], 16),
        Some("0b") => (&lower[2..], 2),
        Some("0o") => (&lower[2..], 8),
        _ => (&*lower, 10),
    };
    let decimal = radix == 10 && digits.contains(['.', 'e']);
    if decimal {
        let value: f64 = digits.parse().map_err(|_| bad())?;
        let value = if negative { -value } else { value };
        // As in Go, a whole number with a point or an exponent is also an integer.
        let whole = value.fract() == 0.0 && value.abs() < 9.0e15;
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 53 bits")]
        return if whole {
            Ok(Json::from(value as i64))
        } else {
            Number::from_f64(value).map(Json::Number).ok_or_else(bad)
        };
    }
    if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(bad());
    }
    let octal = radix == 10 && digits.len() > 1 && digits.starts_with('0');
    let value = i128::from_str_radix(digits, if octal { 8 } else { radix });
    let overflow = || format!("integer overflow: {text:?}");
    let value = value.map_err(|_| if octal { overflow() } else { bad() })?;
    let value = if negative { -value } else { value };
    match (i64::try_from(value), u64::try_from(value)) {
        (Ok(value), _) => Ok(Json::from(value)),
        (_, Ok(value)) => Ok(Json::from(value)),
        _ => Err(overflow()),
    }
}

/// What a string or character between quotes stands for; nothing if an escape is wrong.
pub(super) fn unescape(inner: &str, quote: char) -> Option<String> {
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(character) = rest.next() {
        if character != '\\' {
            text.push(character);
            continue;
        }
        let escaped = match rest.next()? {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '\\' => '\\',
            'x' => code(&mut rest, 2, 16)?,
            'u' => code(&mut rest, 4, 16)?,
            'U' => code(&mut rest, 8, 16)?,
            first @ '0'..='7' => {
                let digits: String = std::iter::once(first).chain(rest.by_ref().take(2)).collect();
                (digits.len() == 3).then_some(())?;
                char::from(u8::from_str_radix(&digits, 8).ok()?)
            }
            c if c == quote => c,
            _ => return None,
        };
        text.push(escaped);
    }
    Some(text)
}

fn code(rest: &mut std::str::Chars<'_>, length: usize, radix: u32) -> Option<char> {
    let digits: String = rest.by_ref().take(length).collect();
    (digits.chars().count() == length).then_some(())?;
    char::from_u32(u32::from_str_radix(&digits, radix).ok()?)
}

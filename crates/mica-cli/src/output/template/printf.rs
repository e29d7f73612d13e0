//! Go's `fmt` verbs over JSON values.

use super::value::type_name;
use serde_json::Value as Json;

/// The widest field and finest precision, as in Go.
const WIDTH_MAX: usize = 1_000_000;

/// One directive: `%-10.3f`.
#[derive(Debug, Clone, Copy, Default)]
struct Directive {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
    verb: char,
}

/// A value as `%v` writes it.
pub(super) fn plain(json: &Json) -> String {
    Directive { verb: 'v', ..Directive::default() }.value(json)
}

/// Values in a row, with spaces between neighbours of which none is a string.
pub(super) fn print(arguments: &[Json]) -> String {
    let mut text = String::new();
    for (index, argument) in arguments.iter().enumerate() {
        if index > 0 && !argument.is_string() && !arguments[index - 1].is_string() {
            text.push(' ');
        }
        text.push_str(&plain(argument));
    }
    text
}

/// Values with spaces between and a line end after them.
pub(super) fn println(arguments: &[Json]) -> String {
    arguments.iter().map(plain).collect::<Vec<_>>().join(" ") + "\n"
}

/// Formats as `fmt.Sprintf`, mistakes included in the text.
pub(super) fn printf(format: &str, arguments: &[Json]) -> String {
    let mut text = String::new();
    let mut rest = format;
    let mut used = 0;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        let (directive, length) = Directive::parse(after, arguments, &mut used, &mut text);
        rest = &after[length..];
        let Some(directive) = directive else {
            text.push_str("%!(NOVERB)");
            continue;
        };
        if directive.verb == '%' {
            text.push('%');
            continue;
        }
        match arguments.get(used) {
            Some(argument) => text.push_str(&directive.value(argument)),
            None => text.push_str(&format!("%!{}(MISSING)", directive.verb)),
        }
        used += 1;
    }
    text.push_str(rest);
    if used < arguments.len() {
        let extra: Vec<String> = arguments[used..].iter().map(typed).collect();
        text.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    text
}

fn typed(json: &Json) -> String {
    if json.is_null() { "<nil>".to_owned() } else { format!("{}={}", type_name(json), plain(json)) }
}

impl Directive {
    /// Reads a directive after its percent sign, and how long it is; none if the format ends.
    fn parse(after: &str, arguments: &[Json], used: &mut usize, text: &mut String) -> (Option<Self>, usize) {
        let mut directive = Self::default();
        let mut rest = after;
        loop {
            match rest.chars().next() {
                Some('-') => directive.minus = true,
                Some('+') => directive.plus = true,
                Some('#') => directive.sharp = true,
                Some(' ') => directive.space = true,
                Some('0') => directive.zero = true,
                _ => break,
            }
            rest = &rest[1..];
        }
        directive.width = amount(&mut rest, arguments, used, "%!(BADWIDTH)", text);
        if let Some(after_point) = rest.strip_prefix('.') {
            rest = after_point;
            directive.precision = Some(amount(&mut rest, arguments, used, "%!(BADPREC)", text).unwrap_or(0));
        }
        let Some(verb) = rest.chars().next() else { return (None, after.len()) };
        directive.verb = verb;
        (Some(directive), after.len() - rest.len() + verb.len_utf8())
    }

    fn value(self, json: &Json) -> String {
        match (self.verb, json) {
            ('T', _) => self.pad(type_name(json)),
            ('v', Json::Null) => self.pad("<nil>"),
            (verb, Json::Null) => format!("%!{verb}(<nil>)"),
            (_, Json::Array(items)) => {
                let items: Vec<String> = items.iter().map(|item| self.value(item)).collect();
                format!("[{}]", items.join(" "))
            }
            (_, Json::Object(map)) => {
                let mut entries: Vec<(&String, &Json)> = map.iter().collect();
                entries.sort_by_key(|(key, _)| *key);
                let key_text = |key: &str| self.string(key).unwrap_or_else(|| key.to_owned());
                let entries: Vec<String> = entries
                    .iter()
                    .map(|(key, value)| format!("{}:{}", key_text(key), self.value(value)))
                    .collect();
                format!("map[{}]", entries.join(" "))
            }
            ('v' | 't', Json::Bool(value)) => self.pad(if *value { "true" } else { "false" }),
            (_, Json::String(text)) => self.string(text).unwrap_or_else(|| self.wrong(json)),
            (_, Json::Number(number)) => {
                match (number.as_i64().map(i128::from), number.as_u64(), number.as_f64()) {
                    (Some(integer), ..) => self.integer(integer),
                    (None, Some(integer), _) => self.integer(i128::from(integer)),
                    (None, None, Some(float)) => self.float(float),
                    _ => None,
                }
                .unwrap_or_else(|| self.wrong(json))
            }
            _ => self.wrong(json),
        }
    }

    fn wrong(self, json: &Json) -> String {
        format!("%!{}({})", self.verb, typed(json))
    }

    fn string(self, text: &str) -> Option<String> {
        let cut: String = match self.precision {
            Some(precision) => text.chars().take(precision).collect(),
            None => text.to_owned(),
        };
        let hex = |upper: bool| {
            let digit = |byte: u8| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") };
            cut.bytes().map(digit).collect::<String>()
        };
        Some(match self.verb {
            'v' if self.sharp => self.pad(&quoted(&cut)),
            'v' | 's' => self.pad(&cut),
            'q' if self.sharp && !cut.contains('`') => self.pad(&format!("`{cut}`")),
            'q' => self.pad(&quoted(&cut)),
            'x' => self.pad(&hex(false)),
            'X' => self.pad(&hex(true)),
            _ => return None,
        })
    }

    fn integer(self, value: i128) -> Option<String> {
        let magnitude = value.unsigned_abs();
        let character = || u32::try_from(magnitude).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
        let (prefix, digits) = match self.verb {
            'v' | 'd' => ("", format!("{magnitude}")),
            'b' => ("0b", format!("{magnitude:b}")),
            'o' => ("0", format!("{magnitude:o}")),
            'O' => return Some(self.number(value < 0, &format!("0o{magnitude:o}"))),
            'x' => ("0x", format!("{magnitude:x}")),
            'X' => ("0X", format!("{magnitude:X}")),
            'c' => return Some(self.pad(character().encode_utf8(&mut [0; 4]))),
            'q' => return Some(self.pad(&format!("'{}'", character().escape_default()))),
            'U' => return Some(self.pad(&format!("U+{magnitude:04X}"))),
            _ => return None,
        };
        let digits = match self.precision {
            Some(precision) => format!("{digits:0>precision$}"),
            None => digits,
        };
        Some(self.number(value < 0, &if self.sharp { format!("{prefix}{digits}") } else { digits }))
    }

    fn float(self, value: f64) -> Option<String> {
        let magnitude = value.abs();
        let digits = match self.verb {
            'f' | 'F' => format!("{magnitude:.*}", self.precision.unwrap_or(6)),
            'e' => exponent(&format!("{magnitude:.*e}", self.precision.unwrap_or(6))),
            'E' => exponent(&format!("{magnitude:.*e}", self.precision.unwrap_or(6))).to_uppercase(),
            'v' | 'g' => general(magnitude, self.precision),
            'G' => general(magnitude, self.precision).to_uppercase(),
            _ => return None,
        };
        Some(self.number(value.is_sign_negative(), &digits))
    }

    /// Adds the sign, and zeros between it and the digits if wanted.
    fn number(self, negative: bool, digits: &str) -> String {
        let sign = match () {
            () if negative => "-",
            () if self.plus => "+",
            () if self.space => " ",
            () => "",
        };
        let width = self.width.unwrap_or(0).saturating_sub(sign.len());
        if self.zero && !self.minus && self.precision.is_none_or(|_| digits.contains('.')) {
            return format!("{sign}{digits:0>width$}");
        }
        self.pad(&format!("{sign}{digits}"))
    }

    fn pad(self, text: &str) -> String {
        let width = self.width.unwrap_or(0);
        match (self.minus, self.zero) {
            (true, _) => format!("{text:<width$}"),
            (false, true) => format!("{text:0>width$}"),
            (false, false) => format!("{text:>width$}"),
        }
    }
}

/// A width or precision: digits, or `*` for an argument.
fn amount(
    rest: &mut &str,
    arguments: &[Json],
    used: &mut usize,
    bad: &str,
    text: &mut String,
) -> Option<usize> {
    let value = if let Some(after) = rest.strip_prefix('*') {
        *rest = after;
        let value = arguments.get(*used).and_then(Json::as_u64).and_then(|value| usize::try_from(value).ok());
        *used += 1;
        value
    } else {
        let length = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, after) = rest.split_at(length);
        *rest = after;
        if digits.is_empty() {
            return None;
        }
        digits.parse().ok()
    };
    let value = value.filter(|value| *value <= WIDTH_MAX);
    if value.is_none() {
        text.push_str(bad);
    }
    // Rust's own formatter takes no more than this.
    value.map(|value| value.min(usize::from(u16::MAX)))
}

/// Rust's `1.5e3` as Go's `1.5e+03`.
fn exponent(text: &str) -> String {
    let Some((mantissa, exponent)) = text.split_once('e') else { return text.to_owned() };
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// `%g`: the shortest form, with an exponent when it is far from one.
fn general(magnitude: f64, precision: Option<usize>) -> String {
    let scientific = match precision {
        Some(digits) => format!("{magnitude:.*e}", digits.max(1) - 1),
        None => format!("{magnitude:e}"),
    };
    let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    let limit = precision.map_or(21, |digits| i32::try_from(digits.max(1)).unwrap_or(21));
    let trimmed =
        if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    if power < -4 || power >= limit {
        return exponent(&format!("{trimmed}e{power}"));
    }
    let rounded: f64 = scientific.parse().unwrap_or(magnitude);
    format!("{rounded}")
}

/// A string in double quotes with Go's escapes.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            c if c.is_control() && u32::from(c) < 0x80 => {
                quoted.push_str(&format!("\\x{:02x}", u32::from(c)))
            }
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

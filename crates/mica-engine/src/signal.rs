//! Signals by name or number, as `kill` takes them.

use crate::error::{Error, Result};

/// SIGKILL.
pub(crate) const KILL: i32 = 9;

/// SIGTERM, the stop signal of a container that names none.
pub(crate) const TERM: i32 = 15;

/// Reads `9`, `KILL`, `SIGKILL`, `kill`, `RTMIN+3`… (signal(7)).
pub(crate) fn parse(text: &str) -> Result<i32> {
    let invalid = || Error::invalid(format!("invalid signal: {text}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=64).contains(&number) { Ok(number) } else { Err(invalid()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(&(_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(number);
    }
    let offset =
        |rest: &str, sign: char| rest.strip_prefix(sign).and_then(|digits| digits.parse::<i32>().ok());
    let real_time = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => Some(34),
        (_, Some("")) => Some(64),
        (Some(rest), _) => offset(rest, '+').map(|up| 34 + up),
        (_, Some(rest)) => offset(rest, '-').map(|down| 64 - down),
        _ => None,
    };
    real_time.filter(|number| (34..=64).contains(number)).ok_or_else(invalid)
}

/// Name and number on the architectures that Mica runs on (x86_64 and aarch64 agree).
const NAMES: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_real_time() {
        for (text, number) in [("9", 9), ("sigterm", 15), ("HUP", 1), ("RTMIN+3", 37), ("SIGRTMAX-1", 63)] {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
        for text in ["0", "65", "NOPE", "RTMIN+99", "", "SIG"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

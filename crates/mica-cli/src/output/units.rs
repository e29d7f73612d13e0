//! Sizes in docker's words: `1.24MB`, `1.5GiB`; durations are in [`mica_model::duration`].

pub use mica_model::duration::{DurationError, format_duration, human_duration, parse_duration};

const DECIMAL: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
const BINARY: [&str; 9] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];

/// A size in units of 1000 with four significant digits: `1.235MB`.
pub fn human_size(bytes: f64) -> String {
    scaled(bytes, 1000.0, &DECIMAL, 4)
}

/// A size in units of 1000 with three significant digits, as in listings of images: `1.24MB`.
pub fn human_size_short(bytes: f64) -> String {
    scaled(bytes, 1000.0, &DECIMAL, 3)
}

/// A size in units of 1024 with four significant digits, as in `stats`: `1.5GiB`.
pub fn binary_size(bytes: f64) -> String {
    scaled(bytes, 1024.0, &BINARY, 4)
}

fn scaled(bytes: f64, base: f64, units: &[&str; 9], digits: usize) -> String {
    let mut value = bytes;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    let mut text = significant(value, digits);
    // 999.95 kB rounds to a thousand; docker would write "1e+03kB" here.
    if text.parse() == Ok(base) && unit + 1 < units.len() {
        text = significant(1.0, digits);
        unit += 1;
    }
    format!("{text}{}", units[unit])
}

/// A number with so many significant digits, without zeros at the end, never with an exponent.
fn significant(value: f64, digits: usize) -> String {
    let scientific = format!("{value:.*e}", digits.saturating_sub(1));
    let exponent: i32 =
        scientific.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    let decimals = usize::try_from(i32::try_from(digits).unwrap_or(4) - 1 - exponent).unwrap_or(0);
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, short, long, binary) in [
            (0.0, "0B", "0B", "0B"),
            (999.0, "999B", "999B", "999B"),
            (1000.0, "1kB", "1kB", "1000B"),
            (1_236_123.0, "1.24MB", "1.236MB", "1.179MiB"),
            (4_863_000_000.0, "4.86GB", "4.863GB", "4.529GiB"),
            (999_950.0, "1MB", "1MB", "976.5KiB"),
            (77_800_000.0, "77.8MB", "77.8MB", "74.2MiB"),
        ] {
            assert_eq!(
                (&*human_size_short(bytes), &*human_size(bytes), &*binary_size(bytes)),
                (short, long, binary)
            );
        }
        assert_eq!(binary_size(1.5 * 1024.0 * 1024.0 * 1024.0), "1.5GiB");
    }
}

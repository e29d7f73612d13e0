//! Instants as filters write them: Unix seconds, RFC 3339, or an age such as `24h`.

use mica_model::Timestamp;

/// Reads an instant; an age counts back from `now`.
pub(crate) fn parse(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Ok(age @ 1..) = mica_model::duration::parse_duration(text) {
        return Some(Timestamp::from_nanoseconds(now.nanoseconds().saturating_sub(age)));
    }
    if let Ok(seconds) = text.parse::<f64>() {
        return seconds.is_finite().then(|| Timestamp::from_nanoseconds((seconds * 1e9) as i64));
    }
    let forms = [text.to_owned(), format!("{text}Z"), format!("{text}:00Z"), format!("{text}T00:00:00Z")];
    forms.iter().find_map(|form| form.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_dates() {
        let now = Timestamp::from_seconds(100_000);
        assert_eq!(parse("1h30m", now), Some(Timestamp::from_seconds(100_000 - 5_400)));
        assert_eq!(parse("1500000000", now), Some(Timestamp::from_seconds(1_500_000_000)));
        assert_eq!(parse("2017-07-14T02:40:00Z", now), Some(Timestamp::from_seconds(1_500_000_000)));
        assert_eq!(parse("2017-07-14", now), Some(Timestamp::from_seconds(1_499_990_400)));
        assert_eq!(parse("soon", now), None);
    }
}

//! `history`: what was built lately, and what it told.

pub mod inspect;
pub mod logs;
pub mod ls;
pub mod rm;

use mica_api::types::build::{BuildRecord, BuildStatus};

/// A state, as docker's builder calls it.
const fn status(record: &BuildRecord) -> &'static str {
    match record.status {
        BuildStatus::Running => "Running",
        BuildStatus::Completed => "Completed",
        BuildStatus::Failed => "Error",
        BuildStatus::Cancelled => "Canceled",
    }
}

/// How long a build took, or has taken until `now`, in nanoseconds.
fn length(record: &BuildRecord, now: i64) -> i64 {
    (record.completed.unwrap_or(now) - record.started).max(0)
}

/// `1.3s`, `2m 05s`.
fn shown_length(nanoseconds: i64) -> String {
    const SECOND: i64 = 1_000_000_000;
    let seconds = nanoseconds / SECOND;
    match seconds {
        0..60 => format!("{seconds}.{}s", nanoseconds % SECOND / (SECOND / 10)),
        _ => format!("{}m {:>2}s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_short() {
        assert_eq!(shown_length(1_390_000_000), "1.3s");
        assert_eq!(shown_length(61_000_000_000), "1m  1s");
    }
}

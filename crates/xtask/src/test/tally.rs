//! Counts what passed and what failed, from the closing lines of test programs and from single checks.

/// How many passed and how many failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Those that held.
    pub passed: usize,
    /// Those that did not.
    pub failed: usize,
}

impl Tally {
    /// One check.
    pub(crate) fn one(held: bool) -> Self {
        Self { passed: usize::from(held), failed: usize::from(!held) }
    }

    /// What a line of `cargo test` adds: `test result: ok. 3 passed; 0 failed; …`, or nothing.
    pub(crate) fn of_line(line: &str) -> Self {
        let Some(rest) = line.strip_prefix("test result: ") else { return Self::default() };
        let words: Vec<&str> = rest.split([' ', ';']).collect();
        let before = |name| {
            let at = words.iter().position(|&word| word == name);
            at.and_then(|at| words.get(at.checked_sub(1)?))
                .and_then(|number| number.parse().ok())
                .unwrap_or(0)
        };
        Self { passed: before("passed"), failed: before("failed") }
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_counted_and_others_are_not() {
        let line = "test result: FAILED. 15 passed; 3 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.05s";
        assert_eq!(Tally::of_line(line), Tally { passed: 15, failed: 3 });
        assert_eq!(Tally::of_line("test a::b ... ok"), Tally::default());
    }

    #[test]
    fn sums_are_shown_as_one_line() {
        let mut tally = Tally::one(true);
        tally += Tally::one(false);
        assert_eq!(tally.to_string(), "1 passed, 1 failed");
    }
}

//! What a finished command left behind, with the assertions that tests make about it.

use std::fmt::Write as _;

/// The end of a command: what was typed, what was printed, how it ended.
///
/// Every assertion returns the output again, so that several can be chained, and shows the whole of it when it fails.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command line, for messages.
    pub typed: String,
    /// Everything on standard output.
    pub stdout: Vec<u8>,
    /// Everything on standard error.
    pub stderr: Vec<u8>,
    /// The exit code; 128 + n when signal n ended the command itself.
    pub code: i32,
}

impl Output {
    /// Standard output as text, with anything that is not UTF-8 replaced.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text, with anything that is not UTF-8 replaced.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Standard output without surrounding white space: an id, a name, a single value.
    pub fn line(&self) -> String {
        self.stdout().trim().to_owned()
    }

    /// Standard output, line by line.
    pub fn lines(&self) -> Vec<String> {
        self.stdout().lines().map(str::to_owned).collect()
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    /// If it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON: {error}\n{}", self.describe()))
    }

    /// Asserts that the command succeeded.
    ///
    /// # Panics
    /// If the exit code is not 0.
    #[track_caller]
    pub fn success(&self) -> &Self {
        self.code(0)
    }

    /// Asserts the exit code.
    ///
    /// # Panics
    /// If it is another.
    #[track_caller]
    pub fn code(&self, expected: i32) -> &Self {
        assert!(self.code == expected, "expected exit code {expected}\n{}", self.describe());
        self
    }

    /// Asserts that the command failed, in whatever way.
    ///
    /// # Panics
    /// If the exit code is 0.
    #[track_caller]
    pub fn failure(&self) -> &Self {
        assert!(self.code != 0, "expected a failure\n{}", self.describe());
        self
    }

    /// Asserts the whole of standard output.
    ///
    /// # Panics
    /// If it differs.
    #[track_caller]
    pub fn stdout_is(&self, expected: &str) -> &Self {
        assert!(self.stdout() == expected, "expected standard output {expected:?}\n{}", self.describe());
        self
    }

    /// Checks standard error, whole.
    ///
    /// # Panics
    /// If it is something else.
    #[track_caller]
    pub fn stderr_is(&self, expected: &str) -> &Self {
        assert!(
            self.stderr() == expected,
            "{expected:?} was expected on standard error: {}",
            self.describe()
        );
        self
    }

    /// Asserts that standard output has a part.
    ///
    /// # Panics
    /// If it lacks the part.
    #[track_caller]
    pub fn stdout_contains(&self, part: &str) -> &Self {
        assert!(self.stdout().contains(part), "expected {part:?} in standard output\n{}", self.describe());
        self
    }

    /// Asserts that standard error lacks a part.
    ///
    /// # Panics
    /// If it has the part.
    #[track_caller]
    pub fn stderr_lacks(&self, part: &str) -> &Self {
        assert!(!self.stderr().contains(part), "unexpected {part:?} in standard error\n{}", self.describe());
        self
    }

    /// Asserts that standard output lacks a part.
    ///
    /// # Panics
    /// If it has the part.
    #[track_caller]
    pub fn stdout_lacks(&self, part: &str) -> &Self {
        assert!(
            !self.stdout().contains(part),
            "expected no {part:?} in standard output\n{}",
            self.describe()
        );
        self
    }

    /// Asserts that standard error has a part.
    ///
    /// # Panics
    /// If it lacks the part.
    #[track_caller]
    pub fn stderr_contains(&self, part: &str) -> &Self {
        assert!(self.stderr().contains(part), "expected {part:?} in standard error\n{}", self.describe());
        self
    }

    /// Asserts that nothing was said on standard error.
    ///
    /// # Panics
    /// If something was.
    #[track_caller]
    pub fn stderr_is_empty(&self) -> &Self {
        assert!(self.stderr.is_empty(), "expected nothing on standard error\n{}", self.describe());
        self
    }

    /// The whole output as a paragraph, for messages of failed assertions.
    pub fn describe(&self) -> String {
        let mut text = format!("$ {}\nexit code {}\n", self.typed, self.code);
        for (name, bytes) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(8192)]);
            let _ = write!(text, "--- {name} ({} bytes)\n{shown}\n", bytes.len());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Output {
        Output { typed: "mica ps".into(), stdout: b"one\ntwo\n".to_vec(), stderr: Vec::new(), code: 3 }
    }

    #[test]
    fn assertions_pass_on_what_is_there() {
        sample()
            .code(3)
            .failure()
            .stdout_is("one\ntwo\n")
            .stdout_contains("two")
            .stdout_lacks("three")
            .stderr_is_empty();
        assert_eq!(sample().lines(), ["one", "two"]);
        assert_eq!(sample().line(), "one\ntwo");
    }

    #[test]
    #[should_panic(expected = "expected exit code 0")]
    fn success_refuses_another_code() {
        sample().success();
    }

    #[test]
    #[should_panic(expected = "$ mica ps")]
    fn a_failed_assertion_shows_the_command() {
        sample().stderr_contains("nothing");
    }
}

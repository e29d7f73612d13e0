//! Which files of a context are left out: `.dockerignore`, and the patterns of `COPY --exclude`.
//!
//! The rules are docker's: the last pattern that matches decides, one with `!` takes back in, and what matches a
//! directory holds for all below it. A walk asks for each entry with what its directory was told, so that a pattern is
//! never tried again for what lies below; [`IgnoreRules::may_include_below`] tells when a directory need not be walked.

mod glob;
mod path;

use glob::Glob;
pub use path::clean;

/// The name of the file at the root of a context.
pub const IGNORE_FILE: &str = ".dockerignore";

/// The ignore file that comes before [`IGNORE_FILE`]: the one beside the Dockerfile, named after it.
pub fn ignore_file_of(dockerfile: &str) -> String {
    format!("{dockerfile}{IGNORE_FILE}")
}

/// The patterns of an ignore file.
#[derive(Debug, Default)]
pub struct IgnoreRules {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    glob: Glob,
    /// Whether it takes back in: written with `!`.
    includes: bool,
}

/// What a directory was told, for the entries in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inherited {
    /// Which patterns matched; empty at the root.
    matched: Vec<bool>,
}

/// What becomes of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is left out.
    pub is_ignored: bool,
    /// For the entries in it, when it is a directory.
    pub inherited: Inherited,
}

/// Why a pattern is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    /// Only `!`.
    #[error("illegal exclusion pattern: \"!\"")]
    OnlyException,
    /// Brackets that are not closed, or an escape of nothing.
    #[error("syntax error in pattern {pattern:?}")]
    Syntax {
        /// The pattern.
        pattern: String,
    },
}

impl IgnoreError {
    /// What kind of failure this is.
    pub const fn kind(&self) -> mica_model::ErrorKind {
        mica_model::ErrorKind::InvalidArgument
    }
}

impl IgnoreRules {
    /// Reads an ignore file: a pattern a line, and comments that begin with `#`.
    ///
    /// # Errors
    /// The first pattern that is none.
    pub fn parse(text: &str) -> Result<Self, IgnoreError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.lines().filter(|line| !line.starts_with('#')).map(str::trim);
        let patterns = lines.filter(|line| !line.is_empty()).map(|line| {
            let (mark, pattern) = line.strip_prefix('!').map_or(("", line), |rest| ("!", rest.trim()));
            let cleaned = if pattern.is_empty() { String::new() } else { clean(pattern) };
            // Paths of a context have no leading slash.
            let relative = if cleaned.len() > 1 { cleaned.trim_start_matches('/') } else { &cleaned };
            format!("{mark}{relative}")
        });
        Self::from_patterns(patterns)
    }

    /// Takes patterns as they are, such as those of `--exclude`.
    ///
    /// # Errors
    /// The first one that is none.
    pub fn from_patterns<P: AsRef<str>>(patterns: impl IntoIterator<Item = P>) -> Result<Self, IgnoreError> {
        let mut rules = Vec::new();
        for pattern in patterns {
            let pattern = pattern.as_ref().trim();
            if pattern.is_empty() {
                continue;
            }
            let pattern = clean(pattern);
            let (includes, pattern) =
                pattern.strip_prefix('!').map_or((false, pattern.as_str()), |rest| (true, rest));
            if pattern.is_empty() {
                return Err(IgnoreError::OnlyException);
            }
            let glob =
                Glob::new(pattern).ok_or_else(|| IgnoreError::Syntax { pattern: pattern.to_owned() })?;
            rules.push(Rule { glob, includes });
        }
        Ok(Self { rules })
    }

    /// Whether nothing is left out.
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What becomes of an entry, given by its path in the context (`a/b`), in a directory that was told this.
    pub fn judge(&self, path: &str, directory: &Inherited) -> Verdict {
        let mut is_ignored = false;
        let mut inherited = Inherited { matched: vec![false; self.rules.len()] };
        for (at, rule) in self.rules.iter().enumerate() {
            let from_directory = directory.matched.get(at).copied().unwrap_or_default();
            // A pattern that would change nothing is not tried.
            let matches = from_directory || rule.includes == is_ignored && rule.glob.matches(path);
            inherited.matched[at] = matches;
            if matches {
                is_ignored = !rule.includes;
            }
        }
        Verdict { is_ignored, inherited }
    }

    /// Whether a single path is left out, the directories above it considered.
    pub fn ignores(&self, path: &str) -> bool {
        let above = path.match_indices('/').map(|(at, _)| &path[..at]);
        let directory =
            above.fold(Inherited::default(), |inherited, path| self.judge(path, &inherited).inherited);
        self.judge(path, &directory).is_ignored
    }

    /// Whether some pattern may take back in what lies below a directory that is left out. If not, it need not be
    /// walked.
    pub fn may_include_below(&self, directory: &str) -> bool {
        self.rules.iter().any(|rule| rule.includes && rule.glob.may_match_below(directory))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules(text: &str) -> IgnoreRules {
        IgnoreRules::parse(text).unwrap()
    }

    /// Expects of each path whether it is left out.
    fn check(text: &str, ignored: &[&str], kept: &[&str]) {
        let rules = rules(text);
        for path in ignored {
            assert!(rules.ignores(path), "{text:?} should leave out {path:?}");
        }
        for path in kept {
            assert!(!rules.ignores(path), "{text:?} should keep {path:?}");
        }
    }

    #[test]
    fn patterns_begin_at_the_root_and_hold_for_all_below() {
        check("a", &["a", "a/b", "a/b/c"], &["b/a", "ab"]);
        check("/a/", &["a", "a/b"], &["b"]);
        check("./a/../b", &["b"], &["a"]);
        check("a/*", &["a/b", "a/b/c"], &["a"]);
        check("*.md", &["x.md"], &["a/x.md"]);
        check("?a", &["ba"], &["a", "/a"]);
        check("[a-c]x", &["ax", "cx/y"], &["dx"]);
        check("[^a]x", &["bx"], &["ax"]);
        check("a\\*", &["a*"], &["ab"]);
        check("*", &["a", "a/b"], &[]);
        check(".", &[], &["a"]);
    }

    #[test]
    fn double_stars_match_any_number_of_directories() {
        check("**/a", &["a", "b/a", "b/c/a", "b/a/x"], &["ba", "b/ba"]);
        check("**a", &["a", "ba", "b/ba"], &["ab"]);
        check("a/**", &["a/b", "a/b/c"], &["a", "ab"]);
        check("a**", &["a", "ab", "ab/c"], &["ba"]);
        check("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["ab", "a/xb"]);
        check("**/*.md", &["x.md", "a/x.md"], &["x.mdx"]);
        check("**", &["a", "a/b"], &[]);
    }

    #[test]
    fn the_last_match_decides_and_exceptions_take_back_in() {
        check("*\n!a", &["b"], &["a", "a/b"]);
        check("!a\n*", &["a", "b"], &[]);
        check("a\n!a/b\na/b/c", &["a", "a/x", "a/b/c"], &["a/b", "a/b/d"]);
        check("**\n!**/*.rs", &["a", "a/b"], &["a/b.rs"]);
        check("*.md\n!README*.md\nREADME-secret.md", &["a.md", "README-secret.md"], &["README.md"]);
        check("a\n! a/b", &["a/c"], &["a/b"]);
    }

    #[test]
    fn comments_blanks_and_marks_are_skipped() {
        check("\u{feff}# no\n\n  a  \r\n #b\n", &["a", "#b"], &["no"]);
        assert!(rules("# only\n \n").is_empty());
    }

    #[test]
    fn what_is_no_pattern_is_an_error() {
        assert_eq!(IgnoreRules::parse("!").unwrap_err(), IgnoreError::OnlyException);
        for pattern in ["[", "a[]", "[a", "a\\", "[a-]", "[]a]", "[-a]"] {
            assert!(matches!(IgnoreRules::parse(pattern), Err(IgnoreError::Syntax { .. })), "{pattern}");
        }
    }

    #[test]
    fn directories_without_exceptions_below_need_no_walk() {
        let below = |text, directory| rules(text).may_include_below(directory);
        assert!(!below("a\nb", "a"));
        assert!(!below("a\n!b/c", "a"));
        assert!(below("a\n!a/b/c", "a"));
        assert!(below("a\n!a/b/c", "a/b"));
        assert!(!below("a\n!a/b/c", "a/x"));
        assert!(below("*\n!**/*.rs", "node_modules"));
        assert!(below("a\n!a*/c", "a"));
        assert!(!below("a\n!x*/c", "a"));
        assert!(below("a\n!*/c", "a"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_file_or_an_error(text in "[a-c*?!/\\[\\]\\\\#.\n -]{0,40}", path in "[a-c]{1,2}(/[a-c]{1,2}){0,3}") {
            if let Ok(rules) = IgnoreRules::parse(&text) {
                rules.ignores(&path);
            }
        }

        #[test]
        fn nothing_is_kept_below_a_directory_that_need_not_be_walked(
            patterns in proptest::collection::vec("!?[ab*?]{1,2}(/[ab*?]{1,2}){0,2}", 1..5),
            directory in "[ab]{1,2}(/[ab]{1,2}){0,1}",
            below in "[ab]{1,2}(/[ab]{1,2}){0,1}",
        ) {
            let rules = IgnoreRules::from_patterns(&patterns).unwrap();
            if rules.ignores(&directory) && !rules.may_include_below(&directory) {
                let path = format!("{directory}/{below}");
                prop_assert!(rules.ignores(&path));
            }
        }
    }
}

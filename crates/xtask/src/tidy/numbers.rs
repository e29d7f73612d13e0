//! The numbers of the code, as a table for people.

use super::source::Source;
use std::collections::BTreeMap;

/// How many unwraps and expects there may be in a thousand lines.
pub(super) const PANICS_PER_THOUSAND: usize = 1;

/// What is counted over all product files.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    files: Vec<usize>,
    functions: Vec<usize>,
    crates: BTreeMap<String, usize>,
    /// Unwraps and expects outside of tests.
    pub panics: Vec<String>,
    unsafe_blocks: usize,
    comment_lines: usize,
    test_lines: usize,
}

impl Numbers {
    /// Counts a file in.
    pub(super) fn add(&mut self, source: &Source) {
        let size = source.size();
        self.test_lines += source
            .code
            .iter()
            .zip(&source.in_test)
            .filter(|(code, test)| **test && !code.trim().is_empty())
            .count();
        if size == 0 {
            return;
        }
        self.files.push(size);
        self.functions.extend(source.functions().iter().map(|function| function.size));
        let owner =
            source.path.components().nth(1).map(|part| part.as_os_str().to_string_lossy().into_owned());
        *self.crates.entry(owner.unwrap_or_default()).or_default() += size;
        self.comment_lines += source.comments.iter().filter(|(line, _)| !source.in_test[*line]).count();
        for (line, code) in source.product_lines() {
            self.unsafe_blocks += code.matches("unsafe {").count();
            if [".unwrap()", ".expect("].iter().any(|call| code.contains(call)) {
                self.panics.push(format!("{}:{}", source.path.display(), line + 1));
            }
        }
    }

    /// How many lines of code there are.
    pub(super) fn lines(&self) -> usize {
        self.files.iter().sum()
    }

    /// The table.
    pub(super) fn table(mut self) -> String {
        let lines = self.lines();
        self.files.sort_unstable();
        self.functions.sort_unstable();
        let (files, functions) = (&self.files, &self.functions);
        let long = functions.iter().filter(|size| **size > super::rules::FUNCTION_AIM).count();
        let mut rows = vec![
            format!(
                "lines of code        {lines} in {} files, {} lines of tests",
                files.len(),
                self.test_lines
            ),
            format!(
                "file                 median {}, p90 {}, max {}",
                at(files, 50),
                at(files, 90),
                at(files, 100)
            ),
            format!(
                "function             median {}, p90 {}, p99 {}, max {}; {long} of {} above {}",
                at(functions, 50),
                at(functions, 90),
                at(functions, 99),
                at(functions, 100),
                functions.len(),
                super::rules::FUNCTION_AIM
            ),
            format!("comment lines        {} % of code", 100 * self.comment_lines / lines.max(1)),
            format!("unsafe blocks        {}", self.unsafe_blocks),
            format!("unwraps and expects  {}", self.panics.len()),
        ];
        rows.extend(
            self.crates
                .iter()
                .map(|(name, size)| format!("  {name:<18} {size:>6}  {:>3} %", 100 * size / lines.max(1))),
        );
        rows.join("\n")
    }
}

/// The value at a percentile of sorted numbers.
fn at(sorted: &[usize], percentile: usize) -> usize {
    let last = sorted.len().saturating_sub(1);
    sorted.get(last * percentile / 100).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn only_product_code_is_counted() {
        let text =
            "//! Head.\nfn a() { b().unwrap() }\n#[cfg(test)]\nmod tests {\n    fn c() { d().unwrap() }\n}\n";
        let mut numbers = Numbers::default();
        numbers.add(&Source::new(Path::new("crates/mica-x/src/a.rs"), text, false));
        assert_eq!(numbers.lines(), 1);
        assert_eq!(numbers.panics, ["crates/mica-x/src/a.rs:2"]);
        assert!(numbers.table().contains("mica-x"));
    }

    #[test]
    fn percentiles_of_few() {
        assert_eq!((at(&[], 50), at(&[3], 99), at(&[1, 2, 3], 50), at(&[1, 2, 3], 100)), (0, 3, 2, 3));
    }
}

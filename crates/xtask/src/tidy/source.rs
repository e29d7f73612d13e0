//! One Rust file, taken apart as far as the rules need: what is code, what is comment, what is test.
//!
//! A light scanner, not a parser: it knows comments, strings, characters and braces, and nothing of types.

use std::path::{Path, PathBuf};

/// A file of Rust.
#[derive(Debug)]
pub(super) struct Source {
    /// Its path inside the working copy.
    pub path: PathBuf,
    /// Its lines as they are.
    pub lines: Vec<String>,
    /// Its lines with comments and the insides of strings blanked out.
    pub code: Vec<String>,
    /// Comments with the number of their line, counted from 0, and without anything before them.
    pub comments: Vec<(usize, String)>,
    /// For each line, whether it belongs to tests.
    pub in_test: Vec<bool>,
}

/// A function with a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Function {
    /// Its name.
    pub name: String,
    /// Its first line, counted from 0.
    pub line: usize,
    /// Its lines of code, signature and braces included.
    pub size: usize,
}

impl Source {
    /// Takes a file apart; `is_test` says that all of it is test.
    pub(super) fn new(path: &Path, text: &str, is_test: bool) -> Self {
        let (code, comments) = split(text);
        let code: Vec<String> = code.lines().map(str::to_owned).collect();
        let mut in_test = vec![is_test; code.len()];
        for (line, _) in code.iter().enumerate().filter(|(_, line)| line.trim() == "#[cfg(test)]") {
            let end = block_end(&code, line, 0).unwrap_or(line);
            in_test[line..=end].fill(true);
        }
        Self {
            path: path.to_path_buf(),
            lines: text.lines().map(str::to_owned).collect(),
            code,
            comments,
            in_test,
        }
    }

    /// The names of modules that are for tests only and lie in files of their own.
    pub(super) fn test_modules(&self) -> Vec<String> {
        let marked = self.code.windows(2).filter(|pair| pair[0].trim() == "#[cfg(test)]");
        marked.filter_map(|pair| pair[1].split("mod ").nth(1)?.strip_suffix(';').map(str::to_owned)).collect()
    }

    /// How many lines of code there are outside of tests; blank lines and comments do not count.
    pub(super) fn size(&self) -> usize {
        self.product_lines().count()
    }

    /// The lines of code outside of tests, with their numbers.
    pub(super) fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self
            .code
            .iter()
            .enumerate()
            .filter(|(line, code)| !self.in_test[*line] && !code.trim().is_empty());
        lines.map(|(line, code)| (line, code.as_str()))
    }

    /// The functions outside of tests.
    pub(super) fn functions(&self) -> Vec<Function> {
        self.product_lines().filter_map(|(line, code)| self.function(line, code)).collect()
    }

    fn function(&self, line: usize, code: &str) -> Option<Function> {
        let start = function_start(code)?;
        let name = words(&code[start + 2..]).next()?.to_owned();
        let end = block_end(&self.code, line, start)?;
        let size = self.code[line..=end].iter().filter(|line| !line.trim().is_empty()).count();
        Some(Function { name, line, size })
    }
}

/// The words of a line of code: runs of letters, digits and underscores.
pub(super) fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|letter: char| !letter.is_alphanumeric() && letter != '_').filter(|word| !word.is_empty())
}

/// Where `fn` stands before a name, which sets functions apart from pointers to them.
fn function_start(code: &str) -> Option<usize> {
    let starts_name =
        |at: usize| code[at + 3..].starts_with(|letter: char| letter.is_alphabetic() || letter == '_');
    let stands_alone =
        |at: usize| !code[..at].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_');
    code.match_indices("fn ").map(|(at, _)| at).find(|at| stands_alone(*at) && starts_name(*at))
}

/// The line on which the first block after a place closes; nothing when a `;` comes before any block.
fn block_end(code: &[String], line: usize, column: usize) -> Option<usize> {
    let (mut braces, mut brackets) = (0_i32, 0_i32);
    for (number, text) in code.iter().enumerate().skip(line) {
        let skipped = if number == line { column } else { 0 };
        for letter in text[skipped..].chars() {
            match letter {
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets -= 1,
                '{' => braces += 1,
                '}' => {
                    braces -= 1;
                    if braces == 0 && brackets == 0 {
                        return Some(number);
                    }
                }
                ';' if braces == 0 && brackets == 0 => return None,
                _ => {}
            }
        }
    }
    None
}

/// What the scanner is inside of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inside {
    Code,
    LineComment,
    BlockComment(usize),
    Text,
    RawText(usize),
}

/// The scanner at work.
struct Splitter<'text> {
    rest: &'text str,
    inside: Inside,
    code: String,
    line: usize,
    comments: Vec<(usize, String)>,
}

/// Splits a text into its code (with blanks where comments and insides of strings were) and its comments.
fn split(text: &str) -> (String, Vec<(usize, String)>) {
    let mut splitter = Splitter {
        rest: text,
        inside: Inside::Code,
        code: String::with_capacity(text.len()),
        line: 0,
        comments: Vec::new(),
    };
    while !splitter.rest.is_empty() {
        splitter.step();
    }
    (splitter.code, splitter.comments)
}

impl Splitter<'_> {
    fn step(&mut self) {
        match self.inside {
            Inside::Code => self.step_code(),
            Inside::LineComment if self.rest.starts_with('\n') => {
                self.inside = Inside::Code;
                self.take(1, true);
            }
            Inside::BlockComment(depth) if self.rest.starts_with("*/") => {
                self.inside = if depth == 1 { Inside::Code } else { Inside::BlockComment(depth - 1) };
                self.take(2, false);
            }
            Inside::BlockComment(depth) if self.rest.starts_with("/*") => {
                self.inside = Inside::BlockComment(depth + 1);
                self.take(2, false);
            }
            Inside::LineComment | Inside::BlockComment(_) => self.take_comment(),
            Inside::Text if self.rest.starts_with('\\') => self.take(2, false),
            Inside::Text if self.rest.starts_with('"') => self.leave(1),
            Inside::RawText(hashes) if self.ends_raw(hashes) => self.leave(1 + hashes),
            Inside::Text | Inside::RawText(_) => self.take(1, false),
        }
    }

    fn step_code(&mut self) {
        if self.rest.starts_with("//") {
            self.comments.push((self.line, String::new()));
            self.inside = Inside::LineComment;
        } else if self.rest.starts_with("/*") {
            self.comments.push((self.line, String::new()));
            self.inside = Inside::BlockComment(1);
            self.take(2, false);
        } else if let Some((length, inside)) = self.text_start() {
            self.inside = inside;
            self.take(length, true);
        } else if let Some(length) = self.character() {
            self.take(length, false);
        } else {
            self.take(1, true);
        }
    }

    /// A string's start: how long its opening is, and its kind.
    fn text_start(&self) -> Option<(usize, Inside)> {
        if self.rest.starts_with('"') {
            return Some((1, Inside::Text));
        }
        let after_word = self.code.ends_with(|letter: char| letter.is_alphanumeric() || letter == '_');
        let raw = ["r", "br", "cr"].into_iter().find_map(|prefix| self.rest.strip_prefix(prefix))?;
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let length = self.rest.len() - raw.len() + hashes + 1;
        (!after_word && raw[hashes..].starts_with('"')).then_some((length, Inside::RawText(hashes)))
    }

    /// How long the character literal here is; nothing for a lifetime.
    fn character(&self) -> Option<usize> {
        let inner = self.rest.strip_prefix('\'')?;
        if let Some(escaped) = inner.strip_prefix('\\') {
            let first = escaped.chars().next()?.len_utf8();
            return escaped[first..].find('\'').map(|end| 2 + first + end + 1);
        }
        let first = inner.chars().next()?.len_utf8();
        inner[first..].starts_with('\'').then_some(1 + first + 1)
    }

    fn ends_raw(&self, hashes: usize) -> bool {
        self.rest
            .strip_prefix('"')
            .is_some_and(|rest| rest.len() - rest.trim_start_matches('#').len() >= hashes)
    }

    fn leave(&mut self, length: usize) {
        self.inside = Inside::Code;
        self.take(length, true);
    }

    fn take_comment(&mut self) {
        if let (Some(letter), Some((_, text))) = (self.rest.chars().next(), self.comments.last_mut()) {
            text.push(letter);
        }
        self.take(1, false);
    }

    /// Moves so many characters on, as code or as blanks.
    fn take(&mut self, count: usize, as_code: bool) {
        for letter in self.rest.chars().take(count) {
            self.line += usize::from(letter == '\n');
            self.code.push(if as_code || letter == '\n' { letter } else { ' ' });
        }
        let length = self.rest.chars().take(count).map(char::len_utf8).sum();
        self.rest = &self.rest[length..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new(Path::new("a.rs"), text, false)
    }

    #[test]
    fn comments_and_strings_are_no_code() {
        let text = "let a = \"unsafe { // no\"; // unsafe\nlet b = r#\"un\"safe\"#; let c = '\"'; /* un /* safe */ */ x";
        let source = source(text);
        assert!(
            source.code.iter().all(|line| !line.contains("unsafe") && !line.contains("safe")),
            "{:?}",
            source.code
        );
        assert_eq!(source.comments[0], (0, "// unsafe".into()));
        assert!(source.code[1].ends_with('x'));
    }

    #[test]
    fn lifetimes_are_code_and_characters_are_not() {
        let source = source("fn a<'a>(x: &'a str) -> char { '{' }\nfn b() { '\\'' ; }\n");
        assert_eq!(source.functions().len(), 2);
        assert_eq!(source.functions()[0].size, 1);
    }

    #[test]
    fn functions_are_measured_without_blanks_and_comments() {
        let source = source(
            "/// Doc.\npub fn long(\n    a: [u8; 2],\n) -> u8 {\n    // why\n\n    a[0]\n}\ntrait T { fn none(&self); }\n",
        );
        let long = Function { name: "long".into(), line: 1, size: 5 };
        assert_eq!(source.functions(), [long]);
    }

    #[test]
    fn tests_do_not_count() {
        let source = source("fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {\n    }\n}\nfn c() {}\n");
        let names: Vec<String> = source.functions().into_iter().map(|function| function.name).collect();
        assert_eq!(names, ["a", "c"]);
        assert_eq!(source.size(), 2);
    }

    #[test]
    fn test_modules_in_files_are_named() {
        assert_eq!(source("#[cfg(test)]\nmod fake;\nmod real;\n").test_modules(), ["fake"]);
    }
}

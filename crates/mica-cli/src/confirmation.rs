//! The question before something is deleted for good.

use crate::context::Context;
use crate::report::Failure;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

/// The longest answer that is read, in bytes; nobody types more.
const ANSWER_LENGTH_MAX: u64 = 1024;

/// Tells `warning` and asks whether to go on; anything but `y` is no.
///
/// # Errors
/// The question cannot be printed, or the answer cannot be read.
pub(crate) fn ask(warning: &str, context: &Context<'_>) -> Result<bool, Failure> {
    context.print(&format!("{warning}\nAre you sure you want to continue? [y/N] "))?;
    let answer = context
        .input_descriptor()
        .try_clone_to_owned()
        .and_then(|input| read(&mut BufReader::with_capacity(64, File::from(input))));
    answer.map_err(|source| Failure::File { action: "read", path: "standard input".to_owned(), source })
}

fn read(input: &mut dyn BufRead) -> io::Result<bool> {
    let mut answer = String::new();
    input.take(ANSWER_LENGTH_MAX).read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_y_is_yes() {
        for (answer, expected) in
            [("y\n", true), ("Y", true), (" y \n", true), ("yes\n", false), ("n\n", false), ("", false)]
        {
            assert_eq!(read(&mut answer.as_bytes()).unwrap(), expected, "{answer:?}");
        }
    }
}

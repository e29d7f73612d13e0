//! `COPY` and `ADD`: sources, destination and flags.

use super::error::{ParseError, Problem};
use super::flag::{Flags, Takes};
use super::heredoc;
use super::instruction::{Add, Copy, InlineFile, Transfer};
use super::parse::Statement;
use super::position::{Located, Word};

/// Reads a `COPY`.
pub(super) fn copy(statement: &Statement<'_>) -> Result<Copy, ParseError> {
    let flags = statement.known_flags(&[
        ("chown", Takes::Text),
        ("chmod", Takes::Text),
        ("link", Takes::Truth),
        ("exclude", Takes::Texts),
        ("from", Takes::Text),
        ("parents", Takes::Truth),
    ])?;
    Ok(Copy {
        transfer: transfer(statement, &flags, "COPY")?,
        from: flags.text("from").cloned(),
        parents: flags.truth("parents").unwrap_or_default(),
    })
}

/// Reads an `ADD`.
pub(super) fn add(statement: &Statement<'_>) -> Result<Add, ParseError> {
    let flags = statement.known_flags(&[
        ("chown", Takes::Text),
        ("chmod", Takes::Text),
        ("link", Takes::Truth),
        ("exclude", Takes::Texts),
        ("checksum", Takes::Text),
        ("keep-git-dir", Takes::Truth),
        ("unpack", Takes::Truth),
    ])?;
    Ok(Add {
        transfer: transfer(statement, &flags, "ADD")?,
        checksum: flags.text("checksum").cloned(),
        keep_git_dir: flags.truth("keep-git-dir"),
        unpack: flags.truth("unpack"),
    })
}

fn transfer(
    statement: &Statement<'_>,
    flags: &Flags,
    instruction: &'static str,
) -> Result<Transfer, ParseError> {
    let array = statement.array(statement.arguments.clone())?;
    let is_json = array.is_some();
    let mut words = array.unwrap_or_else(|| statement.plain_words());
    let destination = words.pop().filter(|_| !words.is_empty());
    let Some(destination) = destination else {
        return Err(statement.error(Problem::NoDestination { instruction }));
    };
    if heredoc::opening(&destination.value).is_some() {
        return Err(ParseError {
            problem: Problem::HeredocDestination { instruction },
            span: destination.span,
        });
    }
    let mut sources = Vec::new();
    let mut files = Vec::new();
    for word in words {
        match inline_file(statement, &word) {
            Some(file) if !is_json => files.push(file),
            _ => sources.push(word),
        }
    }
    Ok(Transfer {
        sources,
        files,
        destination,
        is_json,
        chown: flags.text("chown").cloned(),
        chmod: flags.text("chmod").cloned(),
        link: flags.truth("link").unwrap_or_default(),
        excludes: flags.texts("exclude"),
    })
}

/// The heredoc that a source opens.
fn inline_file(statement: &Statement<'_>, word: &Word) -> Option<InlineFile> {
    let opening = heredoc::opening(&word.value)?;
    let heredoc = statement.heredocs.iter().rev().find(|heredoc| heredoc.name == opening.name)?;
    Some(InlineFile {
        name: Word::new(opening.name, word.span),
        content: Located::new(heredoc.stripped(), heredoc.span),
        expand: opening.expand,
    })
}

//! Where blocks and attributes are written, so that errors can say it.

use super::{BakeError, BakeFile};
use hcl::edit::Span;
use hcl::edit::structure::{Body, Structure};
use std::collections::HashMap;

/// Places by what is written there: `target app`, `target app.tags`.
#[derive(Debug, Default)]
pub(super) struct Places {
    known: HashMap<String, Place>,
}

#[derive(Debug, Clone)]
struct Place {
    file: String,
    line: usize,
    column: usize,
}

impl Places {
    /// Takes note of a file; what a later one says comes first.
    pub(super) fn note(&mut self, file: &BakeFile, body: &Body) {
        let lines = Lines::new(file);
        for structure in body {
            let block = match structure {
                Structure::Attribute(attribute) => {
                    self.add(format!("variable {}", attribute.key.as_str()), lines.place(attribute.span()));
                    continue;
                }
                Structure::Block(block) => block,
            };
            let labels: Vec<&str> = block.labels.iter().map(|label| label.as_str()).collect();
            let owner = format!("{} {}", block.ident.as_str(), labels.join(" "));
            self.add(owner.clone(), lines.place(block.span()));
            for structure in &block.body {
                let (name, span) = match structure {
                    Structure::Attribute(attribute) => (attribute.key.as_str(), attribute.span()),
                    Structure::Block(inner) => (inner.ident.as_str(), inner.span()),
                };
                self.add(format!("{owner}.{name}"), lines.place(span));
            }
        }
    }

    fn add(&mut self, what: String, place: Option<Place>) {
        if let Some(place) = place {
            self.known.insert(what, place);
        }
    }

    /// An error with the place of what it is about, if that is known.
    pub(super) fn located(&self, error: BakeError) -> BakeError {
        let Some(owner) = error.owner() else { return error };
        let block = owner.split('.').next().unwrap_or_default();
        match self.known.get(&owner).or_else(|| self.known.get(block)) {
            Some(Place { file, line, column }) => {
                BakeError::Place { file: file.clone(), line: *line, column: *column, source: Box::new(error) }
            }
            None => error,
        }
    }
}

/// The beginnings of a file's lines.
struct Lines<'a> {
    file: &'a BakeFile,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(file: &'a BakeFile) -> Self {
        let ends = file.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { file, starts: std::iter::once(0).chain(ends).collect() }
    }

    fn place(&self, span: Option<std::ops::Range<usize>>) -> Option<Place> {
        let start = span?.start;
        let line = self.starts.partition_point(|begin| *begin <= start);
        let before = self.file.text.get(*self.starts.get(line.checked_sub(1)?)?..start)?;
        Some(Place { file: self.file.name.clone(), line, column: before.chars().count() + 1 })
    }
}

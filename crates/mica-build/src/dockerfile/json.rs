//! The exec form: a JSON array of texts.

use serde_json::value::RawValue;
use std::ops::Range;

/// What a text is as a JSON array.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Array {
    /// Not an array at all: it is of shell form.
    No,
    /// An array with something that is not a text; its place.
    Mixed(Range<usize>),
    /// The texts, each with its place.
    Texts(Vec<(String, Range<usize>)>),
}

/// Reads an array of texts.
pub(super) fn array(text: &str) -> Array {
    if !text.trim_start().starts_with('[') {
        return Array::No;
    }
    let Ok(values) = serde_json::from_str::<Vec<&RawValue>>(text) else { return Array::No };
    let mut texts = Vec::with_capacity(values.len());
    for value in values {
        let start = value.get().as_ptr() as usize - text.as_ptr() as usize;
        let range = start..start + value.get().len();
        match serde_json::from_str(value.get()) {
            Ok(item) => texts.push((item, range)),
            Err(_) => return Array::Mixed(range),
        }
    }
    Array::Texts(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_of_texts_know_where_each_text_stands() {
        assert_eq!(array(r#" ["a", "b\n"] "#), Array::Texts(vec![("a".into(), 2..5), ("b\n".into(), 7..12)]));
        assert_eq!(array("[]"), Array::Texts(vec![]));
        assert_eq!(array("['a']"), Array::No);
        assert_eq!(array(r#"["a"] b"#), Array::No);
        assert_eq!(array(r#"["a", ["b"]]"#), Array::Mixed(6..11));
    }
}

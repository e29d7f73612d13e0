//! `--annotation`: notes on the manifests of a result.

use crate::report::Failure;
use mica_api::types::build::{AnnotatedPart, BuildAnnotation};

/// Reads all of `--annotation`: `[PART[,PART…]:]NAME=VALUE`, a part maybe with `[PLATFORM]` after it.
pub(super) fn read(typed: &[String]) -> Result<Vec<BuildAnnotation>, Failure> {
    let mut annotations = Vec::new();
    for typed in typed {
        let wrong = || Failure::refused(format!("invalid annotation {typed:?}: expected key=value"));
        let (head, value) = typed.split_once('=').ok_or_else(wrong)?;
        let (parts, name) = split(head);
        if name.is_empty() {
            return Err(wrong());
        }
        for part in parts.split(',') {
            let (kind, platform) = match part.strip_suffix(']').and_then(|part| part.split_once('[')) {
                Some(split) => split,
                None => (part, ""),
            };
            let part = part_named(kind)
                .ok_or_else(|| Failure::refused(format!("unknown annotation type {kind:?} in {typed:?}")))?;
            let (platform, name, value) = (platform.to_owned(), name.to_owned(), value.to_owned());
            annotations.push(BuildAnnotation { part, platform, name, value });
        }
    }
    Ok(annotations)
}

/// The parts and the name. A name may have a colon itself, if what comes before it is no part.
fn split(head: &str) -> (&str, &str) {
    let is_part = |part: &str| part_named(part.split('[').next().unwrap_or_default()).is_some();
    match head.split_once(':') {
        Some((parts, name)) if parts.split(',').next().is_some_and(is_part) => (parts, name),
        _ => ("manifest", head),
    }
}

fn part_named(kind: &str) -> Option<AnnotatedPart> {
    Some(match kind {
        "manifest" => AnnotatedPart::Manifest,
        "manifest-descriptor" => AnnotatedPart::ManifestDescriptor,
        "index" => AnnotatedPart::Index,
        "index-descriptor" => AnnotatedPart::IndexDescriptor,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_platforms_and_names_are_told_apart() {
        let typed = ["a.b/c=d=e", "index,manifest[linux/arm64]:k=v", "x:y=z"].map(str::to_owned);
        let read = read(&typed).unwrap();
        let shown: Vec<_> = read
            .iter()
            .map(|note| (note.part, note.platform.as_str(), note.name.as_str(), note.value.as_str()))
            .collect();
        assert_eq!(
            shown,
            [
                (AnnotatedPart::Manifest, "", "a.b/c", "d=e"),
                (AnnotatedPart::Index, "", "k", "v"),
                (AnnotatedPart::Manifest, "linux/arm64", "k", "v"),
                (AnnotatedPart::Manifest, "", "x:y", "z"),
            ]
        );
    }

    #[test]
    fn what_has_no_name_or_no_value_is_refused() {
        for wrong in ["a", "=b", "index:=b", "index,nonsense:a=b"] {
            assert!(read(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }
}

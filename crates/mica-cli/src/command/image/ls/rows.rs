//! From images to rows: one for each name, and for nameless images one with `<none>`.

use crate::command::image::{short_id, size};
use crate::output::time::{ago, local};
use crate::output::units::human_size;
use crate::row::Row;
use jiff::tz::TimeZone;
use mica_api::types::image::ImageSummary;
use mica_model::Timestamp;
use std::collections::BTreeMap;

/// What stands where an image has no name, tag or digest.
const NONE: &str = "<none>";

/// What stands where a number was not computed.
const UNKNOWN: &str = "N/A";

/// How rows are made.
#[derive(Debug, Clone)]
pub(crate) struct RowOptions {
    /// Whether each digest of a name has a row of its own.
    pub(crate) by_digest: bool,
    /// Whether ids are shortened.
    pub(crate) is_truncated: bool,
    /// The present.
    pub(crate) now: Timestamp,
    /// The zone in which dates are shown.
    pub(crate) zone: TimeZone,
}

/// A name of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    repository: String,
    tag: String,
    digest: String,
}

impl Name {
    fn new(repository: &str, tag: &str, digest: &str) -> Self {
        Self { repository: repository.to_owned(), tag: tag.to_owned(), digest: digest.to_owned() }
    }
}

/// The names under which an image is listed.
fn names(image: &ImageSummary, by_digest: bool) -> Vec<Name> {
    let tags = by_repository(&image.repo_tags, split_tag);
    let mut digests = by_repository(&image.repo_digests, |name| name.split_once('@'));
    let mut names = Vec::new();
    for (repository, tags) in tags {
        // A digest of a repository that also has a tag never has a row without it.
        let digests = digests.remove(repository).filter(|_| by_digest).unwrap_or_else(|| vec![NONE]);
        for tag in tags {
            names.extend(digests.iter().map(|digest| Name::new(repository, tag, digest)));
        }
    }
    for (repository, digests) in digests {
        let shown = if by_digest { digests } else { vec![NONE] };
        names.extend(shown.into_iter().map(|digest| Name::new(repository, NONE, digest)));
    }
    if names.is_empty() {
        names.push(Name::new(NONE, NONE, NONE));
    }
    names
}

fn by_repository<'a>(
    names: &'a [String],
    split: impl Fn(&'a str) -> Option<(&'a str, &'a str)>,
) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    // docker's wire has "<none>:<none>" for an image without a name.
    for (repository, rest) in names.iter().filter_map(|name| split(name)).filter(|(name, _)| *name != NONE) {
        found.entry(repository).or_default().push(rest);
    }
    found
}

/// Separates the tag; a colon before the last slash belongs to a port.
fn split_tag(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'))
}

/// The rows of `images`, in the order given.
pub(crate) fn rows(images: &[ImageSummary], options: &RowOptions) -> Vec<Row> {
    images
        .iter()
        .flat_map(|image| {
            let names = names(image, options.by_digest);
            names.into_iter().map(move |name| row(image, name, options))
        })
        .collect()
}

/// One row for an image, under its first name, as in reports about disk use.
pub(crate) fn first_row(image: &ImageSummary, options: &RowOptions) -> Row {
    let name = names(image, false).into_iter().next().unwrap_or_else(|| Name::new(NONE, NONE, NONE));
    row(image, name, options)
}

fn row(image: &ImageSummary, name: Name, options: &RowOptions) -> Row {
    let created = Timestamp::from_seconds(image.created);
    let known = |number: i64, words: &dyn Fn(i64) -> String| {
        if number < 0 { UNKNOWN.to_owned() } else { words(number) }
    };
    let unique = if image.shared_size < 0 { -1 } else { image.size.saturating_sub(image.shared_size).max(0) };
    let created_at = if created.is_never() { UNKNOWN.to_owned() } else { local(created, &options.zone) };
    let id = if options.is_truncated { short_id(&image.id) } else { &image.id };
    Row::new(
        "*formatter.imageContext",
        [
            ("Containers", known(image.containers, &|count| count.to_string())),
            ("CreatedAt", created_at),
            ("CreatedSince", ago(created, options.now)),
            ("Digest", name.digest),
            ("ID", id.to_owned()),
            ("Repository", name.repository),
            ("SharedSize", known(image.shared_size, &exact_size)),
            ("Size", size(u64::try_from(image.size).unwrap_or(0))),
            ("Tag", name.tag),
            ("UniqueSize", known(unique, &exact_size)),
            ("VirtualSize", exact_size(image.size)),
        ],
    )
}

/// A size in four digits.
#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
pub(crate) fn exact_size(bytes: i64) -> String {
    human_size(bytes as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(tags: &[&str], digests: &[&str]) -> ImageSummary {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        ImageSummary {
            id: format!("sha256:{}", "c".repeat(64)),
            parent_id: String::new(),
            repo_tags: owned(tags),
            repo_digests: owned(digests),
            created: 0,
            size: 1_982_263,
            shared_size: -1,
            labels: None,
            containers: -1,
        }
    }

    fn shown(tags: &[&str], digests: &[&str], by_digest: bool) -> Vec<String> {
        names(&image(tags, digests), by_digest)
            .into_iter()
            .map(|name| format!("{} {} {}", name.repository, name.tag, name.digest))
            .collect()
    }

    #[test]
    fn each_name_has_a_row() {
        assert_eq!(
            shown(&["b:5000/x:1", "a:2", "a:1"], &["a@sha256:0"], false),
            ["a 2 <none>", "a 1 <none>", "b:5000/x 1 <none>"]
        );
        assert_eq!(
            shown(&["a:1"], &["a@sha256:0", "b@sha256:1"], true),
            ["a 1 sha256:0", "b <none> sha256:1"]
        );
        assert_eq!(shown(&[], &["b@sha256:1"], false), ["b <none> <none>"]);
        assert_eq!(shown(&[], &[], true), ["<none> <none> <none>"]);
        assert_eq!(shown(&["<none>:<none>"], &["<none>@<none>"], true), ["<none> <none> <none>"]);
    }

    #[test]
    fn numbers_not_computed_are_not_made_up() {
        let options = RowOptions {
            by_digest: false,
            is_truncated: true,
            now: Timestamp::from_seconds(100),
            zone: TimeZone::UTC,
        };
        let mut one = image(&["a:1"], &[]);
        one.created = 40;
        let row = &rows(&[one.clone()], &options)[0];
        for (field, expected) in [
            ("ID", "cccccccccccc"),
            ("Size", "1.98MB"),
            ("UniqueSize", "N/A"),
            ("CreatedSince", "About a minute ago"),
            ("CreatedAt", "1970-01-01 00:00:40 +0000 UTC"),
        ] {
            assert_eq!(row.cell(field), expected, "{field}");
        }
        one.shared_size = 982_263;
        assert_eq!(rows(&[one], &options)[0].cell("UniqueSize"), "1MB");
    }
}

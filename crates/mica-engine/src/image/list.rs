//! `images`: top-level images, or all of them, narrowed by docker's filters.

use crate::Local;
use crate::error::{Error, Result};
use crate::image::record::{ImageRecord, LayerRecord};
use crate::image::variant;
use mica_api::types::image::{ImageListOptions, ImageSummary};
use mica_model::{Digest, Filters, Reference, Timestamp};
use std::collections::{BTreeMap, HashMap, HashSet};

const FILTERS: &[&str] = &["before", "dangling", "label", "reference", "since", "until"];

impl Local {
    /// Lists images, newest first.
    pub(crate) fn list_images(&self, options: &ImageListOptions) -> Result<Vec<ImageSummary>> {
        let filters = &options.filters;
        filters.validate(FILTERS).map_err(|error| Error::invalid(error.to_string()))?;
        let sieve = Sieve::new(self, filters)?;
        let catalogue = Catalogue::read(self)?;
        let users = if options.shared_size { Some(catalogue.layer_users()) } else { None };
        let mut rows = Vec::new();
        for image in catalogue.images.iter().filter(|image| sieve.wants(image)) {
            let names = catalogue.names_of(&image.id);
            let shown: Vec<&Name> = names.iter().filter(|name| sieve.wants_name(name)).collect();
            let wanted = if shown.is_empty() {
                sieve.wants_nameless() && (options.all || catalogue.is_top_level(image))
            } else {
                sieve.dangling != Some(true)
            };
            if !wanted {
                continue;
            }
            rows.push(summary(image, &shown, users.as_ref()));
        }
        Ok(rows)
    }
}

fn summary(image: &ImageRecord, names: &[&Name], users: Option<&HashMap<&Digest, usize>>) -> ImageSummary {
    let shared =
        |layer: &&LayerRecord| users.is_some_and(|users| users.get(&layer.diff_id).is_some_and(|n| *n > 1));
    let shared_size: u64 = image.layers.iter().filter(shared).map(|layer| layer.size).sum();
    let familiar = |digested: bool| {
        names
            .iter()
            .filter(move |name| name.reference.digest().is_some() == digested)
            .map(|name| name.reference.familiar())
            .collect::<Vec<String>>()
    };
    ImageSummary {
        id: image.id.to_string(),
        parent_id: image.parent.map(|parent| parent.to_string()).unwrap_or_default(),
        repo_tags: familiar(false),
        repo_digests: familiar(true),
        created: image.created.seconds(),
        size: signed(image.size),
        shared_size: if users.is_some() { signed(shared_size) } else { -1 },
        labels: Some(image.labels.clone()).filter(|labels| !labels.is_empty()),
        containers: -1,
    }
}

/// Bytes as docker's wire has them.
pub(crate) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A stored name, parsed.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    /// As it is stored.
    pub(crate) canonical: String,
    pub(crate) reference: Reference,
}

/// All images and names at one moment.
#[derive(Debug)]
pub(crate) struct Catalogue {
    /// Newest first.
    pub(crate) images: Vec<ImageRecord>,
    names: HashMap<Digest, Vec<Name>>,
    /// Images that have children.
    parents: HashSet<Digest>,
    /// Images that belong to the name of another, for other platforms.
    variants: HashSet<Digest>,
}

impl Catalogue {
    pub(crate) fn read(engine: &Local) -> Result<Self> {
        let database = engine.database();
        let images = ImageRecord::readable(&database)?;
        let mut names: HashMap<Digest, Vec<Name>> = HashMap::new();
        for (canonical, id) in ImageRecord::names(&database)? {
            if let Ok(reference) = Reference::parse_normalized(&canonical) {
                names.entry(id).or_default().push(Name { canonical, reference });
            }
        }
        let parents = images.iter().filter_map(|image| image.parent).collect();
        let variants = variant::all(&database)?;
        Ok(Self { images, names, parents, variants })
    }

    pub(crate) fn names_of(&self, id: &Digest) -> &[Name] {
        self.names.get(id).map_or(&[], Vec::as_slice)
    }

    /// Names as people write them; the short id of an image that has none.
    pub(crate) fn display_names(&self, id: &Digest) -> Vec<String> {
        let names = self.names_of(id);
        if names.is_empty() {
            vec![id.short()]
        } else {
            names.iter().map(|name| name.reference.familiar()).collect()
        }
    }

    pub(crate) fn by_id(&self, id: &Digest) -> Option<&ImageRecord> {
        self.images.iter().find(|image| image.id == *id)
    }

    /// Whether it has a name, or no children and belongs to nothing: what `images` shows without `-a`.
    pub(crate) fn is_top_level(&self, image: &ImageRecord) -> bool {
        let id = &image.id;
        !self.names_of(id).is_empty() || !self.parents.contains(id) && !self.variants.contains(id)
    }

    /// How many images have each layer.
    pub(crate) fn layer_users(&self) -> HashMap<&Digest, usize> {
        let mut users = HashMap::new();
        for image in &self.images {
            let distinct: HashSet<&Digest> = image.layers.iter().map(|layer| &layer.diff_id).collect();
            for diff_id in distinct {
                *users.entry(diff_id).or_insert(0) += 1;
            }
        }
        users
    }
}

/// The filters, with the images and instants that they name looked up.
struct Sieve<'a> {
    filters: &'a Filters,
    dangling: Option<bool>,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl<'a> Sieve<'a> {
    fn new(engine: &Local, filters: &'a Filters) -> Result<Self> {
        let dangling =
            filters.boolean("dangling", None).map_err(|error| Error::invalid(error.to_string()))?;
        let image = |key: &str| -> Result<Option<Timestamp>> {
            let mut found = None;
            for reference in filters.values(key) {
                found = Some(ImageRecord::find(&engine.database(), reference)?.created);
            }
            Ok(found)
        };
        Ok(Self {
            filters,
            dangling,
            before: image("before")?,
            since: image("since")?,
            until: until(filters)?,
        })
    }

    fn wants(&self, image: &ImageRecord) -> bool {
        self.before.is_none_or(|before| image.created < before)
            && self.since.is_none_or(|since| image.created > since)
            && self.until.is_none_or(|until| image.created < until)
            && self.filters.match_kv_list("label", |key| label(&image.labels, key))
    }

    /// docker's rule for an image without a name, or with none that the pattern matches.
    fn wants_nameless(&self) -> bool {
        self.dangling != Some(false) && !self.filters.contains("reference")
    }

    fn wants_name(&self, name: &Name) -> bool {
        self.filters.any_match("reference", |pattern| matches_pattern(&name.reference, pattern))
    }
}

/// A label by its key, as `Filters::match_kv_list` asks for it.
pub(crate) fn label<'a>(labels: &'a BTreeMap<String, String>, key: &str) -> Option<&'a str> {
    labels.get(key).map(String::as_str)
}

/// The instant of `until=`; it can be given once.
pub(crate) fn until(filters: &Filters) -> Result<Option<Timestamp>> {
    let mut values = filters.values("until");
    let Some(text) = values.next() else { return Ok(None) };
    let now = Timestamp::from(std::time::SystemTime::now());
    let parsed = crate::instant::parse(text, now).filter(|_| values.next().is_none());
    parsed.map(Some).ok_or_else(|| Error::invalid(filters.bad_value("until").to_string()))
}

/// docker's `FamiliarMatch`: the pattern against the familiar name with and without its tag.
fn matches_pattern(reference: &Reference, pattern: &str) -> bool {
    glob(pattern, &reference.familiar()) || glob(pattern, &reference.familiar_name())
}

/// Go's `path.Match`: `*` and `?` never match a slash, `[a-z]` is a class, `\` takes the next
/// character literally. A malformed pattern matches nothing.
fn glob(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut place) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(at) == Some(&'*') {
            at += 1;
            retry = Some((at, place));
            continue;
        }
        if at == pattern.len() && place == text.len() {
            return true;
        }
        match text.get(place).and_then(|&letter| one(&pattern[at..], letter)) {
            Some(length) => {
                at += length;
                place += 1;
            }
            None => {
                // Only the last star may take more: an earlier one would give nothing new.
                let Some((after, begin)) = retry else { return false };
                if text.get(begin).is_none_or(|&letter| letter == '/') {
                    return false;
                }
                retry = Some((after, begin + 1));
                (at, place) = (after, begin + 1);
            }
        }
    }
}

/// Matches one character; answers how many characters of the pattern that took.
fn one(pattern: &[char], letter: char) -> Option<usize> {
    match pattern.first()? {
        '?' => (letter != '/').then_some(1),
        '\\' => (*pattern.get(1)? == letter).then_some(2),
        '[' => class(pattern, letter),
        &literal => (literal == letter).then_some(1),
    }
}

fn class(pattern: &[char], letter: char) -> Option<usize> {
    let end = pattern.iter().skip(2).position(|&c| c == ']')? + 2;
    let (negated, mut rest) = match pattern[1] {
        '^' => (true, &pattern[2..end]),
        _ => (false, &pattern[1..end]),
    };
    let mut inside = false;
    while let [low, tail @ ..] = rest {
        let (high, after) = match tail {
            ['-', high, after @ ..] => (high, after),
            _ => (low, tail),
        };
        inside |= (*low..=*high).contains(&letter);
        rest = after;
    }
    (inside != negated && letter != '/').then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_are_those_of_go() {
        for (pattern, text, matches) in [
            ("busy*", "busybox", true),
            ("busy*", "busybox:1", true),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("*:late*", "x:latest", true),
            ("b[a-u]sybox", "busybox", true),
            ("b[^u]sybox", "busybox", false),
            ("b?x", "b/x", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("[", "[", false),
            ("\\*", "*", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(glob(pattern, text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn patterns_meet_familiar_names() {
        let reference = Reference::parse_normalized("docker.io/library/busybox:1.36").unwrap();
        for (pattern, matches) in
            [("busybox", true), ("busybox:1.36", true), ("busybox:*", true), ("busy", false)]
        {
            assert_eq!(matches_pattern(&reference, pattern), matches, "{pattern}");
        }
    }
}

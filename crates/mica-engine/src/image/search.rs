//! `search`: repositories of a registry by a word.

use crate::Local;
use crate::error::{Error, Result};
use mica_api::types::image::{SearchRequest, SearchResult};

/// docker's filters.
const FILTERS: &[&str] = &["is-automated", "is-official", "stars"];
/// How many are looked for when nothing is said, and at most.
const LIMIT_DEFAULT: i64 = 25;
const LIMIT_MAX: i64 = 100;
/// The registry that is meant when none is named.
const HUB: &str = "docker.io";

impl Local {
    /// Looks for repositories in the registry that the term names.
    pub(crate) fn search_images(&self, request: &SearchRequest<'_>) -> Result<Vec<SearchResult>> {
        let invalid = |error: mica_model::FilterError| Error::invalid(error.to_string());
        let filters = &request.filters;
        filters.validate(FILTERS).map_err(invalid)?;
        let is_official = filters.boolean("is-official", None).map_err(invalid)?;
        // Nothing is built by the hub itself any more.
        let are_automated = filters.boolean("is-automated", None).map_err(invalid)? == Some(true);
        let stars = stars(filters.values("stars"))?;
        let limit = match request.limit {
            0 => LIMIT_DEFAULT,
            limit @ 1..=LIMIT_MAX => limit,
            limit => {
                return Err(Error::invalid(format!(
                    "limit {limit} is outside the range of [1, {LIMIT_MAX}]"
                )));
            }
        };
        let (domain, term) = split(&request.term)?;
        let limit = usize::try_from(limit).unwrap_or_default();
        let found = self.registries()?.search(domain, term, limit, &request.access)?;
        let results = found.into_iter().filter(|repository| {
            !are_automated
                && is_official.is_none_or(|wanted| wanted == repository.is_official)
                && repository.star_count >= stars
        });
        Ok(results
            .map(|repository| SearchResult {
                name: repository.name,
                description: repository.description,
                star_count: repository.star_count,
                is_official: repository.is_official,
            })
            .collect())
    }
}

/// The fewest stars that are wanted.
fn stars<'a>(values: impl Iterator<Item = &'a str>) -> Result<i64> {
    let mut least = 0;
    for value in values {
        let stars: i64 =
            value.parse().map_err(|_| Error::invalid(format!("invalid filter 'stars={value}'")))?;
        least = least.max(stars);
    }
    Ok(least)
}

/// The registry and the word, as docker tells them apart.
fn split(term: &str) -> Result<(&str, &str)> {
    if term.contains("://") {
        return Err(Error::invalid(format!(
            "invalid repository name: repository name ({term}) should not have a scheme"
        )));
    }
    match term.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => match first {
            HUB | "index.docker.io" => Ok((HUB, rest.strip_prefix("library/").unwrap_or(rest))),
            other => Ok((other, rest)),
        },
        _ => Ok((HUB, term.strip_prefix("library/").unwrap_or(term))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_may_name_its_registry() {
        assert_eq!(split("busybox").unwrap(), ("docker.io", "busybox"));
        assert_eq!(split("library/busybox").unwrap(), ("docker.io", "busybox"));
        assert_eq!(split("team/app").unwrap(), ("docker.io", "team/app"));
        assert_eq!(split("docker.io/app").unwrap(), ("docker.io", "app"));
        assert_eq!(split("localhost/app").unwrap(), ("localhost", "app"));
        assert_eq!(split("h:5000/team/app").unwrap(), ("h:5000", "team/app"));
        assert!(split("https://h/app").is_err());
    }

    #[test]
    fn the_most_stars_count() {
        assert_eq!(stars(["3", "10"].into_iter()).unwrap(), 10);
        assert!(stars(["many"].into_iter()).is_err());
    }
}

//! `--cache-from` and `--cache-to`: where steps come from that others have done, and where they are kept for others.

use crate::report::Failure;
use mica_api::types::build::{BuildCacheSource, BuildCacheTarget};
use std::collections::BTreeMap;
use std::path::PathBuf;

type Fields<'a> = BTreeMap<&'a str, &'a str>;

/// Reads all of `--cache-from`: `NAME` of an image, `type=registry,ref=NAME` or `type=local,src=DIRECTORY`.
pub(super) fn sources(typed: &[String]) -> Result<Vec<BuildCacheSource>, Failure> {
    let image = |name: &str| BuildCacheSource::Image(name.to_owned());
    let mut sources = Vec::new();
    for typed in typed {
        if !typed.contains('=') {
            sources.extend(typed.split(',').filter(|name| !name.is_empty()).map(image));
            continue;
        }
        let (kind, fields) = fields("cache-from", typed)?;
        sources.push(match kind {
            "registry" => {
                only("cache-from", &fields, &["ref"])?;
                image(needed("cache-from", &fields, "ref")?)
            }
            "local" => {
                only("cache-from", &fields, &["src"])?;
                BuildCacheSource::Directory(directory(needed("cache-from", &fields, "src")?)?)
            }
            other => return Err(unknown("cache-from", other)),
        });
    }
    Ok(sources)
}

/// Reads all of `--cache-to`: `type=inline`, `type=registry,ref=NAME[,mode=max]` or
/// `type=local,dest=DIRECTORY[,mode=max]`.
pub(super) fn targets(typed: &[String], is_inline: bool) -> Result<Vec<BuildCacheTarget>, Failure> {
    let mut targets: Vec<_> = is_inline.then_some(BuildCacheTarget::Inline).into_iter().collect();
    for typed in typed {
        let typed = if typed == "inline" { "type=inline" } else { typed };
        let (kind, fields) = fields("cache-to", typed)?;
        match kind {
            "inline" => {
                only("cache-to", &fields, &[])?;
                targets.push(BuildCacheTarget::Inline);
            }
            "local" => {
                only("cache-to", &fields, &["dest", "mode"])?;
                let has_all = has_all(&fields)?;
                let path = directory(needed("cache-to", &fields, "dest")?)?;
                targets.push(BuildCacheTarget::Directory { path, has_all });
            }
            "registry" => {
                only("cache-to", &fields, &["ref", "mode", "image-manifest", "oci-mediatypes"])?;
                // Manifests of OCI are what there is.
                if let Some(name) = ["image-manifest", "oci-mediatypes"]
                    .into_iter()
                    .find(|name| fields.get(name).is_some_and(|value| *value != "true"))
                {
                    return Err(Failure::refused(format!(
                        "--cache-to: only {name}=true is supported by mica"
                    )));
                }
                let name = needed("cache-to", &fields, "ref")?.to_owned();
                targets.push(BuildCacheTarget::Registry { name, has_all: has_all(&fields)? });
            }
            other => return Err(unknown("cache-to", other)),
        }
    }
    Ok(targets)
}

/// Whether all steps are kept, or those that have made layers of the result.
fn has_all(fields: &Fields<'_>) -> Result<bool, Failure> {
    match fields.get("mode").copied() {
        None | Some("min") => Ok(false),
        Some("max") => Ok(true),
        Some(other) => Err(Failure::refused(format!("--cache-to: unknown mode {other:?}"))),
    }
}

fn fields<'a>(flag: &str, typed: &'a str) -> Result<(&'a str, Fields<'a>), Failure> {
    let mut fields = Fields::new();
    for part in typed.split(',') {
        let (name, value) = part.split_once('=').ok_or_else(|| {
            Failure::refused(format!("invalid value {part} for --{flag}: expected key=value"))
        })?;
        fields.insert(name, value);
    }
    match fields.remove("type") {
        Some(kind) => Ok((kind, fields)),
        None => Err(Failure::refused(format!("type required form> {typed:?}"))),
    }
}

fn needed<'a>(flag: &str, fields: &Fields<'a>, name: &str) -> Result<&'a str, Failure> {
    let found = fields.get(name).copied().filter(|value| !value.is_empty());
    found.ok_or_else(|| Failure::refused(format!("--{flag}: {name} is required")))
}

fn only(flag: &str, fields: &Fields<'_>, known: &[&str]) -> Result<(), Failure> {
    match fields.keys().find(|name| !known.contains(name)) {
        Some(other) => Err(Failure::refused(format!("--{flag}: {other} is not supported by mica"))),
        None => Ok(()),
    }
}

fn unknown(flag: &str, kind: &str) -> Failure {
    let known = if flag == "cache-to" { "inline, local and registry" } else { "registry and local" };
    Failure::refused(format!("--{flag} type={kind} is not supported by mica: {known} are"))
}

fn directory(typed: &str) -> Result<PathBuf, Failure> {
    std::path::absolute(typed).map_err(|source| Failure::File {
        action: "open",
        path: typed.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(typed: &[&str]) -> Vec<String> {
        typed.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn caches_are_images_directories_and_the_result_itself() {
        let read = sources(&texts(&["a,b:1", "type=registry,ref=c", "type=local,src=/d"])).unwrap();
        let image = |name: &str| BuildCacheSource::Image(name.to_owned());
        assert_eq!(read, [image("a"), image("b:1"), image("c"), BuildCacheSource::Directory("/d".into())]);
        let read = targets(&texts(&["inline", "type=local,dest=/d,mode=max"]), false).unwrap();
        let directory = BuildCacheTarget::Directory { path: "/d".into(), has_all: true };
        assert_eq!(read, [BuildCacheTarget::Inline, directory]);
        assert_eq!(targets(&[], true).unwrap(), [BuildCacheTarget::Inline]);
        let read =
            targets(&texts(&["type=registry,ref=host/a:cache,mode=max,image-manifest=true"]), false).unwrap();
        assert_eq!(read, [BuildCacheTarget::Registry { name: "host/a:cache".to_owned(), has_all: true }]);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for wrong in ["type=gha", "type=local", "type=local,src=/d,x=y", "ref=a", "type=local,src=/d,x"] {
            assert!(sources(&texts(&[wrong])).is_err(), "{wrong}");
        }
        for wrong in [
            "type=registry",
            "type=registry,ref=a,oci-mediatypes=false",
            "type=local",
            "type=local,dest=/d,mode=most",
            "type=inline,x=y",
        ] {
            assert!(targets(&texts(&[wrong]), false).is_err(), "{wrong}");
        }
    }
}

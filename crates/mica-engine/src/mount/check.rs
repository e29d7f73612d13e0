//! The wishes of `--mount`, checked as docker's engine checks them.

use super::{MountRecord, MountSource, ReadOnlyReach, VolumeMount, tmpfs};
use crate::error::{Error, Result};
use mica_api::types::mount::{BindOptions, Mount};
use std::path::{Component, Path};

/// The words of `bind-propagation`.
pub(super) const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "slave", "rslave", "shared", "rshared"];

/// Checks a wish and makes its record; an image is found later.
pub(super) fn mount(wish: &Mount) -> Result<MountRecord> {
    let destination = destination(&wish.kind, &wish.target)?;
    if wish.source.contains('\0') {
        return Err(refused(wish, "field Source must not contain a zero byte"));
    }
    for (present, owner) in [
        (wish.bind_options.is_some(), "bind"),
        (wish.volume_options.is_some(), "volume"),
        (wish.tmpfs_options.is_some(), "tmpfs"),
        (wish.image_options.is_some(), "image"),
    ] {
        if present && owner != wish.kind {
            let field = owner[..1].to_uppercase() + &owner[1..];
            return Err(refused(wish, &format!("field {field}Options must not be specified")));
        }
    }
    match wish.kind.as_str() {
        "bind" => bind(wish, destination),
        "volume" => volume(wish, destination),
        "tmpfs" => memory(wish, destination),
        "image" => image(wish, destination),
        _ => Err(refused(wish, "mount type unknown")),
    }
}

/// An error about a wish, in docker's words.
pub(super) fn refused(wish: &Mount, reason: &str) -> Error {
    refused_kind(&wish.kind, reason)
}

fn refused_kind(kind: &str, reason: &str) -> Error {
    Error::invalid(format!("invalid mount config for type \"{kind}\": {reason}"))
}

fn bind(wish: &Mount, destination: String) -> Result<MountRecord> {
    if wish.source.is_empty() {
        return Err(refused(wish, "field Source must not be empty"));
    }
    if !wish.source.starts_with('/') {
        return Err(refused(wish, &not_absolute(&wish.source)));
    }
    let standard = BindOptions::default();
    let options = wish.bind_options.as_ref().unwrap_or(&standard);
    let propagation = if options.propagation.is_empty() { "rprivate" } else { options.propagation.as_str() };
    if !PROPAGATIONS.contains(&propagation) {
        return Err(refused(wish, &format!("invalid propagation mode: {propagation}")));
    }
    if options.read_only_non_recursive && options.read_only_force_recursive {
        return Err(refused(wish, "ReadOnlyNonRecursive and ReadOnlyForceRecursive exclude each other"));
    }
    let path = cleaned(&wish.source);
    if !options.create_mountpoint && std::fs::symlink_metadata(&path).is_err() {
        return Err(refused(wish, &format!("bind source path does not exist: {path}")));
    }
    let source = MountSource::Bind { path, is_made: options.create_mountpoint };
    Ok(MountRecord {
        read_only: wish.read_only,
        propagation: propagation.to_owned(),
        is_shallow: options.non_recursive,
        read_only_reach: if options.read_only_non_recursive || options.non_recursive {
            ReadOnlyReach::One
        } else {
            ReadOnlyReach::Below
        },
        ..MountRecord::new(destination, source)
    })
}

fn volume(wish: &Mount, destination: String) -> Result<MountRecord> {
    let standard = Default::default();
    let options = wish.volume_options.as_ref().unwrap_or(&standard);
    let is_anonymous = wish.source.is_empty();
    if is_anonymous && !options.subpath.is_empty() {
        return Err(refused(wish, "must not set Subpath when using anonymous volumes"));
    }
    if is_anonymous && wish.read_only {
        return Err(refused(wish, "must not set ReadOnly mode when using anonymous volumes"));
    }
    check_subpath(wish, &options.subpath)?;
    if !is_anonymous {
        crate::volume::check_name(&wish.source)?;
    }
    let driver = options.driver_config.as_ref();
    crate::volume::check_driver(driver.map_or("", |driver| driver.name.as_str()))?;
    let driver_options = driver.and_then(|driver| driver.options.clone()).unwrap_or_default();
    crate::volume::check_options(&driver_options)?;
    let source = MountSource::Volume(VolumeMount {
        name: wish.source.clone(),
        is_anonymous,
        is_filled: !options.no_copy,
        subpath: options.subpath.clone(),
        labels: options.labels.clone().unwrap_or_default(),
        options: driver_options,
    });
    Ok(MountRecord {
        read_only: wish.read_only,
        mode: "z".to_owned(),
        ..MountRecord::new(destination, source)
    })
}

fn memory(wish: &Mount, destination: String) -> Result<MountRecord> {
    if !wish.source.is_empty() {
        return Err(refused(wish, "field Source must not be specified"));
    }
    let standard = Default::default();
    let options = tmpfs::of_mount(wish.tmpfs_options.as_ref().unwrap_or(&standard), wish.read_only);
    let record = MountRecord::new(destination, MountSource::Tmpfs { options });
    Ok(MountRecord { read_only: wish.read_only, ..record })
}

fn image(wish: &Mount, destination: String) -> Result<MountRecord> {
    if wish.source.is_empty() {
        return Err(refused(wish, "field Source must not be empty"));
    }
    let subpath = wish.image_options.as_ref().map(|options| options.subpath.clone()).unwrap_or_default();
    check_subpath(wish, &subpath)?;
    let source =
        MountSource::Image { reference: wish.source.clone(), id: String::new(), layers: Vec::new(), subpath };
    Ok(MountRecord { read_only: true, ..MountRecord::new(destination, source) })
}

/// A part of a volume is named from its root, without leaving it; links are for the kernel to judge.
fn check_subpath(wish: &Mount, subpath: &str) -> Result<()> {
    let parts = Path::new(subpath).components();
    let mut depth = 0;
    for part in parts {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            _ => return Err(refused(wish, "subpath must be a relative path within the volume")),
        }
    }
    Ok(())
}

/// The path where something appears, cleaned.
pub(super) fn destination(kind: &str, target: &str) -> Result<String> {
    if target.is_empty() {
        return Err(refused_kind(kind, "field Target must not be empty"));
    }
    if !target.starts_with('/') {
        return Err(refused_kind(kind, &not_absolute(target)));
    }
    if target.contains('\0') {
        return Err(refused_kind(kind, "field Target must not contain a zero byte"));
    }
    let cleaned = cleaned(target);
    if cleaned == "/" {
        return Err(refused_kind(kind, "invalid specification: destination can't be '/'"));
    }
    Ok(cleaned)
}

fn not_absolute(path: &str) -> String {
    format!("invalid mount path: '{path}' mount path must be absolute")
}

/// An absolute path without `.`, `..` and needless slashes: as Go's `filepath.Clean` has it. What
/// links mean is not asked.
pub(super) fn cleaned(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mica_api::types::mount::{TmpfsOptions, VolumeOptions};

    fn wish(kind: &str, source: &str, target: &str) -> Mount {
        let own = str::to_owned;
        Mount { kind: own(kind), source: own(source), target: own(target), ..Mount::default() }
    }

    fn told(wish: &Mount) -> String {
        mount(wish).unwrap_err().to_string()
    }

    #[test]
    fn wrong_wishes_are_refused_in_dockers_words() {
        for (wrong, words) in [
            (wish("bind", "", "/x"), "field Source must not be empty"),
            (wish("bind", "rel", "/x"), "'rel' mount path must be absolute"),
            (wish("bind", "/no/such", "/x"), "bind source path does not exist: /no/such"),
            (wish("bind", "/", ""), "field Target must not be empty"),
            (wish("bind", "/", "x"), "'x' mount path must be absolute"),
            (wish("bind", "/", "/."), "destination can't be '/'"),
            (wish("tmpfs", "a", "/x"), "field Source must not be specified"),
            (wish("image", "", "/x"), "field Source must not be empty"),
            (wish("npipe", "", "/x"), "mount type unknown"),
            (wish("volume", "a/b", "/x"), "includes invalid characters"),
            (Mount { read_only: true, ..wish("volume", "", "/x") }, "ReadOnly mode"),
            (
                Mount { tmpfs_options: Some(TmpfsOptions::default()), ..wish("bind", "/", "/x") },
                "field TmpfsOptions must not be specified",
            ),
        ] {
            let told = told(&wrong);
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn a_part_of_a_volume_stays_inside_it() {
        let part = |subpath: &str| {
            let options = VolumeOptions { subpath: subpath.to_owned(), ..VolumeOptions::default() };
            mount(&Mount { volume_options: Some(options), ..wish("volume", "data", "/x") })
        };
        for good in ["", "a", "a/b", "a/../b", "./a"] {
            part(good).unwrap();
        }
        for wrong in ["/a", "..", "../a", "a/../../b"] {
            assert!(part(wrong).unwrap_err().to_string().contains("relative path within the volume"));
        }
    }

    #[test]
    fn paths_are_cleaned_without_asking_the_disk() {
        for (given, expected) in [("/a/../../b//c/.", "/b/c"), ("/", "/"), ("//x", "/x")] {
            assert_eq!(cleaned(given), expected);
        }
    }
}

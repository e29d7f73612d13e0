//! Flags about data: `-v`, `--mount`, `--tmpfs`, `--volumes-from`.

use crate::args::{Matches, ValueError, list, text};
use crate::command::container::definition::mount;
use crate::report::Failure;
use clap::Arg;
use mica_api::types::container::{ContainerConfig, Empty};
use mica_api::types::host_config::HostConfig;
use std::path::{Path, PathBuf};

/// All of them.
pub fn flags() -> Vec<Arg> {
    vec![
        list("mount", "mount", "Attach a filesystem mount to the container").value_parser(parse_mount),
        list("tmpfs", "list", "Mount a tmpfs directory"),
        list("volume", "list", "Bind mount a volume").short('v'),
        text("volume-driver", "string", "Optional volume driver for the container"),
        list("volumes-from", "list", "Mount volumes from the specified container(s)"),
    ]
}

fn parse_mount(typed: &str) -> Result<String, ValueError> {
    mount::parse(typed, Path::new("/")).map(|_| typed.to_owned())
}

/// Writes what was typed into the request.
///
/// # Errors
/// A volume that cannot be understood.
pub fn apply(matches: &Matches, config: &mut ContainerConfig, host: &mut HostConfig) -> Result<(), Failure> {
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let mut binds: Vec<String> = Vec::new();
    for typed in matches.list("volume") {
        match volume(&typed, &here)? {
            Volume::Unnamed(place) => {
                config.volumes.get_or_insert_default().insert(place, Empty {});
            }
            // The same twice is once.
            Volume::Bind(bind) if binds.contains(&bind) => {}
            Volume::Bind(bind) => binds.push(bind),
        }
    }
    let mut mounts = Vec::new();
    for typed in matches.list("mount") {
        let mount = mount::parse(&typed, &here);
        mounts.push(mount.map_err(|error| Failure::flag_value(&typed, "--mount", &error.message))?);
    }
    for typed in matches.list("tmpfs") {
        let (place, options) = typed.split_once(':').unwrap_or((&typed, ""));
        host.tmpfs.get_or_insert_default().insert(place.to_owned(), options.to_owned());
    }
    host.binds = Some(binds).filter(|binds| !binds.is_empty());
    host.mounts = Some(mounts).filter(|mounts| !mounts.is_empty());
    host.volume_driver = matches.text_or_empty("volume-driver");
    host.volumes_from = Some(matches.list("volumes-from")).filter(|others| !others.is_empty());
    Ok(())
}

/// What `-v` asks for.
#[derive(Debug, PartialEq, Eq)]
enum Volume {
    /// A volume without a name on this place.
    Unnamed(String),
    /// `SOURCE:PLACE[:MODE]`, for the engine to read.
    Bind(String),
}

fn volume(typed: &str, here: &Path) -> Result<Volume, Failure> {
    if typed.is_empty() {
        return Err(Failure::refused_launch("invalid empty volume spec"));
    }
    let invalid = |problem: &str| Failure::refused_launch(format!("invalid spec: {typed}: {problem}"));
    let parts: Vec<&str> = typed.split(':').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err(invalid("empty section between colons"));
    }
    match parts.as_slice() {
        [place] => Ok(Volume::Unnamed((*place).to_owned())),
        [source, rest @ ..] if rest.len() <= 2 => {
            let source = if source.starts_with('.') {
                mount::cleaned(&here.join(source))
            } else {
                (*source).to_owned()
            };
            Ok(Volume::Bind(format!("{source}:{}", rest.join(":"))))
        }
        _ => Err(invalid("too many colons")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_told_from_binds() {
        let read = |typed: &str| volume(typed, Path::new("/here")).unwrap();
        let bind = |text: &str| Volume::Bind(text.to_owned());
        assert_eq!(read("/data"), Volume::Unnamed("/data".to_owned()));
        assert_eq!(read("name:/data:ro"), bind("name:/data:ro"));
        assert_eq!(read("./x:/data"), bind("/here/x:/data"));
        assert_eq!(read("..:/data:ro,z"), bind("/:/data:ro,z"));
        assert_eq!(read("a/b:/data"), bind("a/b:/data"));
        for (wrong, words) in
            [("", "empty volume spec"), (":/x", "empty section"), ("a:b:c:d", "too many colons")]
        {
            assert!(volume(wrong, Path::new("/")).unwrap_err().to_string().contains(words), "{wrong}");
        }
    }
}

//! Images that come from a registry and go to one: Debian's `docker-registry` on loopback.

use super::peer::{Kind, Peer, timed};
use super::scenario::{ask, settle};
use super::workshop::{Workshop, image_documents};
use crate::build;
use crate::failure::Failure;
use e2e::{Demands, Distribution};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The image in the table, in files and layers.
const FILES_PER_LAYER: usize = 7_500;
const LAYER_COUNT: usize = 8;

/// How large a file is at least, and by how much at most it is larger: 640 MB in all.
const FILE_SIZE_LEAST: usize = 2_000;
const FILE_SIZE_SPREAD: usize = 17_300;

/// Files are cut out of so many bytes.
const POOL_SIZE: usize = 16 << 20;

/// What the image is called in archives and in registries.
const NAME: &str = "bench-layers";

/// Fetches the layers into a directory each, two at a time, with the system's own tools: the floor. The words are the
/// directory, the registry, and the digests.
const FLOOR: &str = r#"cd "$0" && registry=$1 && shift && printf '%s\n' "$@" | xargs -P 2 -I '{}' sh -c \
"mkdir {} && wget -q -O - http://$registry/v2/bench-layers/blobs/{} | gzip -dc | tar -xf - -C {}""#;

/// A pull into a store that does not have the image.
pub(super) fn pull(peer: &Peer, workshop: &Workshop) -> Option<Result<Duration, Failure>> {
    let registry = match filled(workshop) {
        Ok(registry) => registry,
        Err(failure) => return Some(Err(failure)),
    };
    if let Kind::Plain = peer.kind {
        return Some(floor(workshop, &registry));
    }
    let name = registry.name(NAME);
    let mut command = transfer(peer, "pull", &name)?;
    Some(forget(peer).and_then(|()| settle()).and_then(|()| timed(&mut command)))
}

/// Removes the image under all of its names: the registry has another port each time.
fn forget(peer: &Peer) -> Result<(), Failure> {
    let Some(mut list) = peer.engine(&["images", "--no-trunc", "--format", "{{.ID}} {{.Repository}}"]) else {
        return Ok(());
    };
    let listed = build::capture(&mut list)?;
    for line in listed.lines().filter(|line| line.ends_with(NAME)) {
        // Names of one image are removed together, so that a later line may have gone already.
        drop(ask(peer, &["rmi", "-f", line.split(' ').next().unwrap_or_default()]));
    }
    Ok(())
}

/// A pull of what is there.
pub(super) fn pull_known(peer: &Peer, workshop: &Workshop) -> Option<Result<Duration, Failure>> {
    let registry = match filled(workshop) {
        Ok(registry) => registry,
        Err(failure) => return Some(Err(failure)),
    };
    let name = registry.name(NAME);
    let mut command = transfer(peer, "pull", &name)?;
    if ask(peer, &["image", "inspect", &name]).is_err()
        && let Err(failure) = build::capture(&mut transfer(peer, "pull", &name)?)
    {
        return Some(Err(failure));
    }
    Some(settle().and_then(|()| timed(&mut command)))
}

/// A push of an image that came from an archive to a registry that has nothing.
pub(super) fn push(peer: &Peer, workshop: &Workshop) -> Option<Result<Duration, Failure>> {
    peer.is_engine().then(|| {
        let archive = archive(workshop)?.display().to_string();
        let registry = start(&workshop.path("registry-empty"))?;
        let name = registry.name(NAME);
        drop(ask(peer, &["rmi", "-f", NAME]));
        ask(peer, &["load", "-q", "-i", &archive])?;
        ask(peer, &["tag", NAME, &name])?;
        settle()?;
        let took = transfer(peer, "push", &name).map_or(Ok(Duration::ZERO), |mut push| timed(&mut push));
        drop(registry);
        drop(fs::remove_dir_all(workshop.path("registry-empty")));
        ask(peer, &["rmi", "-f", &name, NAME])?;
        took
    })
}

fn transfer(peer: &Peer, verb: &str, name: &str) -> Option<Command> {
    let mut command = peer.engine(&[verb, "-q"])?;
    // The others know that loopback needs no TLS.
    if peer.name == "podman" {
        command.arg("--tls-verify=false");
    }
    command.arg(name);
    Some(command)
}

fn floor(workshop: &Workshop, registry: &Distribution) -> Result<Duration, Failure> {
    let manifest = ["inspect", "--tls-verify=false", "--format={{range .Layers}}{{println .}}{{end}}"];
    let source = format!("docker://{}", registry.name(NAME));
    let layers = build::capture(Command::new("skopeo").args(manifest).arg(source))?;
    let target = workshop.path("floor");
    fs::create_dir_all(&target).map_err(Failure::file(&target))?;
    let mut fetch = Command::new("sh");
    fetch.args(["-c", FLOOR]).arg(&target).arg(registry.address()).args(layers.split_whitespace());
    let took = settle().and_then(|()| timed(&mut fetch));
    drop(fs::remove_dir_all(&target));
    took
}

/// A registry that has the image.
fn filled(workshop: &Workshop) -> Result<Distribution, Failure> {
    let directory = workshop.path("registry");
    let is_new = !directory.exists();
    let registry = start(&directory)?;
    if is_new {
        let archive = format!("docker-archive:{}", archive(workshop)?.display());
        let target = format!("docker://{}", registry.name(NAME));
        let words = ["copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false"];
        build::capture(Command::new("skopeo").args(words).args([archive, target]))?;
    }
    Ok(registry)
}

fn start(directory: &Path) -> Result<Distribution, Failure> {
    let missing = || Failure::Usage { text: "docker-registry is not installed".to_owned() };
    Distribution::start(directory, "127.0.0.1", &Demands::default()).ok_or_else(missing)
}

/// An archive of the image, made when first asked for.
fn archive(workshop: &Workshop) -> Result<PathBuf, Failure> {
    let (directory, archive) = (workshop.path("layered"), workshop.path("layered.tar"));
    if archive.exists() {
        return Ok(archive);
    }
    fs::create_dir_all(&directory).map_err(Failure::file(&directory))?;
    let pool = pool();
    let mut layers = Vec::new();
    for number in 0..LAYER_COUNT {
        let tree = workshop.path("layer-tree");
        let below = tree.join(format!("data{number}"));
        grow(&below, &pool, number)?;
        let layer = directory.join(format!("{number}.tar"));
        build::capture(Command::new("tar").arg("-cf").arg(&layer).arg("-C").arg(&tree).arg("."))?;
        fs::remove_dir_all(&tree).map_err(Failure::file(&tree))?;
        layers.push(layer);
    }
    image_documents(&directory, NAME, &layers)?;
    let layers = layers.iter().filter_map(|layer| layer.file_name());
    let mut tar = Command::new("tar");
    tar.arg("-cf")
        .arg(&archive)
        .arg("-C")
        .arg(&directory)
        .args(["manifest.json", "config.json"])
        .args(layers);
    build::capture(&mut tar)?;
    fs::remove_dir_all(&directory).map_err(Failure::file(&directory))?;
    settle()?;
    Ok(archive)
}

/// Numbers that are random enough and always the same (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 32).unwrap_or_default() % limit.max(1)
    }
}

/// Words and noise, which compressors make about half as long, as they do programs and libraries.
fn pool() -> Vec<u8> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let words: Vec<Vec<u8>> = (0..4_000)
        .map(|_| (0..2 + random.below(9)).map(|_| b"etaoinshrdlucmfw_"[random.below(17)]).collect())
        .collect();
    let mut pool = Vec::with_capacity(POOL_SIZE + 1024);
    while pool.len() < POOL_SIZE {
        if random.below(10) < 3 {
            pool.extend((0..256).map(|_| random.below(256).to_le_bytes()[0]));
        } else {
            (0..80).for_each(|_| {
                pool.extend_from_slice(&words[random.below(words.len())]);
                pool.push(b' ');
            });
        }
    }
    pool
}

/// The files of one layer, a hundred in each directory.
fn grow(directory: &Path, pool: &[u8], layer: usize) -> Result<(), Failure> {
    let mut random = Random(layer as u64 + 1);
    for number in 0..FILES_PER_LAYER {
        let parent = directory.join((number / 100).to_string());
        if number % 100 == 0 {
            fs::create_dir_all(&parent).map_err(Failure::file(&parent))?;
        }
        let size = FILE_SIZE_LEAST + random.below(FILE_SIZE_SPREAD);
        let start = random.below(pool.len() - size);
        let path = parent.join(number.to_string());
        fs::write(&path, &pool[start..start + size]).map_err(Failure::file(path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_is_always_the_same_and_the_image_about_640_mb() {
        let (one, other) = (pool(), pool());
        assert!(one == other && one.len() >= POOL_SIZE);
        let mean = FILE_SIZE_LEAST + FILE_SIZE_SPREAD / 2;
        let all = mean * FILES_PER_LAYER * LAYER_COUNT;
        assert!((635_000_000..645_000_000).contains(&all), "{all}");
    }
}

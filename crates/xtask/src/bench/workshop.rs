//! Where a comparison takes place: scratch directories, a bundle, and a large image made on the spot.

use crate::build;
use crate::failure::Failure;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// How many files the large image has.
const FILE_COUNT: u32 = 60_000;

/// How many bytes all of them have together.
const BYTE_COUNT: u64 = 640 * 1000 * 1000;

/// How many files lie in one directory of the large image.
const FILES_PER_DIRECTORY: u32 = 100;

/// The scratch space of one comparison.
#[derive(Debug)]
pub(super) struct Workshop {
    directory: TempDir,
}

impl Workshop {
    /// A scratch space on the disk that engines keep their images on, with a root file system and a bundle in it.
    pub(super) fn new() -> Result<Self, Failure> {
        let directory = tempfile::Builder::new()
            .prefix("mica-bench-")
            .tempdir_in("/var/tmp")
            .map_err(Failure::file("/var/tmp"))?;
        let workshop = Self { directory };
        let layer = workshop.path("layer.tar");
        let bytes = e2e::fixture::busybox_layer().map_err(Failure::file("/bin/busybox"))?;
        fs::write(&layer, bytes).map_err(Failure::file(&layer))?;
        let root = workshop.path("bundle/rootfs");
        fs::create_dir_all(&root).map_err(Failure::file(&root))?;
        build::capture(Command::new("tar").arg("-xf").arg(&layer).arg("-C").arg(&root))?;
        let settings = workshop.path("containers.conf");
        fs::write(&settings, podman_settings()).map_err(Failure::file(&settings))?;
        Ok(workshop)
    }

    /// A path inside.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The bundle for a low-level runtime, with the specification that the runtime itself proposes, without a terminal.
    pub(super) fn bundle(&self, runtime: &str) -> Result<PathBuf, Failure> {
        let bundle = self.path("bundle");
        let config = bundle.join("config.json");
        if config.exists() {
            return Ok(bundle);
        }
        build::capture(Command::new(runtime).arg("spec").current_dir(&bundle))?;
        let text = fs::read(&config).map_err(Failure::file(&config))?;
        let mut spec: Value = serde_json::from_slice(&text).map_err(|error| Failure::Document {
            document: config.display().to_string(),
            reason: error.to_string(),
        })?;
        spec["process"]["terminal"] = json!(false);
        spec["process"]["args"] = json!(["true"]);
        fs::write(&config, spec.to_string()).map_err(Failure::file(&config))?;
        Ok(bundle)
    }

    /// An archive of a large image named `large`, and its only layer; made when first asked for.
    pub(super) fn large(&self) -> Result<(PathBuf, PathBuf), Failure> {
        let directory = self.path("large");
        let (layer, archive) = (directory.join("layer.tar"), self.path("large.tar"));
        if !archive.exists() {
            let tree = self.path("tree");
            grow(&tree)?;
            fs::create_dir_all(&directory).map_err(Failure::file(&directory))?;
            build::capture(Command::new("tar").arg("-cf").arg(&layer).arg("-C").arg(&tree).arg("."))?;
            fs::remove_dir_all(&tree).map_err(Failure::file(&tree))?;
            image_documents(&directory, "large", std::slice::from_ref(&layer))?;
            let parts = ["manifest.json", "config.json", "layer.tar"];
            build::capture(
                Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&directory).args(parts),
            )?;
            build::capture(&mut Command::new("sync"))?;
        }
        Ok((archive, layer))
    }
}

/// Settings with which podman works wherever the others do: its own limits may be above what the machine allows, and its own choice of runtime refuses hybrid cgroups.
fn podman_settings() -> String {
    let runtime = if Path::new("/usr/sbin/runc").exists() { "[engine]\nruntime = \"runc\"\n" } else { "" };
    format!("[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n{runtime}")
}

/// Writes the configuration and manifest of an image, as docker's archives have them.
pub(super) fn image_documents(directory: &Path, name: &str, layers: &[PathBuf]) -> Result<(), Failure> {
    let mut diff_ids = Vec::new();
    for layer in layers {
        let said = build::capture(Command::new("sha256sum").arg(layer))?;
        diff_ids.push(format!("sha256:{}", said.split(' ').next().unwrap_or_default()));
    }
    let files: Vec<_> = layers.iter().filter_map(|layer| layer.file_name()?.to_str()).collect();
    let history: Vec<_> =
        files.iter().map(|_| json!({"created": "2024-01-02T03:04:05Z", "created_by": "bench"})).collect();
    let architecture = if std::env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" };
    let config = json!({
        "architecture": architecture, "os": "linux", "created": "2024-01-02T03:04:05Z", "config": {"Cmd": ["true"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history,
    });
    let names = [format!("{name}:latest")];
    let manifest = json!([{"Config": "config.json", "RepoTags": names, "Layers": files}]);
    for (name, document) in [("config.json", config), ("manifest.json", manifest)] {
        let path = directory.join(name);
        fs::write(&path, document.to_string()).map_err(Failure::file(path))?;
    }
    Ok(())
}

/// Makes a tree of many files with contents that no compressor shortens.
fn grow(tree: &Path) -> Result<(), Failure> {
    let size = usize::try_from(BYTE_COUNT / u64::from(FILE_COUNT)).unwrap_or_default();
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut content = vec![0; size.next_multiple_of(8)];
    for number in 0..FILE_COUNT {
        let directory = tree.join((number / FILES_PER_DIRECTORY).to_string());
        if number % FILES_PER_DIRECTORY == 0 {
            fs::create_dir_all(&directory).map_err(Failure::file(&directory))?;
        }
        for word in content.chunks_exact_mut(8) {
            // xorshift64: quick, and random enough for this.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let path = directory.join(number.to_string());
        fs::write(&path, &content[..size]).map_err(Failure::file(path))?;
    }
    Ok(())
}

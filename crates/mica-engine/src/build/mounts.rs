//! `RUN --mount`: what a command sees besides the files of its image.

use super::context::literal;
use super::copy::one;
use super::places::Place;
use super::worker::Builder;
use crate::error::{Error, Result};
use crate::{lock, system};
use mica_build::dockerfile::mount::CacheSharing;
use mica_build::worker::{Access, CacheMount, Mounted, Origin, RunMount, RunStep};
use mica_model::Digest;
use mica_snapshot::archive::open_tree_root;
use mica_snapshot::graft::{self, Destination, GraftOptions, Source, SourcePath, Verdict};
use oci_spec::runtime::{Mount, MountBuilder};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// The mounts of a step, as long as it runs.
#[derive(Debug)]
pub(super) struct Mounts {
    entries: Vec<Entry>,
    /// Variables that secrets and agents bring.
    variables: Vec<String>,
    /// The lowest layer, which has the places that things are mounted on.
    stubs: PathBuf,
    /// Held as long as the step runs.
    _locks: Vec<File>,
    /// Holds secrets, and is deleted with them.
    _secrets: Option<SecretDirectory>,
}

#[derive(Debug)]
struct Entry {
    target: String,
    what: What,
    is_read_only: bool,
    is_directory: bool,
}

#[derive(Debug)]
enum What {
    /// A node of this host.
    Node(OwnedFd),
    /// A part of layers, the top one first.
    Layers(Vec<PathBuf>, String),
    /// Memory.
    Memory(Option<u64>),
}

/// A mount, and the device and inode that its source must have.
type Planned = (Mount, Option<(u64, u64)>);

/// Where secrets lie until the command has them. It is locked as long as its process lives, so that what killed ones
/// have left can be told from it.
#[derive(Debug)]
struct SecretDirectory {
    path: PathBuf,
    _lock: File,
}

impl SecretDirectory {
    fn new(all: &Path) -> Result<Self> {
        crate::disk::make_directory(all)?;
        sweep_secrets(all);
        let path = all.join(mica_model::digest::hex(&system::random::<16>()));
        // Before the directory, so that no other sees it without its lock.
        let lock = lock::exclusive(&path.with_extension("lock"))?;
        crate::disk::make_directory(&path)?;
        Ok(Self { path, _lock: lock })
    }
}

impl Drop for SecretDirectory {
    fn drop(&mut self) {
        let _ = mica_snapshot::remove_tree(&self.path);
        let _ = fs::remove_file(self.path.with_extension("lock"));
    }
}

/// Deletes what processes that were killed have left.
fn sweep_secrets(all: &Path) {
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        let path = entry.path();
        let lock_path = path.with_extension("lock");
        if path != lock_path && matches!(lock::try_exclusive(&lock_path), Ok(Some(_))) {
            let _ = mica_snapshot::remove_tree(&path);
            let _ = fs::remove_file(lock_path);
        }
    }
}

impl Mounts {
    /// Gets everything ready that a step wants to see.
    pub(super) fn prepare(builder: &Builder<'_>, place: &Place, step: &RunStep) -> Result<Self> {
        let stubs = place.disk.directory().join("stubs");
        crate::disk::make_layer_directory(&stubs)?;
        let mut mounts =
            Self { entries: Vec::new(), variables: Vec::new(), stubs, _locks: Vec::new(), _secrets: None };
        for (index, mount) in step.mounts.iter().enumerate() {
            mounts.add(builder, place, (index, mount))?;
        }
        if let Some((name, content)) = &step.script {
            let directory = place.disk.directory().join("pipes");
            crate::disk::make_layer_directory(&directory)?;
            let plain = name.rsplit('/').next().unwrap_or_default();
            let path = directory.join(plain);
            crate::disk::write_file(&path, content.as_bytes())?;
            let executable = Permissions::from_mode(0o755);
            fs::set_permissions(&path, executable)
                .map_err(|source| Error::io("set the mode of", &path, source))?;
            mounts.bind("/dev/pipes", open_tree_root(&directory)?, true, true);
        }
        mounts.make_stubs()?;
        Ok(mounts)
    }

    fn add(
        &mut self,
        builder: &Builder<'_>,
        place: &Place,
        (index, mount): (usize, &RunMount),
    ) -> Result<()> {
        let target = mount.target.as_str();
        match &mount.what {
            Mounted::Files { origin, path } => {
                let copy = place.disk.directory().join(format!("mount-{index}"));
                let (what, is_directory) = files(builder, (origin, path), mount.is_read_only, &copy)?;
                let target = target.to_owned();
                self.entries.push(Entry { target, what, is_read_only: mount.is_read_only, is_directory });
            }
            Mounted::Cache(cache) => {
                let node = self.cache(builder, cache)?;
                self.bind(target, node, mount.is_read_only, true);
            }
            Mounted::Memory { size_bytes } => self.entries.push(Entry {
                target: target.to_owned(),
                what: What::Memory(*size_bytes),
                is_read_only: false,
                is_directory: true,
            }),
            Mounted::Secret { id, variable, access, is_required } => {
                let Some(secret) = builder.request.secrets.iter().find(|secret| secret.id == *id) else {
                    return if *is_required {
                        Err(Error::invalid(format!("secret {id}: not found")))
                    } else {
                        Ok(())
                    };
                };
                if let Some(variable) = variable {
                    self.variables.push(format!("{variable}={}", String::from_utf8_lossy(&secret.content)));
                }
                if !target.is_empty() {
                    let node = self.secret(builder, (index, &secret.content), *access)?;
                    self.bind(target, node, true, false);
                }
            }
            Mounted::Agent { id, is_required, .. } => {
                // Docker says it whether or not there is an agent.
                self.variables.push(format!("SSH_AUTH_SOCK={target}"));
                let Some(socket) = builder.request.agents.get(id) else {
                    return match is_required {
                        true => Err(Error::invalid(format!("unset ssh forward key {id}"))),
                        false => Ok(()),
                    };
                };
                let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
                let node = rustix::fs::open(socket, flags, rustix::fs::Mode::empty())
                    .map_err(|errno| Error::io("open", socket, errno.into()))?;
                self.bind(target, node, false, false);
            }
        }
        Ok(())
    }

    fn bind(&mut self, target: &str, node: OwnedFd, is_read_only: bool, is_directory: bool) {
        self.entries.push(Entry {
            target: target.to_owned(),
            what: What::Node(node),
            is_read_only,
            is_directory,
        });
    }

    /// The directory of a cache, made if it is new.
    fn cache(&mut self, builder: &Builder<'_>, cache: &CacheMount) -> Result<OwnedFd> {
        let name = Digest::from_bytes(Sha256::digest(cache.id.as_bytes()).into()).hex();
        let caches = builder.local.disk.build_caches();
        crate::disk::make_directory(&caches)?;
        let mut path = caches.join(&name);
        match cache.sharing {
            CacheSharing::Shared => {}
            CacheSharing::Locked => self._locks.push(lock::exclusive(&caches.join(format!("{name}.lock")))?),
            CacheSharing::Private => {
                for number in 0.. {
                    let lock_path = caches.join(format!("{name}.{number}.lock"));
                    if let Some(lock) = lock::try_exclusive(&lock_path)? {
                        self._locks.push(lock);
                        path = if number == 0 { path } else { caches.join(format!("{name}.{number}")) };
                        break;
                    }
                }
            }
        }
        // As long as it is held, nobody deletes the directory.
        self._locks.push(loop {
            match lock::shared_directory(&path)? {
                Some(lock) => break lock,
                None => make_cache(builder, cache, &path)?,
            }
        });
        // For the record of when it was used last, which decides what goes first.
        let _ = File::open(&path).and_then(|directory| directory.set_modified(std::time::SystemTime::now()));
        let root = open_tree_root(&path.join("data"))?;
        let all = |_: &SourcePath<'_>| Verdict::Take;
        let source = match cache.origin {
            // The path is one of what the cache began with.
            Some(_) => one(Some(root.as_fd()), "/", &all)?,
            None => one(Some(root.as_fd()), &cache.path, &all)?,
        };
        Ok(source.node()?)
    }

    /// A file with a secret, on the file system that a reboot forgets.
    fn secret(
        &mut self,
        builder: &Builder<'_>,
        (index, content): (usize, &[u8]),
        access: Access,
    ) -> Result<OwnedFd> {
        let directory = match &self._secrets {
            Some(directory) => directory.path.clone(),
            None => {
                let new = SecretDirectory::new(&builder.local.disk.build_secrets())?;
                let directory = new.path.clone();
                self._secrets = Some(new);
                directory
            }
        };
        let path = directory.join(index.to_string());
        let fail = |source| Error::io("write", &path, source);
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(fail)?;
        file.write_all(content).map_err(fail)?;
        chown(&path, Some(access.user), Some(access.group)).map_err(fail)?;
        fs::set_permissions(&path, Permissions::from_mode(access.mode)).map_err(fail)?;
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
        rustix::fs::open(&path, flags, rustix::fs::Mode::empty()).map_err(|errno| fail(errno.into()))
    }

    /// Makes the places that things are mounted on, below all layers: what an image has of them it
    /// keeps, and nothing of them comes into the step's own layer.
    fn make_stubs(&self) -> Result<()> {
        let root = open_tree_root(&self.stubs)?;
        for entry in &self.entries {
            let path = entry.target.as_bytes();
            let parent = match entry.is_directory {
                true => path,
                false => &path[..path.iter().rposition(|&byte| byte == b'/').unwrap_or(0)],
            };
            let options = GraftOptions::default();
            graft::make_directory(
                &Destination { root: root.as_fd(), path: parent, is_directory: true },
                &options,
            )?;
            if !entry.is_directory {
                let plain = self.stubs.join(entry.target.trim_start_matches('/'));
                File::create(&plain).map_err(|source| Error::io("make", &plain, source))?;
            }
        }
        Ok(())
    }

    /// The mounts for the runtime's document.
    pub(super) fn document(&self) -> Result<Vec<Planned>> {
        self.entries.iter().map(Entry::document).collect()
    }

    pub(super) fn variables(&self) -> &[String] {
        &self.variables
    }

    pub(super) fn stubs(&self) -> &Path {
        &self.stubs
    }

    /// Takes the names of secrets away, which a command that runs needs no longer: what is mounted stays
    /// until it ends, and nothing is left if this process is killed.
    pub(super) fn forget_secrets(&mut self) {
        self._secrets = None;
    }

    /// Takes away what mounting has left in a step's layer, where a link of the image led past the
    /// places below.
    pub(super) fn clear(&self, place: &Place) -> Result<()> {
        let upper = open_tree_root(&place.disk.upper())?;
        for entry in &self.entries {
            graft::remove_empty(upper.as_fd(), entry.target.as_bytes())?;
        }
        Ok(())
    }
}

impl Entry {
    /// The mount, and what must be found at its source: names are looked up once more when it is made.
    fn document(&self) -> Result<Planned> {
        let builder = MountBuilder::default().destination(&self.target);
        let access = if self.is_read_only { "ro" } else { "rw" };
        let mut identity = None;
        let builder = match &self.what {
            What::Node(node) => {
                let link = PathBuf::from(format!("/proc/self/fd/{}", node.as_raw_fd()));
                let source = fs::read_link(&link).map_err(|source| Error::io("resolve", &link, source))?;
                let stat =
                    rustix::fs::fstat(node).map_err(|errno| Error::io("examine", &source, errno.into()))?;
                identity = Some((stat.st_dev, stat.st_ino));
                let options = ["bind", "rprivate", "nosuid", "nodev", access].map(str::to_owned).to_vec();
                builder.typ("bind").source(source).options(options)
            }
            What::Layers(lowers, part) => {
                let mut options: Vec<String> =
                    lowers.iter().map(|lower| format!("lowerdir+={}", lower.display())).collect();
                options.push(format!("{}{part}", mica_runtime::SUBPATH_OPTION));
                options.extend(["ro", "nosuid", "nodev"].map(str::to_owned));
                builder.typ("overlay").source("overlay").options(options)
            }
            What::Memory(size) => {
                let mut options = ["nosuid", "nodev", "mode=1777"].map(str::to_owned).to_vec();
                options.extend(size.map(|size| format!("size={size}")));
                builder.typ("tmpfs").source("tmpfs").options(options)
            }
        };
        let invalid = |error| Error::invalid(format!("the mount at {} is not valid: {error}", self.target));
        Ok((builder.build().map_err(invalid)?, identity))
    }
}

/// What a bind mount shows. What may be written to, or is not as the step may see it, is a copy.
fn files(
    builder: &Builder<'_>,
    (origin, path): (&Origin, &str),
    is_read_only: bool,
    copy: &Path,
) -> Result<(What, bool)> {
    let layers = match origin {
        Origin::Root(root) => Some(builder.directories(root)?),
        _ => None,
    };
    let mounted = match origin {
        Origin::Root(root) => Some(builder.files_of(root)?),
        _ => None,
    };
    let tree = builder.tree(origin);
    let filter = |path: &SourcePath<'_>| tree.map_or(Verdict::Take, |tree| tree.verdict(path));
    let root = match (&mounted, tree) {
        (Some(mounted), _) => Some(mounted.as_fd()),
        (None, tree) => tree.and_then(|tree| tree.root()),
    };
    let source: Source = one(root, path, &filter)?;
    let is_directory = source.is_directory();
    let is_plain = tree.is_some_and(|tree| !tree.hides_anything());
    if is_read_only && is_plain {
        return Ok((What::Node(source.node()?), is_directory));
    }
    if let Some(layers) = layers.filter(|layers| is_read_only && !layers.is_empty()) {
        let lowers: Vec<PathBuf> = layers.into_iter().rev().collect();
        let lowers = mica_snapshot::visible_lowers(&lowers)?;
        let part = String::from_utf8(source.path().to_vec())
            .map_err(|_| Error::invalid(format!("{path:?} is not a name in UTF-8")))?;
        return Ok((What::Layers(lowers, part), is_directory));
    }
    crate::disk::make_layer_directory(copy)?;
    let root = open_tree_root(copy)?;
    let options = GraftOptions { keep_top: true, keep_owners: mounted.is_some(), ..GraftOptions::default() };
    let destination = Destination { root: root.as_fd(), path: b"/node", is_directory: false };
    graft::graft(&source, &filter, &destination, &options)?;
    let all = |_: &SourcePath<'_>| Verdict::Take;
    let copied = graft::find(root.as_fd(), &literal("node"), &all)?;
    let copied = copied.first().ok_or_else(|| Error::invalid(format!("{path:?}: not found")))?;
    Ok((What::Node(copied.node()?), is_directory))
}

/// Makes a cache whole before it is seen.
fn make_cache(builder: &Builder<'_>, cache: &CacheMount, path: &Path) -> Result<()> {
    let fresh = path.with_extension(mica_model::digest::hex(&system::random::<16>()));
    let data = fresh.join("data");
    crate::disk::make_layer_directory(&data)?;
    if let Some(Origin::Root(root)) = &cache.origin {
        let from = builder.files_of(root)?;
        let all = |_: &SourcePath<'_>| Verdict::Take;
        let source = one(Some(from.as_fd()), &cache.path, &all)?;
        let target = open_tree_root(&data)?;
        let destination = Destination { root: target.as_fd(), path: b"/", is_directory: true };
        let options = GraftOptions { keep_top: true, keep_owners: true, ..GraftOptions::default() };
        graft::graft(&source, &all, &destination, &options)?;
    }
    let fail = |source| Error::io("make", &data, source);
    crate::disk::write_file(&fresh.join("id"), cache.id.as_bytes())?;
    chown(&data, Some(cache.access.user), Some(cache.access.group)).map_err(fail)?;
    fs::set_permissions(&data, Permissions::from_mode(cache.access.mode)).map_err(fail)?;
    match fs::rename(&fresh, path) {
        Ok(()) => Ok(()),
        // Another build was quicker.
        Err(_) if path.exists() => Ok(mica_snapshot::remove_tree(&fresh)?),
        Err(source) => Err(Error::io("make", path, source)),
    }
}

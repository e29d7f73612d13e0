//! What the solver needs done: the only way in which this crate touches anything.

use crate::dockerfile::DeviceWish;
use crate::dockerfile::mount::CacheSharing;
use crate::image::{Image, Root};
use mica_model::{Digest, Timestamp};

/// What a step did to the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The layer that holds it; nothing if there was nothing to do.
    pub layer: Option<Digest>,
    /// When it was done.
    pub created: Timestamp,
}

/// Where a step takes files from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The context of the build.
    Context,
    /// A named context that is a directory.
    Named(String),
    /// A stage or an image.
    Root(Root),
}

/// `COPY` and `ADD`, with all variables replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyStep {
    /// Where from.
    pub origin: Origin,
    /// Paths and patterns; for `ADD` also URLs.
    pub sources: Vec<String>,
    /// Files written in the Dockerfile: name and content.
    pub files: Vec<(String, String)>,
    /// An absolute path.
    pub destination: String,
    /// The same as the instruction has it.
    pub destination_as_written: String,
    /// Whether that is a directory even if it does not exist. If not, each source takes the place of the one before, as
    /// docker has it.
    pub is_directory: bool,
    /// `--chown`.
    pub owner: Option<String>,
    /// `--chmod`.
    pub mode: Option<String>,
    /// `--exclude`.
    pub excludes: Vec<String>,
    /// `--parents`.
    pub with_parents: bool,
    /// `--link`.
    pub is_linked: bool,
    /// What only `ADD` does.
    pub add: Option<AddStep>,
}

impl CopyStep {
    /// Whether the layer is the same whatever lies below it. As docker has it, `--chmod` ends that.
    pub const fn is_independent(&self) -> bool {
        self.is_linked && self.mode.is_none()
    }

    /// Whether what lies below need not even be looked at.
    pub(crate) fn ignores_root(&self) -> bool {
        let is_number = |text: &String| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
        self.is_independent() && self.owner.as_ref().is_none_or(is_number)
    }
}

/// What only `ADD` does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddStep {
    /// `--checksum`.
    pub checksum: Option<String>,
    /// `--keep-git-dir`.
    pub keep_git_dir: bool,
    /// `--unpack`; nothing means local archives only.
    pub unpack: Option<bool>,
}

/// `RUN`, with all variables replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunStep {
    /// Program and arguments.
    pub arguments: Vec<String>,
    /// The environment, without what is not part of the key.
    pub environment: Vec<String>,
    /// Proxies: neither part of the key nor of the image.
    pub proxies: Vec<String>,
    /// The working directory; empty for `/`.
    pub directory: String,
    /// The user as written.
    pub user: String,
    /// What is mounted for this step.
    pub mounts: Vec<RunMount>,
    /// Which network it has.
    pub network: Network,
    /// Whether it has all rights.
    pub is_insecure: bool,
    /// A file for `/dev/pipes`: name and content.
    pub script: Option<(String, String)>,
    /// The devices it asks for.
    pub devices: Vec<DeviceWish>,
}

/// The network of a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Network {
    /// That of the build.
    #[default]
    Default,
    /// Loopback only.
    None,
    /// The host's.
    Host,
}

/// A mount of a `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMount {
    /// Where it is seen: an absolute path; empty for a secret that is only a variable.
    pub target: String,
    /// What is seen there.
    pub what: Mounted,
    /// Whether writing is refused.
    pub is_read_only: bool,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mounted {
    /// Files; what is written is not kept.
    Files {
        /// Of what.
        origin: Origin,
        /// The path in it.
        path: String,
    },
    /// A directory that outlives the build.
    Cache(CacheMount),
    /// Memory.
    Memory {
        /// At most so many bytes.
        size_bytes: Option<u64>,
    },
    /// A secret as a file, as a variable, or both.
    Secret {
        /// Its id.
        id: String,
        /// The variable.
        variable: Option<String>,
        /// Permissions and owner of the file.
        access: Access,
        /// Whether it must have been handed over.
        is_required: bool,
    },
    /// The socket of an ssh agent.
    Agent {
        /// Its id.
        id: String,
        /// Permissions and owner of the socket.
        access: Access,
        /// Whether it must have been handed over.
        is_required: bool,
    },
}

/// `--mount=type=cache`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheMount {
    /// Its id.
    pub id: String,
    /// How builds share it at the same time.
    pub sharing: CacheSharing,
    /// What a new one begins with.
    pub origin: Option<Origin>,
    /// The directory of it that is seen.
    pub path: String,
    /// Permissions and owner of a new one.
    pub access: Access,
}

/// Permissions and owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// The permissions.
    pub mode: u32,
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
}

/// A step on its way, for messages: which one it is among those that a build tells about.
pub type StepNumber = u32;

/// Does what the solver decides; called from several threads at once.
pub trait Worker: Sync {
    /// Why it could not.
    type Error: Send;

    /// The image of a name.
    ///
    /// # Errors
    /// When there is none.
    fn image(&self, name: &str, platform: Option<&str>) -> Result<Image, Self::Error>;

    /// What a step of this key did when it was done before, if that is still there.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn find(&self, key: &Digest) -> Result<Option<Change>, Self::Error>;

    /// What a step of this key did, if it was done for the same command: then it need not be done again even if nothing
    /// that was done before counts. Else it is to be done now.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn find_fresh(&self, key: &Digest) -> Result<Option<Change>, Self::Error> {
        let _ = key;
        Ok(None)
    }

    /// Remembers what a step of this key did.
    ///
    /// # Errors
    /// When it cannot be written.
    fn keep(&self, key: &Digest, change: &Change, description: &str) -> Result<(), Self::Error>;

    /// Tells whether files are the same as another time: a digest of all that a copy would take.
    ///
    /// # Errors
    /// When what is named is not there.
    fn digest_sources(&self, step: &CopyStep) -> Result<Digest, Self::Error>;

    /// The same for what a mount shows of a context.
    ///
    /// # Errors
    /// When what is named is not there.
    fn digest_files(&self, origin: &Origin, path: &str) -> Result<Digest, Self::Error>;

    /// Copies onto `root`.
    ///
    /// # Errors
    /// What reading and writing gives.
    fn copy(&self, root: &Root, step: &CopyStep, number: StepNumber) -> Result<Change, Self::Error>;

    /// Runs on `root`.
    ///
    /// # Errors
    /// When it cannot be started or does not succeed.
    fn run(&self, root: &Root, step: &RunStep, number: StepNumber) -> Result<Change, Self::Error>;

    /// Makes a directory on `root` for a user, as `WORKDIR` does.
    ///
    /// # Errors
    /// When it cannot be made.
    fn make_directory(&self, root: &Root, path: &str, user: &str) -> Result<Change, Self::Error>;

    /// Another step has failed: what runs is to end.
    fn cancel(&self);
}

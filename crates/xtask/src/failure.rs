//! Why a chore could not be done.

use std::path::PathBuf;

/// Why a chore could not be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The words after `cargo xtask` make no sense.
    #[error("{text}")]
    Usage {
        /// What is wrong, and what would be right.
        text: String,
    },
    /// A program could not be started.
    #[error("cannot run `{program}`: {source}")]
    Start {
        /// Which one.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// A program ended badly.
    #[error("`{command}` failed{detail}")]
    Command {
        /// The command line.
        command: String,
        /// What it said, after a colon, if anything.
        detail: String,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A document is not what it should be.
    #[error("{document}: {reason}")]
    Document {
        /// Which one.
        document: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Checks were made and some did not hold; they have been printed.
    #[error("{count} {what}")]
    Checks {
        /// How many.
        count: usize,
        /// Of what.
        what: &'static str,
    },
    /// The chore needs rights that the caller lacks.
    #[error("{what} needs root: run it with sudo, or choose other steps with --only")]
    Root {
        /// What does.
        what: &'static str,
    },
    /// Packages of the distribution could not be installed.
    #[error(
        "cannot install {packages}: {reason}\nhint: this needs Debian's package servers; connect to the network, or install the packages by hand and run again"
    )]
    Packages {
        /// Which ones.
        packages: String,
        /// What apt said.
        reason: String,
    },
}

impl Failure {
    /// Turns an error of the file system into a failure that names the file.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}

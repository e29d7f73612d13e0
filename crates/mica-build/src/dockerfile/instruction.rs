//! Dockerfiles as types: stages, instructions and their flags, each with its place in the text.
//!
//! Words are unexpanded: `$x`, quotes and escapes are still in them. What is never expanded says so.

use super::check::CheckOptions;
use super::directive::Directives;
use super::heredoc::Heredoc;
use super::mount::MountFlag;
use super::position::{Located, Span, Word};
use std::time::Duration;

pub use super::command_line::{CommandLine, Program};

/// A whole Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// What the first lines tell the parser.
    pub directives: Directives,
    /// The `ARG`s before the first `FROM`, whose values `FROM` sees and stages ask for by an `ARG` of their own.
    pub global_arguments: Vec<Instruction>,
    /// The stages, in the order of the file; never empty.
    pub stages: Vec<Stage>,
    /// Empty lines inside of continued instructions, which docker only tolerates.
    pub empty_continuations: Vec<Span>,
}

impl Dockerfile {
    /// The options of `# check=`, or none.
    pub fn check(&self) -> CheckOptions {
        self.directives.check.as_ref().map(|check| check.value.clone()).unwrap_or_default()
    }
}

/// A `FROM` and what follows it up to the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The image, stage or named context that it starts from: `FROM base`.
    pub base: Word,
    /// Its name in lower case: `FROM base AS name`. Never expanded.
    pub name: Option<Word>,
    /// The name as it was written.
    pub name_as_written: Option<String>,
    /// The word `AS` as it was written.
    pub as_keyword: Option<Word>,
    /// `--platform`.
    pub platform: Option<Word>,
    /// The word `FROM` as it was written.
    pub keyword: Word,
    /// The whole `FROM` line.
    pub span: Span,
    /// The `FROM` line on one line, continuations joined.
    pub text: String,
    /// The comment lines directly above.
    pub comments: Vec<Word>,
    /// What is done in it.
    pub instructions: Vec<Instruction>,
}

/// An instruction with its place and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// What it is.
    pub kind: Kind,
    /// Its name as it was written, such as `run`.
    pub keyword: Word,
    /// From its name to its end, heredocs included.
    pub span: Span,
    /// All of it on one line: continuations joined, comments dropped, heredocs left out. Histories and progress show it.
    pub text: String,
    /// The comment lines directly above.
    pub comments: Vec<Word>,
}

/// The instructions, by name. (`FROM` is a [`Stage`].)
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `ADD`.
    Add(Add),
    /// `ARG name[=default] …`.
    Arg(Vec<Argument>),
    /// `CMD`.
    Cmd(CommandLine),
    /// `COPY`.
    Copy(Copy),
    /// `ENTRYPOINT`.
    Entrypoint(CommandLine),
    /// `ENV name=value …`.
    Env(Pairs),
    /// `EXPOSE port[-port][/protocol] …`, in docker's order: sorted as texts.
    Expose(Vec<Word>),
    /// `HEALTHCHECK`.
    Healthcheck(Healthcheck),
    /// `LABEL name=value …`.
    Label(Pairs),
    /// `MAINTAINER`. Never expanded.
    Maintainer(Word),
    /// `ONBUILD`.
    Onbuild(Onbuild),
    /// `RUN`.
    Run(Run),
    /// `SHELL`, always of exec form. Never expanded.
    Shell(Vec<Word>),
    /// `STOPSIGNAL`.
    Stopsignal(Word),
    /// `USER`.
    User(Word),
    /// `VOLUME`, of either form.
    Volume(Vec<Word>),
    /// `WORKDIR`.
    Workdir(Word),
}

/// One name of an `ARG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// The name.
    pub name: Word,
    /// The default; expanded with what stands before it.
    pub default: Option<Word>,
}

/// The pairs of `ENV` or `LABEL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pairs {
    /// The pairs in order. All values are expanded with what was set before the instruction.
    pub pairs: Vec<Pair>,
    /// Whether it was the old form without `=`, which takes the rest of the line as the value.
    pub is_legacy: bool,
}

/// A name and a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The name.
    pub name: Word,
    /// The value.
    pub value: Word,
}

/// What `COPY` and `ADD` have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// The paths, patterns, and for `ADD` the URLs, in order. Docker takes them before the heredocs.
    pub sources: Vec<Word>,
    /// The files written in the Dockerfile itself, in order.
    pub files: Vec<InlineFile>,
    /// Where they go; a `/` at its end makes it a directory.
    pub destination: Word,
    /// Whether sources and destination were a JSON array, which may hold paths with spaces.
    pub is_json: bool,
    /// `--chown`.
    pub chown: Option<Word>,
    /// `--chmod`, octal or symbolic.
    pub chmod: Option<Word>,
    /// `--link`.
    pub link: bool,
    /// `--exclude`, each.
    pub excludes: Vec<Word>,
}

/// A heredoc as a source of `COPY` or `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InlineFile {
    /// The name of the file when the destination is a directory.
    pub name: Word,
    /// What is in it; leading tabs are gone when `<<-` asked for it.
    pub content: Located<String>,
    /// Whether variables in it are replaced: false when the word was quoted.
    pub expand: bool,
}

/// `COPY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// What goes where.
    pub transfer: Transfer,
    /// `--from`: a stage by name or number, a named context, or an image.
    pub from: Option<Word>,
    /// `--parents`.
    pub parents: bool,
}

/// `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    /// What goes where.
    pub transfer: Transfer,
    /// `--checksum`.
    pub checksum: Option<Word>,
    /// `--keep-git-dir`.
    pub keep_git_dir: Option<bool>,
    /// `--unpack`; nothing means that local archives are unpacked and downloaded ones are not.
    pub unpack: Option<bool>,
}

/// `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The command as written. Never expanded: that is left to the shell.
    pub command: CommandLine,
    /// The heredocs of a command of shell form.
    pub heredocs: Vec<Heredoc>,
    /// `--mount`, each; [`MountFlag::resolve`] makes a mount of it.
    pub mounts: Vec<MountFlag>,
    /// `--network`.
    pub network: Option<Located<RunNetwork>>,
    /// `--security`.
    pub security: Option<Located<RunSecurity>>,
    /// `--device`, each.
    pub devices: Vec<Word>,
}

/// `RUN --network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunNetwork {
    /// That of the build.
    Default,
    /// Loopback only.
    None,
    /// The host's, when the build allows it.
    Host,
}

/// `RUN --security`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunSecurity {
    /// As confined as a container.
    Sandbox,
    /// With all rights, when the build allows it.
    Insecure,
}

/// `HEALTHCHECK`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck {
    /// `HEALTHCHECK NONE`: without the one of the base image.
    None,
    /// `HEALTHCHECK CMD …`.
    Command(HealthcheckCommand),
}

/// `HEALTHCHECK CMD …`; what is not said is docker's default, told by zero in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthcheckCommand {
    /// The command. Never expanded.
    pub command: CommandLine,
    /// `--interval`.
    pub interval: Option<Duration>,
    /// `--timeout`.
    pub timeout: Option<Duration>,
    /// `--start-period`.
    pub start_period: Option<Duration>,
    /// `--start-interval`.
    pub start_interval: Option<Duration>,
    /// `--retries`.
    pub retries: Option<u32>,
}

/// `ONBUILD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Onbuild {
    /// The instruction as the image keeps it, heredocs included; [`super::parse_trigger`] reads it again.
    pub expression: String,
    /// The same, parsed.
    pub trigger: Box<Instruction>,
}

impl Kind {
    /// The name of the instruction in capitals.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "ADD",
            Self::Arg(_) => "ARG",
            Self::Cmd(_) => "CMD",
            Self::Copy(_) => "COPY",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Env(_) => "ENV",
            Self::Expose(_) => "EXPOSE",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Label(_) => "LABEL",
            Self::Maintainer(_) => "MAINTAINER",
            Self::Onbuild(_) => "ONBUILD",
            Self::Run(_) => "RUN",
            Self::Shell(_) => "SHELL",
            Self::Stopsignal(_) => "STOPSIGNAL",
            Self::User(_) => "USER",
            Self::Volume(_) => "VOLUME",
            Self::Workdir(_) => "WORKDIR",
        }
    }
}

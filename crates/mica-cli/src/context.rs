//! What a command is given to work with: the engine, the configuration, and where to print.

use crate::config::{Config, ConfigFile, EngineOptions};
use crate::credentials::UserKeyring;
use crate::output::ui::{Colour, Ui, UiError};
use crate::report::Failure;
use mica_api::Engine;
use mica_model::RegistryAccess;
use std::cell::{OnceCell, RefCell};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Opens the engine; called at most once, and only by commands that need one.
pub type OpenEngine<'a> = &'a dyn Fn(&EngineOptions) -> mica_api::Result<Box<dyn Engine>>;

/// Standard output and error, or what a test put in their places.
pub struct Streams {
    /// Prints results and everything else.
    pub ui: Ui,
    /// The descriptors that an attached container reads and writes; those of this process if
    /// absent.
    pub descriptors: Option<Descriptors>,
    /// Which of the standard streams are terminals.
    pub terminals: Terminals,
}

/// Descriptors in the places of the standard ones.
#[derive(Debug)]
pub struct Descriptors {
    /// For standard input.
    pub input: OwnedFd,
    /// For standard output.
    pub output: OwnedFd,
    /// For standard error.
    pub error: OwnedFd,
}

/// Which of the standard streams are terminals.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terminals {
    /// Standard input.
    pub input: bool,
    /// Standard output.
    pub output: bool,
    /// Standard error.
    pub error: bool,
}

impl Streams {
    /// Those of this process.
    pub fn inherited(colour: Colour) -> Self {
        Self {
            ui: Ui::standard(colour),
            descriptors: None,
            terminals: Terminals {
                input: io::stdin().is_terminal(),
                output: io::stdout().is_terminal(),
                error: io::stderr().is_terminal(),
            },
        }
    }
}

impl std::fmt::Debug for Streams {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Streams").field("terminals", &self.terminals).finish_non_exhaustive()
    }
}

/// What a command is given to work with.
pub struct Context<'a> {
    /// Name of the program as it was called: `mica` or `docker`.
    pub program: String,
    /// What was typed for the command, with the program's name.
    pub typed: String,
    /// Environment, global options, files.
    pub config: Config,
    open: OpenEngine<'a>,
    engine: OnceCell<Box<dyn Engine>>,
    file: OnceCell<ConfigFile>,
    ui: RefCell<Ui>,
    descriptors: Option<Descriptors>,
    terminals: Terminals,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Context")
            .field("program", &self.program)
            .field("typed", &self.typed)
            .finish_non_exhaustive()
    }
}

impl<'a> Context<'a> {
    /// A context for the program called `program`.
    pub fn new(program: String, config: Config, streams: Streams, open: OpenEngine<'a>) -> Self {
        Self {
            typed: program.clone(),
            program,
            config,
            open,
            engine: OnceCell::new(),
            file: OnceCell::new(),
            ui: RefCell::new(streams.ui),
            descriptors: streams.descriptors,
            terminals: streams.terminals,
        }
    }

    /// The engine, opened on first use.
    ///
    /// # Errors
    /// It cannot be opened, or one elsewhere was asked for.
    pub fn engine(&self) -> Result<&dyn Engine, Failure> {
        if self.engine.get().is_none() {
            let options = self.config.engine()?;
            self.debug(|| {
                format!("engine at {} and {}", options.root.display(), options.run_directory.display())
            });
            let opened = (self.open)(&options)?;
            let _ = self.engine.set(opened);
        }
        self.engine.get().map(|engine| &**engine).ok_or(Failure::Reported { code: crate::report::FAILURE })
    }

    /// `config.json`, read on first use.
    pub fn file(&self) -> &ConfigFile {
        self.file.get_or_init(|| self.config.file())
    }

    /// The user's credentials for registries.
    pub fn keyring(&self) -> UserKeyring {
        UserKeyring::new(&self.config)
    }

    /// With what rights and by which way this user reaches registries.
    pub fn registry_access<'k>(&self, keyring: &'k UserKeyring) -> RegistryAccess<'k> {
        let headers = keyring.file().headers.iter().map(|(name, value)| (name.clone(), value.clone()));
        RegistryAccess { keyring, proxies: self.config.proxies(), headers: headers.collect() }
    }

    /// Which of the standard streams are terminals.
    pub const fn terminals(&self) -> Terminals {
        self.terminals
    }

    /// Where an attached container's input comes from.
    pub fn input_descriptor(&self) -> BorrowedFd<'_> {
        self.descriptors.as_ref().map_or(rustix::stdio::stdin(), |given| given.input.as_fd())
    }

    /// Where an attached container's output goes.
    pub fn output_descriptor(&self) -> BorrowedFd<'_> {
        self.descriptors.as_ref().map_or(rustix::stdio::stdout(), |given| given.output.as_fd())
    }

    /// Where an attached container's standard error goes.
    pub fn error_descriptor(&self) -> BorrowedFd<'_> {
        self.descriptors.as_ref().map_or(rustix::stdio::stderr(), |given| given.error.as_fd())
    }

    /// Prints `text` as it is.
    ///
    /// # Errors
    /// `OutputClosed` when nobody reads any more, `File` when it cannot be written.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        self.print_bytes(text.as_bytes())
    }

    /// Prints `line` and a line end.
    ///
    /// # Errors
    /// As [`Context::print`].
    pub fn print_line(&self, line: &str) -> Result<(), Failure> {
        self.print(&format!("{line}\n"))
    }

    /// Prints `bytes` as they are.
    ///
    /// # Errors
    /// As [`Context::print`].
    pub fn print_bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        self.ui.borrow_mut().bytes(bytes).map_err(|error| match error {
            UiError::Closed => Failure::OutputClosed,
            UiError::Write { source } => output_failure(source),
        })
    }

    /// Runs `work` with standard output as a writer, for what is too long to hold in memory.
    ///
    /// # Errors
    /// Whatever `work` answers, and the errors of [`Context::print`].
    pub fn with_output<T>(
        &self,
        work: impl FnOnce(&mut dyn Write) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        // Archives go straight to the descriptor: nothing of them is to be held back or copied.
        let descriptor = self.output_descriptor().try_clone_to_owned().map_err(output_failure)?;
        work(&mut File::from(descriptor))
    }

    /// Tells standard error; that nobody reads it is no reason to stop.
    pub fn say_error(&self, text: &str) {
        self.say_error_bytes(text.as_bytes());
    }

    /// Tells standard error in raw bytes.
    pub fn say_error_bytes(&self, bytes: &[u8]) {
        let _ = self.ui.borrow_mut().error_bytes(bytes);
    }

    /// Tells of something that was done otherwise than asked, unless only errors are wanted.
    pub fn warn(&self, text: &str) {
        if self.config.wants_warnings() {
            let _ = self.ui.borrow_mut().warning(text);
        }
    }

    /// Tells how the work goes on inside, if that is wanted.
    pub fn debug(&self, text: impl FnOnce() -> String) {
        if self.config.wants_debug() {
            self.say_error(&format!("debug: {}\n", text()));
        }
    }
}

/// The failure behind an error of standard output.
pub fn output_failure(source: io::Error) -> Failure {
    if source.kind() == io::ErrorKind::BrokenPipe {
        return Failure::OutputClosed;
    }
    Failure::File { action: "write", path: "standard output".to_owned(), source }
}

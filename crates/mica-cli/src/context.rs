//! What a command is given to work with: the engine, the configuration, and where to print.

use crate::config::{Config, ConfigFile, EngineOptions};
use crate::report::Failure;
use mica_api::Engine;
use std::cell::{OnceCell, RefCell};
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Opens the engine; called at most once, and only by commands that need one.
pub type OpenEngine<'a> = &'a dyn Fn(&EngineOptions) -> mica_api::Result<Box<dyn Engine>>;

/// Standard output and error, or what a test put in their places.
pub struct Streams {
    /// Where results go.
    pub output: Box<dyn Write>,
    /// Where everything else goes.
    pub error: Box<dyn Write>,
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
    pub fn inherited() -> Self {
        Self {
            output: Box::new(io::stdout()),
            error: Box::new(io::stderr()),
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
    output: RefCell<Box<dyn Write>>,
    error: RefCell<Box<dyn Write>>,
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
            output: RefCell::new(streams.output),
            error: RefCell::new(streams.error),
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
            let opened = (self.open)(&self.config.engine()?)?;
            let _ = self.engine.set(opened);
        }
        self.engine.get().map(|engine| &**engine).ok_or(Failure::Reported { code: crate::report::FAILURE })
    }

    /// `config.json`, read on first use.
    pub fn file(&self) -> &ConfigFile {
        self.file.get_or_init(|| self.config.file())
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
        let mut output = self.output.borrow_mut();
        output.write_all(bytes).and_then(|()| output.flush()).map_err(output_failure)
    }

    /// Runs `work` with standard output as a writer, for what is too long to hold in memory.
    ///
    /// # Errors
    /// Whatever `work` answers, and the errors of [`Context::print`].
    pub fn with_output<T>(
        &self,
        work: impl FnOnce(&mut dyn Write) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut output = self.output.borrow_mut();
        let answer = work(&mut **output)?;
        output.flush().map_err(output_failure)?;
        Ok(answer)
    }

    /// Tells standard error; that nobody reads it is no reason to stop.
    pub fn say_error(&self, text: &str) {
        let mut error = self.error.borrow_mut();
        let _ = error.write_all(text.as_bytes()).and_then(|()| error.flush());
    }

    /// Tells standard error in raw bytes.
    pub fn say_error_bytes(&self, bytes: &[u8]) {
        let mut error = self.error.borrow_mut();
        let _ = error.write_all(bytes).and_then(|()| error.flush());
    }
}

/// The failure behind an error of standard output.
pub fn output_failure(source: io::Error) -> Failure {
    if source.kind() == io::ErrorKind::BrokenPipe {
        return Failure::OutputClosed;
    }
    Failure::File { action: "write", path: "standard output".to_owned(), source }
}

//! The only printer: standard output and standard error, colours, and what a closed pipe means.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write};

/// Why something could not be printed.
#[derive(Debug, thiserror::Error)]
pub enum UiError {
    /// The reader of our output has gone, as in `mica ps | head -1`. Nothing is to be said about
    /// it; the exit code is [`CLOSED_EXIT_CODE`].
    #[error("output was closed")]
    Closed,
    /// The output cannot be written, for example to a full disk.
    #[error("cannot write the output")]
    Write {
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// The exit code of a program that SIGPIPE would have ended (128 + 13).
pub const CLOSED_EXIT_CODE: i32 = 141;

impl UiError {
    /// What kind of failure this is.
    pub const fn kind(&self) -> mica_model::ErrorKind {
        mica_model::ErrorKind::Internal
    }
}

impl From<io::Error> for UiError {
    fn from(source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::BrokenPipe { Self::Closed } else { Self::Write { source } }
    }
}

/// Whether colours are wanted at all; `NO_COLOR` and flags are read by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Where the output is a terminal.
    Automatic,
    /// Nowhere.
    Never,
}

/// A colour of words on standard error or output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// For "error".
    Red,
    /// For "warning".
    Yellow,
    /// For what went well.
    Green,
    /// For headings.
    Bold,
}

impl Style {
    const fn code(self) -> &'static str {
        match self {
            Self::Red => "31",
            Self::Yellow => "33",
            Self::Green => "32",
            Self::Bold => "1",
        }
    }
}

/// One of the two outputs.
struct Sink {
    writer: Box<dyn Write + Send>,
    terminal: bool,
    coloured: bool,
}

impl Sink {
    fn write(&mut self, bytes: &[u8]) -> Result<(), UiError> {
        self.writer.write_all(bytes)?;
        Ok(self.writer.flush()?)
    }

    fn paint<'a>(&self, style: Style, text: &'a str) -> Cow<'a, str> {
        if !self.coloured {
            return Cow::Borrowed(text);
        }
        Cow::Owned(format!("\u{1b}[{}m{text}\u{1b}[0m", style.code()))
    }
}

/// The printer. Every call is written at once, so nothing is lost or out of order at the end.
pub struct Ui {
    output: Sink,
    errors: Sink,
}

impl fmt::Debug for Ui {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Ui").field("terminal", &self.output.terminal).finish_non_exhaustive()
    }
}

impl Ui {
    /// A printer to the standard streams of this process.
    pub fn standard(colour: Colour) -> Self {
        let automatic = colour == Colour::Automatic;
        let (output, errors) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Self {
            output: Sink { writer: Box::new(io::stdout()), terminal: output, coloured: output && automatic },
            errors: Sink { writer: Box::new(io::stderr()), terminal: errors, coloured: errors && automatic },
        }
    }

    /// A printer to other writers, which are no terminals.
    pub fn to_writers(output: Box<dyn Write + Send>, errors: Box<dyn Write + Send>) -> Self {
        let sink = |writer| Sink { writer, terminal: false, coloured: false };
        Self { output: sink(output), errors: sink(errors) }
    }

    /// Whether standard output is a terminal.
    pub const fn output_is_terminal(&self) -> bool {
        self.output.terminal
    }

    /// Whether standard error is a terminal.
    pub const fn errors_are_terminal(&self) -> bool {
        self.errors.terminal
    }

    /// Prints text as it is to standard output.
    ///
    /// # Errors
    /// When it cannot be written or nobody reads it; so for all the others here.
    pub fn print(&mut self, text: &str) -> Result<(), UiError> {
        self.output.write(text.as_bytes())
    }

    /// Prints a line to standard output.
    #[expect(clippy::missing_errors_doc, reason = "said at print")]
    pub fn line(&mut self, text: &str) -> Result<(), UiError> {
        self.output.write(format!("{text}\n").as_bytes())
    }

    /// Prints bytes to standard output, such as those a container has written.
    #[expect(clippy::missing_errors_doc, reason = "said at print")]
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), UiError> {
        self.output.write(bytes)
    }

    /// Prints bytes to standard error, such as those a container has written.
    #[expect(clippy::missing_errors_doc, reason = "said at print")]
    pub fn error_bytes(&mut self, bytes: &[u8]) -> Result<(), UiError> {
        self.errors.write(bytes)
    }

    /// Prints a line to standard error.
    #[expect(clippy::missing_errors_doc, reason = "said at print")]
    pub fn error_line(&mut self, text: &str) -> Result<(), UiError> {
        self.errors.write(format!("{text}\n").as_bytes())
    }

    /// Prints `WARNING: text` to standard error.
    #[expect(clippy::missing_errors_doc, reason = "said at print")]
    pub fn warning(&mut self, text: &str) -> Result<(), UiError> {
        let word = self.errors.paint(Style::Yellow, "WARNING:");
        let line = format!("{word} {text}\n");
        self.errors.write(line.as_bytes())
    }

    /// `text` in a colour if standard output shows colours.
    pub fn paint<'a>(&self, style: Style, text: &'a str) -> Cow<'a, str> {
        self.output.paint(style, text)
    }

    /// `text` in a colour if standard error shows colours.
    pub fn paint_error<'a>(&self, style: Style, text: &'a str) -> Cow<'a, str> {
        self.errors.paint(style, text)
    }
}

/// Makes control characters and invisible reordering visible, so that a name, label or command
/// that somebody else chose cannot drive the reader's terminal or spoof a column.
pub fn escape_control(text: &str) -> Cow<'_, str> {
    if !text.contains(is_dangerous) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            // Writing to a String cannot fail.
            c if is_dangerous(c) && u32::from(c) < 0x80 => _ = write!(escaped, "\\x{:02x}", u32::from(c)),
            c if is_dangerous(c) => _ = write!(escaped, "\\u{:04x}", u32::from(c)),
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

fn is_dangerous(character: char) -> bool {
    let reorders =
        matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || reorders || matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_go_where_they_belong_without_colour() {
        let (output, errors) = (Shared::default(), Shared::default());
        let mut ui = Ui::to_writers(Box::new(output.clone()), Box::new(errors.clone()));
        ui.line("one").unwrap();
        ui.warning("careful").unwrap();
        assert_eq!(ui.paint(Style::Red, "x"), "x");
        assert_eq!(*output.0.lock().unwrap(), b"one\n");
        assert_eq!(*errors.0.lock().unwrap(), b"WARNING: careful\n");
    }

    #[test]
    fn a_closed_pipe_is_its_own_error() {
        let mut ui = Ui::to_writers(Box::new(Closed), Box::new(io::sink()));
        assert!(matches!(ui.line("x"), Err(UiError::Closed)));
    }

    #[test]
    fn terminals_are_not_driven_by_labels() {
        assert_eq!(escape_control("plain ünïcode 漢字"), "plain ünïcode 漢字");
        assert_eq!(
            escape_control("a\u{1b}[31m\r\n\tb\u{7f}\u{9b}\u{202e}"),
            "a\\x1b[31m\\r\\n\\tb\\x7f\\u009b\\u202e"
        );
    }
}

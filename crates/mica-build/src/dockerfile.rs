//! The language of Dockerfiles: a text in, stages of typed instructions with their places in it out.
//!
//! [`parse()`] does everything that needs no values: words still carry their variables. A word is expanded when the
//! stage that it stands in is planned, because `ARG` and `ENV` before it, and the base image, decide its value.

mod check;
mod command_line;
mod device;
mod directive;
pub mod environment;
mod error;
mod excerpt;
pub mod expand;
mod flag;
mod heredoc;
pub mod instruction;
mod interpret;
mod json;
mod line;
pub mod mount;
mod parse;
mod pattern;
mod position;
pub mod scope;
mod split;
mod stages;
mod suggestion;
mod transfer;

pub use check::{CheckOptions, RuleNames};
pub use device::{DeviceProblem, DeviceWish};
pub use directive::Directives;
pub use environment::Environment;
pub use error::{ParseError, Problem};
pub use excerpt::excerpt;
pub use heredoc::Heredoc;
pub use instruction::{Dockerfile, Instruction, Kind, Stage};
pub use mount::MountFlag;
pub use parse::{parse, parse_trigger};
pub use pattern::PatternProblem;
pub use position::{Located, Position, Span, Word};
pub use scope::{Globals, Inherited, Inputs, PlatformArguments, Scope};
pub use stages::TargetError;
pub(crate) use suggestion::nearest as nearest_word;

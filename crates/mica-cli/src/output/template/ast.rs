//! What a template is made of, once parsed.

use serde_json::Value as Json;

/// A piece of a template.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    Action(Pipeline),
    Branch { kind: Branch, pipeline: Pipeline, then: Vec<Self>, otherwise: Vec<Self> },
    Template { name: String, argument: Option<Pipeline>, place: Place },
    Break,
    Continue,
}

/// The actions with a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Branch {
    If,
    With,
    Range,
}

/// Where something stands in the source: where errors point to, and what they cite.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) at: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Commands, each handing its value to the next.
#[derive(Debug, Clone)]
pub(super) struct Pipeline {
    pub(super) variables: Vec<String>,
    /// Whether the variables exist already (`=` instead of `:=`).
    pub(super) assigns: bool,
    pub(super) commands: Vec<Command>,
}

/// A function, method or value with its arguments.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) operands: Vec<Operand>,
    pub(super) place: Place,
}

/// One word of a command.
#[derive(Debug, Clone)]
pub(super) struct Operand {
    pub(super) kind: OperandKind,
    pub(super) place: Place,
}

/// What a word stands for.
#[derive(Debug, Clone)]
pub(super) enum OperandKind {
    Dot,
    Nil,
    Literal(Json),
    Field(Vec<String>),
    Variable(String, Vec<String>),
    Function(String),
    Nested(Box<Pipeline>, Vec<String>),
}

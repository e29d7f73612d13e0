//! What can be wrong with bake files.

use mica_model::ErrorKind;

/// What is wrong with a bake file or with what is asked of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BakeError {
    /// A file that is no HCL or JSON.
    #[error("{file}: {reason}")]
    Syntax {
        /// The file.
        file: String,
        /// What its parser says.
        reason: String,
    },
    /// Any of the others, with the place in the file.
    #[error("{file}:{line}:{column}: {source}")]
    Place {
        /// The file.
        file: String,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What is wrong there.
        #[source]
        source: Box<Self>,
    },
    /// A text that is no HCL.
    #[error("{reason}")]
    Grammar {
        /// What its parser says.
        reason: String,
    },
    /// A block of a kind that bake files do not have, or with a wrong number of names.
    #[error("{file}: unexpected block {block:?}")]
    Block {
        /// The file.
        file: String,
        /// The block.
        block: String,
    },
    /// An attribute that the block does not have.
    #[error("{owner}: unknown attribute {attribute:?}{}", hint(.suggestion.as_deref()))]
    Attribute {
        /// The block.
        owner: String,
        /// The attribute.
        attribute: String,
        /// What may have been meant.
        suggestion: Option<String>,
    },
    /// An expression that has no value.
    #[error("{owner}: {reason}")]
    Expression {
        /// The block and attribute.
        owner: String,
        /// What the evaluation says.
        reason: String,
    },
    /// A value of the wrong type.
    #[error("{owner}: expected {expected}, not {value}")]
    Type {
        /// The block and attribute.
        owner: String,
        /// What it takes.
        expected: &'static str,
        /// What it was given, as JSON.
        value: String,
    },
    /// A variable whose value is refused by its own condition.
    #[error("variable {name}: {reason}")]
    Validation {
        /// The variable.
        name: String,
        /// What the file says to that.
        reason: String,
    },
    /// A name that is none.
    #[error("invalid name {name:?}: only letters, digits, \"_\" and \"-\" are allowed")]
    Name {
        /// The name.
        name: String,
    },
    /// A matrix without the expression that names its targets.
    #[error("target {target}: a matrix needs a name")]
    MatrixWithoutName {
        /// The target.
        target: String,
    },
    /// Two targets of a matrix with one name.
    #[error("target {target}: the matrix makes two targets named {name:?}")]
    MatrixName {
        /// The target.
        target: String,
        /// The name.
        name: String,
    },
    /// A target or group that is in no file.
    #[error("failed to find target {name}{}", hint(.suggestion.as_deref()))]
    NoTarget {
        /// The name.
        name: String,
        /// What may have been meant.
        suggestion: Option<String>,
    },
    /// A target that comes to itself by `inherits` or by its contexts.
    #[error("target {name} depends on itself")]
    Circle {
        /// The target.
        name: String,
    },
    /// A `--set` that cannot be read.
    #[error("invalid override {text}, expected target.name=value")]
    Override {
        /// What was typed.
        text: String,
    },
}

impl BakeError {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoTarget { .. } => ErrorKind::NotFound,
            Self::Place { source, .. } => source.kind(),
            _ => ErrorKind::InvalidArgument,
        }
    }
}

impl BakeError {
    /// What it is about, as `target app.tags`.
    pub(super) fn owner(&self) -> Option<String> {
        match self {
            Self::Attribute { owner, attribute, .. } => Some(format!("{owner}.{attribute}")),
            Self::Expression { owner, .. } | Self::Type { owner, .. } => Some(owner.clone()),
            Self::Validation { name, .. } => Some(format!("variable {name}")),
            Self::Name { name } => Some(format!("target {name}")),
            Self::MatrixWithoutName { target } | Self::MatrixName { target, .. } => {
                Some(format!("target {target}.matrix"))
            }
            _ => None,
        }
    }
}

fn hint(suggestion: Option<&str>) -> String {
    suggestion.map(|word| format!(", did you mean {word}?")).unwrap_or_default()
}

//! The rules of the linter: their names and what they are about.

use crate::dockerfile::CheckOptions;

/// A rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is described in the table below, in the words that users see")]
pub enum Rule {
    StageNameCasing,
    FromAsCasing,
    NoEmptyContinuation,
    ConsistentInstructionCasing,
    DuplicateStageName,
    ReservedStageName,
    JSONArgsRecommended,
    MaintainerDeprecated,
    UndefinedArgInFrom,
    WorkdirRelativePath,
    UndefinedVar,
    MultipleInstructionsDisallowed,
    LegacyKeyValueFormat,
    InvalidBaseImagePlatform,
    RedundantTargetPlatform,
    SecretsUsedInArgOrEnv,
    InvalidDefaultArgInFrom,
    FromPlatformFlagConstDisallowed,
    CopyIgnoredFile,
    InvalidDefinitionDescription,
    ExposeProtoCasing,
    ExposeInvalidFormat,
}

/// Each rule with its name and description.
const TABLE: &[(Rule, &str, &str)] = &[
    (Rule::StageNameCasing, "StageNameCasing", "Stage names should be lowercase"),
    (Rule::FromAsCasing, "FromAsCasing", "The 'as' keyword should match the case of the 'from' keyword"),
    (
        Rule::NoEmptyContinuation,
        "NoEmptyContinuation",
        "Empty continuation lines will become errors in a future release",
    ),
    (
        Rule::ConsistentInstructionCasing,
        "ConsistentInstructionCasing",
        "All commands within the Dockerfile should use the same casing (either upper or lower)",
    ),
    (Rule::DuplicateStageName, "DuplicateStageName", "Stage names should be unique"),
    (Rule::ReservedStageName, "ReservedStageName", "Reserved words should not be used as stage names"),
    (
        Rule::JSONArgsRecommended,
        "JSONArgsRecommended",
        "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
    ),
    (
        Rule::MaintainerDeprecated,
        "MaintainerDeprecated",
        "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
    ),
    (Rule::UndefinedArgInFrom, "UndefinedArgInFrom", "FROM command must use declared ARGs"),
    (
        Rule::WorkdirRelativePath,
        "WorkdirRelativePath",
        "Relative workdir without an absolute workdir declared within the build can have unexpected results if the \
         base image changes",
    ),
    (Rule::UndefinedVar, "UndefinedVar", "Variables should be defined before their use"),
    (
        Rule::MultipleInstructionsDisallowed,
        "MultipleInstructionsDisallowed",
        "Multiple instructions of the same type should not be used in the same stage",
    ),
    (
        Rule::LegacyKeyValueFormat,
        "LegacyKeyValueFormat",
        "Legacy key/value format with whitespace separator should not be used",
    ),
    (
        Rule::InvalidBaseImagePlatform,
        "InvalidBaseImagePlatform",
        "Base image platform does not match expected target platform",
    ),
    (
        Rule::RedundantTargetPlatform,
        "RedundantTargetPlatform",
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
    ),
    (
        Rule::SecretsUsedInArgOrEnv,
        "SecretsUsedInArgOrEnv",
        "Sensitive data should not be used in the ARG or ENV commands",
    ),
    (
        Rule::InvalidDefaultArgInFrom,
        "InvalidDefaultArgInFrom",
        "Default value for global ARG results in an empty or invalid base image name",
    ),
    (
        Rule::FromPlatformFlagConstDisallowed,
        "FromPlatformFlagConstDisallowed",
        "FROM --platform flag should not use a constant value",
    ),
    (Rule::CopyIgnoredFile, "CopyIgnoredFile", "Attempting to Copy file that is excluded by .dockerignore"),
    (
        Rule::InvalidDefinitionDescription,
        "InvalidDefinitionDescription",
        "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is \
         not intended to be a description comment, add an empty line or comment between the instruction and the \
         comment.",
    ),
    (Rule::ExposeProtoCasing, "ExposeProtoCasing", "Protocol in EXPOSE instruction should be lowercase"),
    (
        Rule::ExposeInvalidFormat,
        "ExposeInvalidFormat",
        "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a \
         future release",
    ),
];

impl Rule {
    /// All rules.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|(rule, ..)| *rule)
    }

    fn row(self) -> (&'static str, &'static str) {
        TABLE.iter().find(|(rule, ..)| *rule == self).map_or(("", ""), |(_, name, about)| (name, about))
    }

    /// Its name, as `# check=skip=` takes it.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// What it is about.
    pub fn description(self) -> &'static str {
        self.row().1
    }

    /// Where docker's manual tells about it.
    pub fn url(self) -> String {
        let mut dashed = String::new();
        let mut before = '-';
        let mut letters = self.name().chars().peekable();
        while let Some(letter) = letters.next() {
            let begins_word = letter.is_uppercase()
                && (before.is_lowercase()
                    || before.is_uppercase() && letters.peek().is_some_and(|next| next.is_lowercase()));
            if begins_word {
                dashed.push('-');
            }
            dashed.push(letter.to_ascii_lowercase());
            before = letter;
        }
        format!("https://docs.docker.com/go/dockerfile/rule/{dashed}/")
    }

    /// Whether it is used only when it is asked for.
    const fn is_experimental(self) -> bool {
        matches!(self, Self::InvalidDefinitionDescription)
    }

    /// Whether the options leave it.
    pub(super) fn is_used(self, options: &CheckOptions) -> bool {
        if self.is_experimental() {
            return options.experimental.contains(self.name());
        }
        !options.skip.contains(self.name())
    }
}

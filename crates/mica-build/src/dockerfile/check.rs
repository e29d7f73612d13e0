//! What `# check=` and the build argument `BUILDKIT_DOCKERFILE_CHECK` say: which rules to skip, and whether a finding
//! is an error.

use super::error::Problem;

/// Options of the linter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckOptions {
    /// Rules that are skipped.
    pub skip: RuleNames,
    /// Experimental rules that are used.
    pub experimental: RuleNames,
    /// Whether a finding fails the build.
    pub error: bool,
}

/// Some rules by name, or all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleNames {
    /// All rules.
    All,
    /// These.
    Some(Vec<String>),
}

impl Default for RuleNames {
    fn default() -> Self {
        Self::Some(Vec::new())
    }
}

impl RuleNames {
    /// Whether a rule is among them.
    pub fn contains(&self, rule: &str) -> bool {
        match self {
            Self::All => true,
            Self::Some(names) => names.iter().any(|name| name == rule),
        }
    }

    fn parse(text: &str) -> Self {
        match text.trim() {
            "all" => Self::All,
            names => Self::Some(names.split(',').map(|name| name.trim().to_owned()).collect()),
        }
    }
}

impl CheckOptions {
    /// Reads `skip=Rule,Rule;experimental=all;error=true`.
    ///
    /// # Errors
    /// When an option is unknown or has no value.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let mut options = Self::default();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let invalid = || Problem::CheckOption { option: part.to_owned() };
            let (key, value) = part.split_once('=').ok_or_else(invalid)?;
            match key.trim() {
                "skip" => options.skip = RuleNames::parse(value),
                "experimental" => options.experimental = RuleNames::parse(value),
                "error" => options.error = super::flag::boolean(value.trim()).ok_or_else(invalid)?,
                _ => return Err(invalid()),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let options = CheckOptions::parse(" skip=StageNameCasing, FromAsCasing ; error=true").unwrap();
        assert!(
            options.error && options.skip.contains("FromAsCasing") && !options.skip.contains("UndefinedVar")
        );
        assert!(CheckOptions::parse("skip=all").unwrap().skip.contains("UndefinedVar"));
        assert_eq!(CheckOptions::parse("").unwrap(), CheckOptions::default());
        assert!(CheckOptions::parse("skip").is_err());
        assert!(CheckOptions::parse("skp=all").is_err());
        assert!(CheckOptions::parse("error=maybe").is_err());
    }
}

//! Which stage a name or number means, and which stages a stage needs.

use super::error::ParseError;
use super::instruction::Dockerfile;
use super::scope::Globals;
use super::suggestion;
use std::collections::BTreeSet;

/// A target that the file does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("target stage {target:?} could not be found{}", super::error::did_you_mean(.suggestion.as_deref()))]
pub struct TargetError {
    /// What was asked for.
    pub target: String,
    /// What may have been meant.
    pub suggestion: Option<String>,
}

impl TargetError {
    /// What kind of failure this is.
    pub const fn kind(&self) -> mica_model::ErrorKind {
        mica_model::ErrorKind::NotFound
    }
}

impl Dockerfile {
    /// The stage with a name, in any case; of several the last. `FROM` sees only those before it.
    pub fn stage_named(&self, name: &str, before: Option<usize>) -> Option<usize> {
        let name = name.to_lowercase();
        let stages = &self.stages[..before.unwrap_or(self.stages.len())];
        stages.iter().rposition(|stage| stage.name.as_ref().is_some_and(|known| known.value == name))
    }

    /// The stage that `COPY --from` or `--target` means: a name, or a number that counts from 0.
    pub fn stage_of(&self, name_or_number: &str) -> Option<usize> {
        self.stage_named(name_or_number, None).or_else(|| {
            let number: usize = name_or_number.parse().ok()?;
            (number < self.stages.len()).then_some(number)
        })
    }

    /// The stage to build: the one that is asked for, or the last.
    ///
    /// # Errors
    /// When there is no such stage.
    pub fn target(&self, target: Option<&str>) -> Result<usize, TargetError> {
        let last = self.stages.len().saturating_sub(1);
        let Some(target) = target.filter(|target| !target.is_empty()) else { return Ok(last) };
        self.stage_of(target).ok_or_else(|| {
            let names: Vec<&str> = self
                .stages
                .iter()
                .filter_map(|stage| stage.name.as_ref())
                .map(|name| name.value.as_str())
                .collect();
            let suggestion = suggestion::nearest(target, &names).map(str::to_owned);
            TargetError { target: target.to_owned(), suggestion }
        })
    }

    /// The stages that a stage needs directly: its base and those it takes files from.
    ///
    /// # Errors
    /// When a word that names one cannot be expanded.
    pub fn needs(&self, stage: usize, globals: &Globals) -> Result<BTreeSet<usize>, ParseError> {
        let Some(this) = self.stages.get(stage) else { return Ok(BTreeSet::new()) };
        let base = self.stage_named(&globals.base(this)?, Some(stage));
        let references = globals.references(this)?;
        Ok(base.into_iter().chain(references.iter().filter_map(|word| self.stage_of(&word.value))).collect())
    }

    /// A stage and all that it needs, directly or not.
    ///
    /// # Errors
    /// When a word that names one cannot be expanded.
    pub fn reachable(&self, stage: usize, globals: &Globals) -> Result<BTreeSet<usize>, ParseError> {
        let mut found = BTreeSet::new();
        let mut open = vec![stage];
        while let Some(stage) = open.pop() {
            if found.insert(stage) {
                open.extend(self.needs(stage, globals)?);
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::super::scope::Inputs;
    use super::*;

    #[test]
    fn stages_are_found_by_name_and_number() {
        let file = parse("FROM x AS One\nFROM x AS two\nFROM x").unwrap();
        assert_eq!(
            (file.target(None), file.target(Some("ONE")), file.target(Some("1"))),
            (Ok(2), Ok(0), Ok(1))
        );
        let error = file.target(Some("tow")).unwrap_err();
        assert_eq!(error.to_string(), "target stage \"tow\" could not be found (did you mean two?)");
        assert!(file.target(Some("3")).is_err());
        assert_eq!(file.stage_named("one", Some(0)), None);
    }

    #[test]
    fn only_what_a_stage_needs_is_reachable() {
        let source = "ARG from=a\nFROM x AS a\nFROM a AS b\nFROM x AS c\nFROM x AS d\n\
            COPY --from=2 / /\nRUN --mount=from=b,target=/b true\nFROM x\nARG from\nCOPY --from=$from / /";
        let file = parse(source).unwrap();
        let globals = Globals::new(&file, &Inputs::default()).unwrap();
        let reachable = |stage| file.reachable(stage, &globals).unwrap().into_iter().collect::<Vec<_>>();
        assert_eq!(reachable(3), [0, 1, 2, 3]);
        assert_eq!(reachable(4), [0, 4]);
        assert_eq!(reachable(2), [2]);
    }
}

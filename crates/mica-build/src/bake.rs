//! Bake files: many builds described in HCL, JSON or compose's YAML, with variables, groups, inheritance and matrices.
//!
//! [`Bake::read`] takes the files as texts and gives back what they say; [`Bake::resolve`] makes the list of builds
//! that some names stand for. Nothing is built here.

mod compose;
mod definition;
mod error;
mod evaluate;
mod field;
mod function;
mod place;
mod standard;
mod target;
#[cfg(test)]
mod tests;

pub use error::BakeError;
pub use field::Field;
pub use target::{Override, Target};

use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BakeFile {
    /// Its name, whose end tells its language.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// The text of a further file by its path; nothing if it cannot be read.
pub type Others<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What decides the values of variables beside the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The environment, and `--var`, which comes before it.
    pub variables: BTreeMap<String, String>,
    /// The text of `.env`: further variables for compose files.
    pub dotenv: String,
    /// `BAKE_CMD_CONTEXT`: what was given as the context on the command line.
    pub command_context: String,
    /// `BAKE_LOCAL_PLATFORM`.
    pub local_platform: String,
}

/// A variable of a bake file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// What the file says of it.
    pub description: String,
    /// Its value as a text or as JSON; nothing when it has none.
    pub value: Option<String>,
}

/// A group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// What the file says of it.
    pub description: String,
    /// The targets and groups in it.
    pub targets: Vec<String>,
}

/// All that the files say.
#[derive(Debug, Default)]
pub struct Bake {
    /// The variables, in order.
    pub variables: Vec<Variable>,
    /// The groups by name; a target with a matrix is one too.
    pub groups: BTreeMap<String, Group>,
    targets: BTreeMap<String, Result<Target, BakeError>>,
    places: place::Places,
}

/// The language of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Compose,
    Hcl,
    Json,
}

impl Language {
    fn of(file: &BakeFile) -> Self {
        let is_named = |ends: &[&str]| ends.iter().any(|end| file.name.ends_with(end));
        match () {
            () if is_named(&[".yaml", ".yml"]) => Self::Compose,
            () if is_named(&[".json"]) => Self::Json,
            () if is_named(&[".hcl"]) => Self::Hcl,
            () if file.text.trim_start().starts_with('{') => Self::Json,
            () if file.text.lines().any(|line| line.trim_end() == "services:") => Self::Compose,
            () => Self::Hcl,
        }
    }
}

/// The builds that some names stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The groups that were named or are on the way, for `--print`.
    pub groups: BTreeMap<String, Vec<String>>,
    /// The builds, each with what it inherits; those that others need come before them.
    pub targets: Vec<Target>,
}

impl Bake {
    /// Reads files; what a later one says of a target comes on top.
    ///
    /// # Errors
    /// When a file is not well formed, or a variable or group has no value. What is wrong with a target is told when
    /// it is asked for.
    pub fn read(files: &[BakeFile], settings: &Settings) -> Result<Self, BakeError> {
        Self::read_with(files, settings, &|_| None)
    }

    /// The same, where compose files may name further ones.
    ///
    /// # Errors
    /// The same, and when one that is named cannot be read.
    pub fn read_with(files: &[BakeFile], settings: &Settings, others: Others<'_>) -> Result<Self, BakeError> {
        let mut definitions = definition::Definitions::default();
        let mut variables = compose::read_dotenv(&settings.dotenv);
        variables.extend(settings.variables.clone());
        for file in files {
            match Language::of(file) {
                Language::Compose => compose::add(file, (&variables, others), &mut definitions)?,
                Language::Hcl => definitions.add_hcl(file)?,
                Language::Json => definitions.add_json(file)?,
            }
        }
        let places = std::mem::take(&mut definitions.places);
        let bake = evaluate::evaluate(definitions, settings);
        let mut bake = bake.map_err(|error| places.located(error))?;
        bake.places = places;
        Ok(bake)
    }

    /// The targets, with what the files say of them.
    pub fn described_targets(&self) -> impl Iterator<Item = (&str, String)> {
        self.targets.iter().map(|(name, target)| {
            let said = target.as_ref().ok().and_then(|target| target.text("description"));
            (name.as_str(), said.unwrap_or_default().to_owned())
        })
    }

    /// The builds that names stand for; without any, those of `default`.
    ///
    /// # Errors
    /// When a name is unknown, an inheritance goes in a circle, or a target on the way is wrong.
    pub fn resolve(&self, names: &[String], overrides: &[Override]) -> Result<Plan, BakeError> {
        let default = ["default".to_owned()];
        let names = if names.is_empty() { &default } else { names };
        let mut wanted = Vec::new();
        let mut groups = BTreeMap::new();
        for name in names {
            self.expand(name, &mut wanted, &mut groups, &mut BTreeSet::new())?;
        }
        if !names.iter().any(|name| name == "default") || !groups.contains_key("default") {
            groups.entry("default".to_owned()).or_insert_with(|| names.to_vec());
        }
        let mut plan = Plan { groups, targets: Vec::new() };
        for name in &wanted {
            let added = self.add(name, overrides, &mut plan, &mut Vec::new());
            added.map_err(|error| self.places.located(error))?;
        }
        // What is built for others only has no result of its own.
        for target in plan.targets.iter_mut().filter(|target| !wanted.contains(&target.name)) {
            target.keep_nothing();
        }
        Ok(plan)
    }

    /// The targets of a name, groups taken apart.
    fn expand(
        &self,
        name: &str,
        wanted: &mut Vec<String>,
        groups: &mut BTreeMap<String, Vec<String>>,
        above: &mut BTreeSet<String>,
    ) -> Result<(), BakeError> {
        let Some(group) = self.groups.get(name) else {
            if !self.targets.contains_key(name) {
                return Err(self.unknown(name));
            }
            wanted.push(name.to_owned());
            return Ok(());
        };
        groups.insert(name.to_owned(), group.targets.clone());
        if !above.insert(name.to_owned()) {
            return Ok(());
        }
        for target in &group.targets {
            // A group may hold a target of its own name.
            if target == name && self.targets.contains_key(name) {
                wanted.push(name.to_owned());
            } else {
                self.expand(target, wanted, groups, above)?;
            }
        }
        Ok(())
    }

    fn unknown(&self, name: &str) -> BakeError {
        let names: Vec<&str> = self.targets.keys().chain(self.groups.keys()).map(String::as_str).collect();
        let suggestion = crate::dockerfile::nearest_word(name, &names).map(str::to_owned);
        BakeError::NoTarget { name: name.to_owned(), suggestion }
    }

    /// Adds a target after those that its contexts name.
    fn add(
        &self,
        name: &str,
        overrides: &[Override],
        plan: &mut Plan,
        above: &mut Vec<String>,
    ) -> Result<(), BakeError> {
        if above.iter().any(|known| known == name) {
            return Err(BakeError::Circle { name: name.to_owned() });
        }
        if plan.targets.iter().any(|known| known.name == name) {
            return Ok(());
        }
        let mut target = self.inherited(name, &mut Vec::new())?;
        for change in overrides.iter().filter(|change| change.is_for(name)) {
            change.apply(&mut target)?;
        }
        target.complete();
        above.push(name.to_owned());
        for needed in target.needs() {
            self.add(&needed, overrides, plan, above)?;
        }
        above.pop();
        plan.targets.push(target);
        Ok(())
    }

    /// A target on top of those that it inherits from.
    fn inherited(&self, name: &str, above: &mut Vec<String>) -> Result<Target, BakeError> {
        if above.iter().any(|known| known == name) {
            return Err(BakeError::Circle { name: name.to_owned() });
        }
        let own = match self.targets.get(name) {
            Some(Ok(own)) => own,
            Some(Err(error)) => return Err(error.clone()),
            None => return Err(self.unknown(name)),
        };
        above.push(name.to_owned());
        let mut target = Target::new(name);
        for parent in &own.inherits {
            target.put_on_top(&self.inherited(parent, above)?);
        }
        above.pop();
        target.put_on_top(own);
        Ok(target)
    }
}

impl Plan {
    /// The document of `--print`.
    pub fn document(&self) -> Value {
        let groups: Map<String, Value> =
            self.groups.iter().map(|(name, targets)| (name.clone(), json!({ "targets": targets }))).collect();
        let targets: BTreeMap<&str, Value> =
            self.targets.iter().map(|target| (target.name.as_str(), target.document())).collect();
        json!({ "group": groups, "target": targets })
    }
}

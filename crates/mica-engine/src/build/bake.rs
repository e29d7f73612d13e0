//! Bake: what files describe, and many builds at the same time.

use super::Member;
use super::context::{TEXT_SIZE_MAX, Tree, lone_text};
use super::crew::{Crew, given_up};
use super::remote::Remotes;
use crate::error::{Error, Result};
use crate::{Local, system};
use mica_api::engine::BuildListener;
use mica_api::types::bake::{
    BakeContents, BakeOffer, BakePlan, BakeRemote, BakeRequest, BakeTarget, BakeVariable, NamedBuild,
};
use mica_api::types::build::{BuildEvent, BuildOutcome};
use mica_build::bake::{Bake, BakeFile, Override, Settings};
use mica_model::RemoteSource;
use std::collections::BTreeSet;
use std::io::Read;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The context that stands for another build's result.
pub(super) const TARGET: &str = "target:";

/// How many steps a build may tell about before their numbers are those of the next build.
const STEPS_PER_BUILD: u32 = 1 << 20;

impl Local {
    /// What the files describe, for some names.
    pub(crate) fn bake_plan(&self, request: &BakeRequest) -> Result<BakePlan> {
        let bake = self.read_bake(request)?;
        let overrides = request.overrides.iter().map(|text| Override::parse(text));
        let overrides = overrides.collect::<std::result::Result<Vec<_>, _>>()?;
        let plan = bake.resolve(&request.names, &overrides)?;
        let targets = plan.targets.iter().map(|target| {
            let attributes = match target.document() {
                serde_json::Value::Object(attributes) => attributes,
                _ => serde_json::Map::new(),
            };
            let mut target = BakeTarget { name: target.name.clone(), attributes };
            if let Some(remote) = &request.remote {
                begin_in(&remote.address, &mut target)?;
            }
            Ok(target)
        });
        Ok(BakePlan { document: plan.document(), targets: targets.collect::<Result<_>>()? })
    }

    /// What the files offer.
    pub(crate) fn bake_contents(&self, request: &BakeRequest) -> Result<BakeContents> {
        let bake = self.read_bake(request)?;
        let groups = bake.groups.iter().map(|(name, group)| BakeOffer {
            name: name.clone(),
            description: match group.description.as_str() {
                "" => group.targets.join(", "),
                said => said.to_owned(),
            },
            is_group: true,
        });
        let targets = bake.described_targets().map(|(name, description)| BakeOffer {
            name: name.to_owned(),
            description,
            is_group: false,
        });
        let mut targets: Vec<BakeOffer> =
            targets.chain(groups).filter(|offer| !offer.name.starts_with('_')).collect();
        targets.sort_by(|one, other| one.name.cmp(&other.name));
        let variables = bake.variables.into_iter().map(|variable| BakeVariable {
            name: variable.name,
            value: variable.value,
            description: variable.description,
        });
        Ok(BakeContents { targets, variables: variables.collect() })
    }

    fn read_bake(&self, request: &BakeRequest) -> Result<Bake> {
        let crew = Crew::default();
        let proxies = request.remote.as_ref().map(|remote| remote.proxies.clone()).unwrap_or_default();
        let remotes = Remotes::new(self, &proxies, &crew);
        let (mut files, tree) = match &request.remote {
            Some(remote) => remote_definitions(&remotes, remote)?,
            None => (Vec::new(), None),
        };
        let here = request.files.iter();
        files.extend(here.map(|file| BakeFile { name: file.name.clone(), text: file.text.clone() }));
        let settings = Settings {
            variables: request.variables.clone(),
            dotenv: request.dotenv.clone(),
            command_context: request.command_context.clone(),
            local_platform: format!("linux/{}", system::architecture()),
        };
        // What a file of another place names lies there, too.
        let other = |path: &str| match &request.remote {
            Some(_) => tree.as_ref()?.text(path).ok().flatten(),
            None => local_text(path),
        };
        Ok(Bake::read_with(&files, &settings, &other)?)
    }

    /// Does builds at the same time, except those that need others.
    pub(crate) fn build_all(
        &self,
        builds: &[NamedBuild<'_>],
        listener: BuildListener<'_>,
    ) -> Result<Vec<BuildOutcome>> {
        check_needs(builds)?;
        let crew = Crew::default();
        let board = Board::new(builds.len());
        std::thread::scope(|scope| {
            for _ in 1..builds.len().min(MOST_AT_ONCE) {
                scope.spawn(|| self.work(builds, listener, (&crew, &board)));
            }
            self.work(builds, listener, (&crew, &board));
        });
        let state = board.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        match state.failure {
            Some(failure) => Err(failure),
            None => state.outcomes.into_iter().map(|outcome| outcome.ok_or_else(given_up)).collect(),
        }
    }

    /// Takes builds off the board until there are no more.
    fn work(&self, builds: &[NamedBuild<'_>], listener: BuildListener<'_>, (crew, board): (&Crew, &Board)) {
        while let Some(index) = board.next(builds) {
            let build = &builds[index];
            let told = |event| listener(shown(index, &build.name, event));
            let outcome = self.build_with(&build.request, &told, Member { crew, name: &build.name });
            let outcome = outcome.map_err(|source| {
                crew.cancel(&build.name);
                Error::Target { name: build.name.clone(), source: Box::new(source) }
            });
            let outcome = outcome.map_err(|error| crew.is_culprit(&build.name).then_some(error));
            board.put(index, outcome);
        }
    }
}

/// How many builds go on at once, each with all of its stages.
const MOST_AT_ONCE: usize = 16;

/// Which builds are begun and which are done.
struct Board {
    state: Mutex<State>,
    bell: Condvar,
}

struct State {
    open: BTreeSet<usize>,
    outcomes: Vec<Option<BuildOutcome>>,
    has_failed: bool,
    failure: Option<Error>,
}

impl Board {
    fn new(count: usize) -> Self {
        let outcomes = (0..count).map(|_| None).collect();
        let state = State { open: (0..count).collect(), outcomes, has_failed: false, failure: None };
        Self { state: Mutex::new(state), bell: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next build whose needs are done; waits for one.
    fn next(&self, builds: &[NamedBuild<'_>]) -> Option<usize> {
        let mut state = self.lock();
        loop {
            if state.has_failed || state.open.is_empty() {
                return None;
            }
            let is_done = |name: &str| {
                let index = builds.iter().position(|build| build.name == name);
                index.is_some_and(|index| state.outcomes[index].is_some())
            };
            let ready = state.open.iter().copied().find(|index| needs(&builds[*index]).all(is_done));
            if let Some(index) = ready {
                state.open.remove(&index);
                return Some(index);
            }
            state = self.bell.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn put(&self, index: usize, outcome: std::result::Result<BuildOutcome, Option<Error>>) {
        let mut state = self.lock();
        match outcome {
            Ok(outcome) => state.outcomes[index] = Some(outcome),
            Err(failure) => {
                state.has_failed = true;
                state.failure = state.failure.take().or(failure);
            }
        }
        self.bell.notify_all();
    }
}

/// The builds whose results a build uses.
fn needs<'b>(build: &'b NamedBuild<'_>) -> impl Iterator<Item = &'b str> {
    build.request.contexts.values().filter_map(|value| value.strip_prefix(TARGET))
}

/// Each build may use those that come before it, so that none waits for ever.
fn check_needs(builds: &[NamedBuild<'_>]) -> Result<()> {
    for (index, build) in builds.iter().enumerate() {
        let is_before = |name: &str| builds[..index].iter().any(|known| known.name == name);
        if let Some(missing) = needs(build).find(|name| !is_before(name)) {
            return Err(Error::invalid(format!("target {}: {missing} is not built before it", build.name)));
        }
    }
    Ok(())
}

/// An event of one of several builds: its steps have numbers and names of their own.
fn shown(index: usize, build: &str, event: BuildEvent) -> BuildEvent {
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    let number = |step: u32| {
        let step = step.min(STEPS_PER_BUILD - 1);
        index.wrapping_mul(STEPS_PER_BUILD).wrapping_add(step)
    };
    match event {
        BuildEvent::Begin { step, name } => {
            let name = match name.strip_prefix('[') {
                Some(rest) => format!("[{build} {rest}"),
                None => format!("[{build}] {name}"),
            };
            BuildEvent::Begin { step: number(step), name }
        }
        BuildEvent::Note { step, text } => BuildEvent::Note { step: number(step), text },
        BuildEvent::Output { step, bytes } => BuildEvent::Output { step: number(step), bytes },
        BuildEvent::Cached { step } => BuildEvent::Cached { step: number(step) },
        BuildEvent::Done { step } => BuildEvent::Done { step: number(step) },
        BuildEvent::Failed { step, reason } => BuildEvent::Failed { step: number(step), reason },
        other => other,
    }
}

/// The files of another place that describe builds, and what else lies there.
fn remote_definitions(remotes: &Remotes<'_>, remote: &BakeRemote) -> Result<(Vec<BakeFile>, Option<Tree>)> {
    if let Some(file) = lone_text(remotes, &remote.address)? {
        return Ok((vec![BakeFile { name: file.name, text: file.text }], None));
    }
    let tree = Tree::bring(remotes, &remote.address)?;
    let mut files = Vec::new();
    for name in &remote.names {
        match tree.text(name)? {
            Some(text) => files.push(BakeFile { name: name.clone(), text }),
            None if remote.are_needed => {
                return Err(Error::invalid(format!("{name} not found in {}", shown_address(remote))));
            }
            None => {}
        }
    }
    match files.is_empty() {
        true => Err(Error::invalid(format!("couldn't find a bake definition in {}", shown_address(remote)))),
        false => Ok((files, Some(tree))),
    }
}

/// A small file of this machine that another one names.
fn local_text(path: &str) -> Option<String> {
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(TEXT_SIZE_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

fn shown_address(remote: &BakeRemote) -> String {
    mica_model::remote_source::without_credentials(&remote.address)
}

/// Makes the paths of a target begin in the place that its definition came from. Those of this machine begin with
/// `cwd://`.
fn begin_in(remote: &str, target: &mut BakeTarget) -> Result<()> {
    let mut contexts: Vec<&mut serde_json::Value> = Vec::new();
    target.attributes.entry("context").or_insert_with(|| ".".into());
    for (name, value) in &mut target.attributes {
        match (name.as_str(), value) {
            ("context", value) => contexts.push(value),
            ("contexts", serde_json::Value::Object(named)) => contexts.extend(named.values_mut()),
            _ => {}
        }
    }
    for context in contexts {
        let path = context.as_str().unwrap_or_default();
        let is_address = path == "-" || path.contains("://") || path.starts_with(TARGET);
        if is_address || !matches!(RemoteSource::parse_context(path), Ok(None)) {
            continue;
        }
        let path = path.trim_start_matches("./").trim_end_matches('/');
        let moved = match path {
            "" | "." => Some(remote.to_owned()),
            path => mica_model::remote_source::below(remote, path),
        };
        *context = moved.ok_or_else(|| Error::invalid(format!("{path}: no path within {remote}")))?.into();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mica_api::types::build::BuildRequest;

    fn build(name: &str, needs: &[&str]) -> NamedBuild<'static> {
        let contexts = needs.iter().map(|need| ((*need).to_owned(), format!("target:{need}")));
        let request = BuildRequest { contexts: contexts.collect(), ..BuildRequest::default() };
        NamedBuild { name: name.to_owned(), request }
    }

    #[test]
    fn a_build_waits_for_those_that_it_uses() {
        let builds = [build("base", &[]), build("app", &["base"]), build("other", &[])];
        check_needs(&builds).unwrap();
        assert!(check_needs(&[build("app", &["base"]), build("base", &[])]).is_err());
        let board = Board::new(3);
        assert_eq!(board.next(&builds), Some(0));
        assert_eq!(board.next(&builds), Some(2));
        board.put(0, Ok(BuildOutcome { image_id: String::new(), digest: String::new(), names: Vec::new() }));
        assert_eq!(board.next(&builds), Some(1));
        board.put(1, Err(None));
        assert_eq!(board.next(&builds), None);
    }

    #[test]
    fn paths_begin_where_the_definition_came_from() {
        let attributes = serde_json::json!({"contexts": {
            "part": "./part/", "image": "docker-image://x", "other": "target:x", "here": "cwd://x"}});
        let serde_json::Value::Object(attributes) = attributes else { panic!() };
        let mut target = BakeTarget { name: "app".to_owned(), attributes };
        begin_in("https://host/a.git#v1", &mut target).unwrap();
        assert_eq!(target.text("context"), Some("https://host/a.git#v1"));
        let contexts = target.attributes["contexts"].clone();
        assert_eq!(contexts["part"], "https://host/a.git#v1:part");
        assert_eq!((&contexts["image"], &contexts["here"]), (&"docker-image://x".into(), &"cwd://x".into()));
        assert_eq!(contexts["other"], "target:x");
        target.attributes["context"] = "sub".into();
        assert!(begin_in("https://host/a.tar", &mut target).is_err());
    }

    #[test]
    fn events_carry_the_name_of_their_build() {
        let begin = |name: &str| BuildEvent::Begin { step: u32::MAX, name: name.to_owned() };
        let BuildEvent::Begin { step, name } = shown(1, "app", begin("[1/2] FROM x")) else { panic!() };
        assert_eq!((step, name.as_str()), (2 * STEPS_PER_BUILD - 1, "[app 1/2] FROM x"));
        let BuildEvent::Begin { name, .. } = shown(0, "app", begin("exporting to image")) else { panic!() };
        assert_eq!(name, "[app] exporting to image");
    }
}

//! Builds: a Dockerfile becomes an image. What to do is decided in mica-build; here it is done.

mod add;
mod archive;
mod bake;
mod bases;
mod cache;
mod caches;
mod context;
mod copy;
mod crew;
mod examine;
mod export;
mod git;
mod history;
mod mounts;
mod network;
mod outputs;
mod owner;
mod places;
mod prune;
mod push;
mod push_index;
mod registry_cache;
mod remote;
mod run;
mod scratch;
mod squash;
mod worker;

pub(crate) use cache::TABLES;

use crate::error::{Error, Result};
use crate::image::load::wanted_platform;
use crate::{Local, lock, system};
use caches::Caches;
use context::Context;
use crew::{Crew, given_up};
use export::{Made, export, export_caches};
use history::Recorder;
use mica_api::engine::BuildListener;
use mica_api::types::build::{BuildContext, BuildEvent, BuildOutcome, BuildRequest};
use mica_build::dockerfile::{Dockerfile, Globals, ParseError, Span, parse};
use mica_build::image::Image;
use mica_build::lint::Finding;
use mica_build::progress::News;
use mica_build::{NamedContext, Options, SolveError};
use mica_model::RemoteSource;
use remote::Remotes;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};
use worker::{Builder, RESULT};

impl Local {
    /// Builds what is asked for.
    pub(crate) fn build(
        &self,
        request: &BuildRequest<'_>,
        listener: BuildListener<'_>,
    ) -> Result<BuildOutcome> {
        self.build_with(request, listener, Member { crew: &Crew::default(), name: "" })
    }

    /// Builds, maybe while others go on, and records it.
    fn build_with(
        &self,
        request: &BuildRequest<'_>,
        listener: BuildListener<'_>,
        member: Member<'_>,
    ) -> Result<BuildOutcome> {
        let recorder = Recorder::begin(self, request, member.name);
        let told = |event: BuildEvent| {
            recorder.note(&event);
            listener(event);
        };
        let result = self.build_recorded(request, &told, member);
        recorder.finish(&result, member.crew.is_cancelled() && !member.crew.is_culprit(member.name));
        result
    }

    fn build_recorded(
        &self,
        request: &BuildRequest<'_>,
        listener: BuildListener<'_>,
        member: Member<'_>,
    ) -> Result<BuildOutcome> {
        check_entitlements(request)?;
        // A mistake in the settings is told now: who keeps to them later tells nobody.
        self.build_cache_bounds()?;
        let platforms = platforms(request)?;
        push::check(request)?;
        let names = request.tags.iter().map(|tag| crate::image::tag::parse_target(tag));
        let names = names.collect::<Result<Vec<_>>>()?;
        // While it is held, nobody deletes layers that are not in an image yet.
        let lock = lock::shared(&self.disk.image_lock())?;
        let steps = Steps { listener, last: AtomicU32::new(0) };
        let remotes = Remotes::new(self, &request.access.proxies, member.crew);
        let (context, file) = steps.whole(1, &first_step(request), || {
            let context = Context::open(&remotes, request)?;
            let file = context.dockerfile()?;
            Ok((context, file))
        })?;
        let tell = |span: Option<Span>| {
            if let Some(span) = span
                && member.crew.is_culprit(member.name)
            {
                listener(BuildEvent::Excerpt { text: excerpt(&file.name, &file.text, span) });
            }
        };
        let dockerfile = parse(&file.text).map_err(|error| {
            tell(Some(error.span));
            refused(&error)
        })?;
        steps.whole(2, "[internal] load .dockerignore", || Ok(()))?;
        let several = platforms.len() > 1;
        let first = options(request, &platforms[0], several);
        let findings = self.findings(&dockerfile, &context, &first);
        if let Some(error) = examine::violated(&dockerfile, &findings, &first) {
            tell(findings.first().map(|finding| finding.instruction));
            return Err(Error::Solve { source: Box::new(error) });
        }
        let caches = Caches::open(self, request)?;
        let mut made = Vec::new();
        for platform in &platforms {
            let options = options(request, platform, several);
            let builder =
                Builder::new(self, request, (&context, &remotes, &caches, platform), listener, member)?;
            match builder.solve(&dockerfile, &options, &steps) {
                Ok(image) => {
                    let image = builder.maybe_squash(image, &steps)?;
                    builder.share(&image);
                    made.push(Made { builder, image });
                }
                Err(error) => {
                    let (span, source) = reason(*error);
                    tell(span);
                    // Those of builds that were killed.
                    self.tidy_containers();
                    return Err(Error::Solve { source: Box::new(source) });
                }
            }
        }
        let outcome = export(&made, &names)?;
        export_caches(&made, &steps)?;
        for made in &made {
            made.builder.remember_uses()?;
        }
        warn(&findings, (&dockerfile, &first), listener);
        self.push_made(request, (made, lock), outcome, &steps)
    }
}

impl Builder<'_> {
    /// Does all that the result needs.
    fn solve(
        &self,
        file: &Dockerfile,
        options: &Options,
        steps: &Steps<'_>,
    ) -> std::result::Result<Image, Box<SolveError<Error>>> {
        let news = |number, news: News<'_>| steps.tell(number, &news);
        let solved = mica_build::solve((file, options), self, &news, steps.next());
        self.clear_runs();
        self.clear_networks();
        solved.map_err(Box::new)
    }
}

/// Tells what would be better otherwise.
fn warn(findings: &[Finding], (file, options): (&Dockerfile, &Options), listener: BuildListener<'_>) {
    let globals = Globals::new(file, &options.inputs()).ok();
    let unconsumed = globals.map(|globals| globals.unconsumed(file)).unwrap_or_default();
    let text = mica_build::call::text::summary(findings, &unconsumed);
    if !text.is_empty() {
        listener(BuildEvent::Warnings { text });
    }
}

/// What is shown while the context and the Dockerfile are looked for.
fn first_step(request: &BuildRequest<'_>) -> String {
    let BuildContext::Remote(address) = &request.context else {
        return "[internal] load build definition from Dockerfile".to_owned();
    };
    match RemoteSource::parse_context(address) {
        Ok(Some(source @ RemoteSource::Git(_))) => format!("[internal] load git source {source}"),
        _ => "[internal] load remote build context".to_owned(),
    }
}

/// One of the builds that go on at the same time.
#[derive(Clone, Copy)]
struct Member<'a> {
    crew: &'a Crew,
    /// Its name; empty if it is alone.
    name: &'a str,
}

/// The step that makes the image.
const EXPORT_STEP: u32 = u32::MAX;

struct Steps<'a> {
    listener: BuildListener<'a>,
    /// The highest number that was told of.
    last: AtomicU32,
}

impl Steps<'_> {
    /// A number that no step has.
    fn next(&self) -> u32 {
        self.last.load(Ordering::Relaxed) + 1
    }

    fn whole<T>(&self, step: u32, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.tell(step, &News::Begin(name));
        match work() {
            Ok(done) => {
                self.tell(step, &News::Done);
                Ok(done)
            }
            Err(error) => {
                self.tell(step, &News::Failed(Some(&error.to_string())));
                Err(Error::Solve { source: Box::new(error) })
            }
        }
    }

    fn tell(&self, step: u32, news: &News<'_>) {
        self.last.fetch_max(step, Ordering::Relaxed);
        (self.listener)(match news {
            News::Begin(name) => BuildEvent::Begin { step, name: (*name).to_owned() },
            News::Cached => BuildEvent::Cached { step },
            News::Done => BuildEvent::Done { step },
            News::Failed(reason) => BuildEvent::Failed { step, reason: reason.map(str::to_owned) },
        });
    }
}

fn options(request: &BuildRequest<'_>, platform: &str, shows_platform: bool) -> Options {
    let contexts = request.contexts.iter().map(|(name, value)| {
        let meaning = match (value.strip_prefix("docker-image://"), value.strip_prefix(bake::TARGET)) {
            (Some(image), _) => NamedContext::Image(image.to_owned()),
            (None, Some(target)) => NamedContext::Image(format!("{RESULT}{target}")),
            (None, None) if value.starts_with(bases::LAYOUT) => NamedContext::Image(value.clone()),
            (None, None) => NamedContext::Files,
        };
        (name.clone(), meaning)
    });
    Options {
        target: Some(request.target.clone()).filter(|target| !target.is_empty()),
        arguments: request.arguments.clone(),
        labels: request.labels.clone(),
        platform: platform.to_owned(),
        host_platform: format!("linux/{}", system::architecture()),
        shows_platform,
        no_cache: request.no_cache,
        no_cache_stages: request.no_cache_stages.clone(),
        contexts: contexts.collect(),
        run_settings: format!(
            "{:?}",
            (
                &request.network,
                &request.extra_hosts,
                request.shm_size_bytes,
                &request.ulimits,
                request.arguments.get(run::HOST_NAME_ARGUMENT)
            )
        ),
    }
}

/// The platforms that are asked for, each once; an empty one is that of the host.
fn platforms(request: &BuildRequest<'_>) -> Result<Vec<String>> {
    let mut platforms: Vec<String> = Vec::new();
    for written in request.platform.split(',').map(str::trim) {
        let platform = wanted_platform(written)?.to_string();
        let platform = if request.platform.is_empty() { String::new() } else { platform };
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    Ok(platforms)
}

fn check_entitlements(request: &BuildRequest<'_>) -> Result<()> {
    let known = ["network.host", "security.insecure", "device"];
    let prefixes = ["fs.read=/", "device="];
    let is_known = |wanted: &String| {
        known.contains(&wanted.as_str()) || prefixes.iter().any(|prefix| wanted.starts_with(prefix))
    };
    match request.entitlements.iter().find(|wanted| !is_known(wanted)) {
        Some(unknown) => Err(Error::invalid(format!("unknown entitlement {unknown}"))),
        None => Ok(()),
    }
}

fn refused(error: &ParseError) -> Error {
    Error::Solve { source: Box::new(Error::invalid(error.to_string())) }
}

fn reason(error: SolveError<Error>) -> (Option<Span>, Error) {
    match error {
        SolveError::Wrong { problem, span } => (span, Error::invalid(problem.to_string())),
        SolveError::Step { span, source, .. } => (span, source),
        SolveError::Cancelled => (None, given_up()),
    }
}

/// The lines around a place, as docker shows them.
fn excerpt(name: &str, text: &str, span: Span) -> String {
    const AROUND: u32 = 2;
    let (first, last) = span.lines();
    let mut shown = format!("{name}:{first}\n--------------------\n");
    for (number, line) in (1u32..).zip(text.lines()) {
        if number + AROUND < first || number > last.saturating_add(AROUND) {
            continue;
        }
        let mark = if (first..=last).contains(&number) { ">>>" } else { "   " };
        let _ = writeln!(shown, "{number:>4} | {mark} {line}");
    }
    shown.push_str("--------------------\n");
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use mica_build::dockerfile::Position;

    #[test]
    fn an_excerpt_marks_the_lines() {
        let at = |line, column| Position { line, column };
        let text = "FROM a\nRUN x \\\n  y\n\nCMD z\nLABEL a=b\n";
        let shown = excerpt("Dockerfile", text, Span::new(at(2, 1), at(3, 4)));
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines[0], "Dockerfile:2");
        assert_eq!(lines[2], "   1 |     FROM a");
        assert_eq!(lines[3], "   2 | >>> RUN x \\");
        assert_eq!(lines[4], "   3 | >>>   y");
        assert_eq!(lines[6], "   5 |     CMD z");
        assert_eq!(lines.len(), 8);
    }
}

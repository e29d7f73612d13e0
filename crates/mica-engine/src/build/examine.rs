//! What a Dockerfile says of itself: findings of the linter, targets, outlines. Nothing is built.

use super::context::{Context, TextFile};
use super::crew::Crew;
use super::remote::Remotes;
use crate::error::{Error, Result};
use crate::image::record::ImageRecord;
use crate::{Local, lock};
use mica_api::types::build::{BuildAnswer, BuildQuestion, BuildRequest};
use mica_build::dockerfile::{Dockerfile, Environment, Globals, ParseError, parse};
use mica_build::lint::{self, BaseImage, Finding, Surroundings};
use mica_build::{Options, call};

impl Local {
    /// Answers a question about the Dockerfile of a build.
    pub(crate) fn examine_build(
        &self,
        request: &BuildRequest<'_>,
        question: BuildQuestion,
    ) -> Result<BuildAnswer> {
        let _lock = lock::shared(&self.disk.image_lock())?;
        let crew = Crew::default();
        let remotes = Remotes::new(self, &request.access.proxies, &crew);
        let context = Context::open(&remotes, request)?;
        let file = context.dockerfile()?;
        let platform = request.platform.split(',').next().unwrap_or_default();
        let options = super::options(request, platform, false);
        let parsed = parse(&file.text);
        if question == BuildQuestion::Check {
            return Ok(self.check(&context, (&file, &parsed), &options));
        }
        let dockerfile = parsed.map_err(|error| super::refused(&error))?;
        let answer = |text, document: serde_json::Value| BuildAnswer { text, document, has_problems: false };
        if question == BuildQuestion::Targets {
            let targets = call::targets(&dockerfile);
            return Ok(answer(call::text::targets(&targets), call::json::targets(&targets)));
        }
        let wrong = |error: ParseError| super::refused(&error);
        let globals = Globals::new(&dockerfile, &options.inputs()).map_err(wrong)?;
        let target = mica_build::target(&dockerfile, &options)
            .map_err(|problem| Error::Solve { source: Box::new(Error::invalid(problem.to_string())) })?;
        let outline = call::outline(&dockerfile, &globals, target).map_err(wrong)?;
        Ok(answer(call::text::outline(&outline), call::json::outline(&outline)))
    }

    fn check(
        &self,
        context: &Context,
        (file, parsed): (&TextFile, &std::result::Result<Dockerfile, ParseError>),
        options: &Options,
    ) -> BuildAnswer {
        let (findings, error) = match parsed {
            Ok(dockerfile) => (self.findings(dockerfile, context, options), None),
            Err(error) => (Vec::new(), Some(error)),
        };
        BuildAnswer {
            text: call::text::check(&file.name, &file.text, &findings, error),
            document: call::json::check(&file.name, &findings, error),
            has_problems: !findings.is_empty() || error.is_some(),
        }
    }

    /// What the linter finds; images that are not here are taken for ones that nothing is known of.
    pub(super) fn findings(&self, file: &Dockerfile, context: &Context, options: &Options) -> Vec<Finding> {
        let inputs = options.inputs();
        let base = |name: &str| {
            let record = ImageRecord::find(&self.database(), name).ok()?;
            let image = self.image_config(&record).ok()?;
            Some(BaseImage {
                environment: Environment::from_texts(image.config().env.iter().map(String::as_str)),
                platform: format!("{}/{}", image.os(), image.architecture()),
                has_shell: image.config().shell.is_some(),
            })
        };
        let surroundings = Surroundings { inputs: &inputs, base: &base, ignore: context.tree().rules() };
        let Ok(check) = lint::options(file, &inputs) else { return Vec::new() };
        lint::check(file, &surroundings, &check)
    }
}

/// Why a file whose `# check=error=true` is not kept to cannot be built.
pub(super) fn violated(file: &Dockerfile, findings: &[Finding], options: &Options) -> Option<Error> {
    let is_error = lint::options(file, &options.inputs()).is_ok_and(|check| check.error);
    if findings.is_empty() || !is_error {
        return None;
    }
    let mut rules: Vec<&str> = findings.iter().map(|finding| finding.rule.name()).collect();
    rules.sort_unstable();
    rules.dedup();
    Some(Error::invalid(format!("lint violation found for rules: {}", rules.join(", "))))
}

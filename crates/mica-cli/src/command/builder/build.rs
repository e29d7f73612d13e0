//! `build`: an image from a Dockerfile.

use crate::args::{Matches, PlannedFlag, bytes, list, switch, text};
use crate::command::builder::progress::{Display, Style};
use crate::command::builder::{annotation, attestation, cache, context, output};
use crate::command::container::definition::isolation;
use crate::command::container::definition::variables::parse_label;
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::proxy;
use crate::report::{FAILURE, Failure, Outcome, SUCCESS};
use clap::Arg;
use mica_api::types::build::{BuildAnswer, BuildOutcome, BuildQuestion, BuildRequest, BuildSecret};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["image build", "build", "builder build", "buildx build"],
    summary: "Build an image from a Dockerfile",
    operands: Operands::exactly(1, &["PATH | URL | -"]),
    flags,
    planned: PLANNED,
    execute,
    examples: &[
        ("Build what is in this directory, and name it", "build -t app:1 ."),
        (
            "Build a stage of another file, with an argument",
            "build -f docker/Dockerfile --target test --build-arg V=2 .",
        ),
        ("Build from a Dockerfile without any files", "build - < Dockerfile"),
        ("Build a directory of a branch of a repository", "build https://example.com/app.git#main:docker"),
    ],
    visibility: Visibility::Common(7),
};

const BUILDS: &str = "a later version of builds";

const PLANNED: &[PlannedFlag] = &[PlannedFlag::value("security-opt", None, BUILDS)];

fn flags() -> Vec<Arg> {
    vec![
        list("add-host", "strings", "Add a custom host-to-IP mapping (format: \"host:ip\")"),
        list(
            "allow",
            "stringArray",
            "Allow extra privileged entitlement (e.g., \"network.host\", \"security.insecure\")",
        ),
        list("annotation", "stringArray", "Add annotation to the image"),
        list("attest", "stringArray", "Attestation parameters (only \"type=...,disabled=true\")"),
        list("build-arg", "stringArray", "Set build-time variables"),
        list("build-context", "stringArray", "Additional build contexts (e.g., name=path)"),
        list(
            "cache-from",
            "stringArray",
            "External cache sources (e.g., \"user/app:cache\", \"type=local,src=path/to/dir\")",
        ),
        list(
            "cache-to",
            "stringArray",
            "Cache export destinations (e.g., \"type=inline\", \"type=local,dest=path/to/dir\")",
        ),
        text("call", "string", "Set method for evaluating build (\"check\", \"outline\", \"targets\")"),
        switch("check", "Shorthand for \"--call=check\""),
        text("cgroup-parent", "string", "Set the parent cgroup for the \"RUN\" instructions during build"),
        text("file", "string", "Name of the Dockerfile (default: \"PATH/Dockerfile\")").short('f'),
        text("iidfile", "string", "Write the image ID to a file"),
        list("label", "stringArray", "Set metadata for an image").value_parser(parse_label),
        switch("load", "Keep the result as an image (always done)"),
        text("metadata-file", "string", "Write build result metadata to a file"),
        text(
            "network",
            "string",
            "Set the networking mode for the \"RUN\" instructions during build (default \"default\")",
        ),
        switch("no-cache", "Do not use cache when building the image"),
        list("no-cache-filter", "stringArray", "Do not cache specified stages"),
        list("output", "stringArray", "Output destination (format: \"type=local,dest=path\")").short('o'),
        text("platform", "string", "Set target platform for build"),
        text(
            "progress",
            "string",
            "Set type of progress output (\"auto\", \"plain\", \"tty\", \"quiet\", \"rawjson\")",
        ),
        text("provenance", "string", "Whether the result tells its origin (only \"false\")"),
        switch("pull", "Always attempt to pull all referenced images"),
        switch("push", "Shorthand for \"--output=type=registry\""),
        switch("quiet", "Suppress the build output and print image ID on success").short('q'),
        text("sbom", "string", "Whether the result lists its parts (only \"false\")"),
        list(
            "secret",
            "stringArray",
            "Secret to expose to the build (format: \"id=mysecret[,src=/local/secret]\")",
        ),
        bytes("shm-size", "Shared memory size for build containers"),
        switch("squash", "Make one layer of all that the build adds"),
        list(
            "ssh",
            "stringArray",
            "SSH agent socket to expose to the build (format: \"default|<id>[=<socket>]\")",
        ),
        list("tag", "stringArray", "Image identifier (format: \"[registry/]repository[:tag]\")").short('t'),
        text("target", "string", "Set the target build stage to build"),
        isolation::ulimit_flag(),
    ]
}

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let style = style(matches, context)?;
    let keyring = context.keyring();
    if let Some(question) = Question::of(matches)? {
        let mut request = request_without_outputs(matches, context)?;
        request.access = context.registry_access(&keyring);
        return question.ask(&request, context);
    }
    let mut request = request(matches, context)?;
    request.access = context.registry_access(&keyring);
    let display = Display::new(style, context);
    let engine = context.engine()?;
    let built = engine.build(request, &|event| display.take(&event));
    display.finish(built.as_ref().err());
    let outcome = built?;
    if let Some(path) = matches.text("iidfile").filter(|path| !path.is_empty()) {
        std::fs::write(&path, &outcome.image_id).map_err(|source| Failure::File {
            action: "write",
            path,
            source,
        })?;
    }
    if let Some(path) = matches.text("metadata-file").filter(|path| !path.is_empty()) {
        let text = format!("{:#}\n", metadata(&outcome));
        std::fs::write(&path, text).map_err(|source| Failure::File { action: "write", path, source })?;
    }
    if style == Style::Quiet {
        context.print_line(&outcome.image_id)?;
    }
    Ok(SUCCESS)
}

/// The document of `--metadata-file`.
pub(super) fn metadata(outcome: &BuildOutcome) -> serde_json::Value {
    serde_json::json!({
        "containerimage.config.digest": outcome.image_id,
        "containerimage.digest": outcome.digest,
        "image.name": outcome.names.join(","),
    })
}

/// A question that is asked instead of a build.
pub(super) struct Question {
    question: BuildQuestion,
    pub(super) is_json: bool,
}

impl Question {
    pub(super) fn of(matches: &Matches) -> Result<Option<Self>, Failure> {
        let typed = if matches.on("check") { "check".to_owned() } else { matches.text_or_empty("call") };
        let (name, format) = typed.split_once(',').unwrap_or((&typed, ""));
        let question = match name {
            "" | "build" => return Ok(None),
            "check" | "lint" => BuildQuestion::Check,
            "outline" => BuildQuestion::Outline,
            "targets" => BuildQuestion::Targets,
            other => {
                return Err(Failure::refused(format!(
                    "invalid --call={other}: check, outline and targets are known"
                )));
            }
        };
        match format {
            "" | "format=text" => Ok(Some(Self { question, is_json: false })),
            "format=json" => Ok(Some(Self { question, is_json: true })),
            other => Err(Failure::refused(format!("invalid --call: {other}"))),
        }
    }

    pub(super) fn answer(
        &self,
        request: &BuildRequest<'_>,
        context: &Context<'_>,
    ) -> Result<BuildAnswer, Failure> {
        Ok(context.engine()?.build_question(request, self.question)?)
    }

    fn ask(&self, request: &BuildRequest<'_>, context: &Context<'_>) -> Outcome {
        let answer = self.answer(request, context)?;
        match self.is_json {
            true => context.print_line(&format!("{:#}", answer.document))?,
            false => context.print(&answer.text)?,
        }
        Ok(if answer.has_problems { FAILURE } else { SUCCESS })
    }
}

pub(super) fn style(matches: &Matches, context: &Context<'_>) -> Result<Style, Failure> {
    if matches.on("quiet") {
        return Ok(Style::Quiet);
    }
    let here = context.config.environment.nonempty("BUILDKIT_PROGRESS").map(str::to_owned);
    Style::parse(matches.text("progress").or(here).as_deref(), context)
}

/// What the flags and the operand ask for.
pub(super) fn request<'a>(matches: &Matches, context: &Context<'_>) -> Result<BuildRequest<'a>, Failure> {
    let mut request = request_without_outputs(matches, context)?;
    let outputs = output::read(&matches.list("output"), context)?;
    request.push = outputs.is_pushed || matches.on("push");
    request.store = !outputs.is_only_elsewhere || request.push || matches.on("load");
    request.outputs = outputs.elsewhere;
    request.tags.extend(outputs.names);
    Ok(request)
}

/// The same for a question: nothing is opened that a build would write to.
pub(super) fn request_without_outputs<'a>(
    matches: &Matches,
    context: &Context<'_>,
) -> Result<BuildRequest<'a>, Failure> {
    attestation::check(matches)?;
    let operand = matches.operand(0).unwrap_or_default();
    let found = context::find(&operand, matches.text("file").filter(|path| !path.is_empty()), context)?;
    let here = |name: &str| context.config.environment.variable(name).map(str::to_owned);
    let mut arguments = BTreeMap::new();
    for typed in matches.list("build-arg") {
        match typed.split_once('=') {
            Some((name, value)) => drop(arguments.insert(name.to_owned(), value.to_owned())),
            // A bare name takes the value that it has here.
            None => drop(here(&typed).map(|value| arguments.insert(typed.clone(), value))),
        }
    }
    let proxies = proxy::variables(&context.file().proxies, |name| arguments.contains_key(name));
    arguments.extend(proxies);
    let is_inline = arguments.get("BUILDKIT_INLINE_CACHE").is_some_and(|value| value == "1");
    let epoch = arguments.get("SOURCE_DATE_EPOCH").cloned().or_else(|| here("SOURCE_DATE_EPOCH"));
    Ok(BuildRequest {
        context: found.context,
        dockerfile: found.dockerfile,
        ignore: found.ignore,
        tags: matches.list("tag"),
        target: matches.text_or_empty("target"),
        arguments,
        labels: matches.list("label").iter().map(|label| pair(label)).collect(),
        contexts: contexts(matches)?,
        cache_from: cache::sources(&matches.list("cache-from"))?,
        cache_to: cache::targets(&matches.list("cache-to"), is_inline)?,
        annotations: annotation::read(&matches.list("annotation"))?,
        platform: matches.text("platform").or_else(|| here("DOCKER_DEFAULT_PLATFORM")).unwrap_or_default(),
        no_cache: matches.on("no-cache"),
        no_cache_stages: matches.list("no-cache-filter").iter().flat_map(|typed| commas(typed)).collect(),
        network: network(&matches.text_or_empty("network"))?,
        extra_hosts: matches.list("add-host"),
        shm_size_bytes: matches.number("shm-size").unwrap_or(0),
        ulimits: isolation::limits(matches),
        cgroup_parent: matches.text_or_empty("cgroup-parent"),
        secrets: matches
            .list("secret")
            .iter()
            .map(|typed| secret(typed, context))
            .collect::<Result<_, _>>()?,
        agents: matches.list("ssh").iter().map(|typed| agent(typed, context)).collect::<Result<_, _>>()?,
        entitlements: matches.list("allow"),
        pull: matches.on("pull"),
        source_date_epoch: epoch.map(|text| seconds(&text)).transpose()?,
        squash: matches.on("squash"),
        store: true,
        ..BuildRequest::default()
    })
}

fn seconds(text: &str) -> Result<i64, Failure> {
    text.parse().map_err(|_| Failure::refused(format!("invalid SOURCE_DATE_EPOCH: {text:?}")))
}

fn pair(typed: &str) -> (String, String) {
    let (name, value) = typed.split_once('=').unwrap_or((typed, ""));
    (name.to_owned(), value.to_owned())
}

fn commas(typed: &str) -> Vec<String> {
    typed.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn network(typed: &str) -> Result<String, Failure> {
    match typed {
        "" | "default" => Ok(String::new()),
        "none" | "host" => Ok(typed.to_owned()),
        other => Err(Failure::refused(format!("network mode {other:?} not supported by buildkit"))),
    }
}

fn contexts(matches: &Matches) -> Result<BTreeMap<String, String>, Failure> {
    let mut contexts = BTreeMap::new();
    for typed in matches.list("build-context") {
        let (name, value) = typed
            .split_once('=')
            .ok_or_else(|| Failure::refused(format!("invalid context value: {typed}, expected key=value")))?;
        let value = match value.strip_prefix("oci-layout://") {
            Some(path) => format!("oci-layout://{}", context::layout(path)?),
            None if value.starts_with("docker-image://") => value.to_owned(),
            None => match context::remote(value)? {
                Some(address) => address,
                None => context::directory(value)?.to_string_lossy().into_owned(),
            },
        };
        contexts.insert(name.to_lowercase(), value);
    }
    Ok(contexts)
}

/// `id=x`, `id=x,src=FILE`, `id=x,env=VARIABLE`.
fn secret(typed: &str, context: &Context<'_>) -> Result<BuildSecret, Failure> {
    let fields: BTreeMap<&str, &str> =
        typed.split(',').map(|part| part.split_once('=').unwrap_or((part, ""))).collect();
    let known = ["id", "src", "source", "env", "type"];
    if let Some(unknown) = fields.keys().find(|key| !known.contains(key)) {
        return Err(Failure::refused(format!("unexpected key '{unknown}' in '{typed}'")));
    }
    let source = fields.get("src").or_else(|| fields.get("source")).copied();
    let variable = fields.get("env").copied();
    let id = fields.get("id").copied().or(variable).or(source).unwrap_or_default();
    if id.is_empty() {
        return Err(Failure::refused(format!("invalid secret {typed:?}: it needs an id")));
    }
    let here = |name: &str| context.config.environment.variable(name).map(|value| value.as_bytes().to_vec());
    let content = match (source, variable, fields.get("type").copied()) {
        (Some(name), None, Some("env")) => here(name),
        (Some(path), _, _) => Some(std::fs::read(path).map_err(|source| Failure::File {
            action: "open",
            path: path.to_owned(),
            source,
        })?),
        (None, Some(name), _) => here(name),
        (None, None, _) => match here(id) {
            Some(value) => Some(value),
            None => Some(std::fs::read(id).map_err(|source| Failure::File {
                action: "open",
                path: id.to_owned(),
                source,
            })?),
        },
    };
    match content {
        Some(content) => Ok(BuildSecret { id: id.to_owned(), content }),
        None => Err(Failure::refused(format!("secret {id}: the environment has no such variable"))),
    }
}

/// `default`, `id` or `id=SOCKET`.
fn agent(typed: &str, context: &Context<'_>) -> Result<(String, PathBuf), Failure> {
    let (id, socket) =
        typed.split_once('=').map_or((typed, None), |(id, socket)| (id, Some(socket.to_owned())));
    let here = || context.config.environment.nonempty("SSH_AUTH_SOCK").map(str::to_owned);
    match socket.or_else(here) {
        Some(socket) => Ok((id.to_owned(), PathBuf::from(socket))),
        None => Err(Failure::refused("invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set")),
    }
}

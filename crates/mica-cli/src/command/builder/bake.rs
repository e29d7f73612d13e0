//! `bake`: the builds that files describe, in HCL, JSON or compose's YAML.

mod files;
mod privileges;
mod target;
#[cfg(test)]
mod tests;

use crate::args::{Matches, PlannedFlag, list, switch, text};
use crate::command::builder::attestation;
use crate::command::builder::build::{self, Question};
use crate::command::builder::progress::Display;
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::output::table;
use crate::report::{FAILURE, Failure, Outcome, SUCCESS};
use clap::Arg;
use mica_api::types::bake::{BakeContents, BakePlan, BakeRequest, NamedBuild};
use mica_api::types::build::BuildEvent;
use mica_model::RemoteSource;
use privileges::Privileges;
use serde_json::{Map, Value, json};

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["bake", "buildx bake", "buildx f"],
    summary: "Build from a file",
    operands: Operands::at_least(0, &["[TARGET...]"]),
    flags,
    planned: PLANNED,
    execute,
    examples: &[
        ("Build what the file's group \"default\" names", "bake"),
        ("See what would be built, with a variable set", "bake --var TAG=2 --print app"),
        ("Change an attribute of all targets that begin with \"app\"", "bake --set 'app*.no-cache=true'"),
        ("Build the services of a compose file", "bake -f compose.yaml"),
    ],
    visibility: Visibility::Plain,
};

const BUILDS: &str = "a later version of builds";

const PLANNED: &[PlannedFlag] = &[PlannedFlag::value("policy", None, BUILDS)];

fn flags() -> Vec<Arg> {
    vec![
        list("allow", "stringArray", "Allow build to access specified resources"),
        text("call", "string", "Set method for evaluating build (\"check\", \"outline\", \"targets\")"),
        switch("check", "Shorthand for \"--call=check\""),
        list("file", "stringArray", "Build definition file").short('f'),
        text("list", "string", "List targets or variables"),
        switch("load", "Shorthand for \"--set=*.output=type=docker\""),
        text("metadata-file", "string", "Write build result metadata to a file"),
        switch("no-cache", "Do not use cache when building the image"),
        switch("print", "Print the options without building"),
        text(
            "progress",
            "string",
            "Set type of progress output (\"auto\", \"plain\", \"tty\", \"quiet\", \"rawjson\")",
        ),
        text("provenance", "string", "Whether the results tell their origin (only \"false\")"),
        switch("pull", "Always attempt to pull all referenced images"),
        switch("push", "Shorthand for \"--set=*.output=type=registry\""),
        text("sbom", "string", "Whether the results list their parts (only \"false\")"),
        list("set", "stringArray", "Override target value (e.g., \"targetpattern.key=value\")"),
        list("var", "stringArray", "Set a variable value (e.g., \"name=value\")"),
    ]
}

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    attestation::check_shorthands(matches)?;
    let request = request(matches, context)?;
    if let Some(wanted) = matches.text("list").filter(|wanted| !wanted.is_empty()) {
        return print_list(&wanted, &context.engine()?.bake_contents(&request)?, context);
    }
    let plan = context.engine()?.bake_plan(&request)?;
    if matches.on("print") {
        context.print_line(&format!("{:#}", plan.document))?;
        return Ok(SUCCESS);
    }
    let privileges = Privileges::new(&matches.list("allow"))?;
    if !privileges.are_granted(&plan, context)? {
        return Err(Failure::refused("additional privileges requested"));
    }
    let question = Question::of(matches)?;
    let read = if question.is_some() { build::request_without_outputs } else { build::request };
    let mut builds = Vec::new();
    for target in &plan.targets {
        builds
            .push(NamedBuild { name: target.name.clone(), request: target::request(target, read, context)? });
    }
    match question {
        Some(question) => ask(&question, (&plan, builds), context),
        None => build(matches, (&request, builds), context),
    }
}

fn request(matches: &Matches, context: &Context<'_>) -> Result<BakeRequest, Failure> {
    let mut names = matches.operands();
    let mut leading_address = || {
        let is_address = names.first().is_some_and(|name| is_address(name));
        is_address.then(|| names.remove(0))
    };
    let address = leading_address();
    let command_context = address.as_ref().and_then(|_| leading_address());
    let mut variables = context.config.environment.variables();
    for typed in matches.list("var") {
        match typed.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                variables.insert(name.to_owned(), value.to_owned());
            }
            _ => return Err(Failure::refused(format!("invalid variable {typed:?}, expected name=value"))),
        }
    }
    let mut overrides = Vec::new();
    for typed in matches.list("set") {
        overrides.push(complete(&typed, context));
    }
    for name in ["no-cache", "pull", "push", "load"] {
        if let Some(value) = matches.switch(name) {
            overrides.push(format!("*.{name}={value}"));
        }
    }
    let (files, remote) = files::read(&matches.list("file"), address, context)?;
    let command_context = command_context.unwrap_or_else(|| files::HERE.to_owned());
    Ok(BakeRequest { files, variables, dotenv: files::dotenv(), names, overrides, remote, command_context })
}

/// Whether an operand is a place and no target.
fn is_address(operand: &str) -> bool {
    operand.contains(['/', ':']) && !matches!(RemoteSource::parse_context(operand), Ok(None))
}

/// `--set target.args.NAME` without a value takes the one that the variable has here.
fn complete(typed: &str, context: &Context<'_>) -> String {
    let name = typed.splitn(3, '.').nth(2).filter(|_| !typed.contains('='));
    match name.and_then(|name| context.config.environment.variable(name)) {
        Some(value) => format!("{typed}={value}"),
        None => typed.to_owned(),
    }
}

fn build(
    matches: &Matches,
    (request, builds): (&BakeRequest, Vec<NamedBuild<'_>>),
    context: &Context<'_>,
) -> Outcome {
    let style = build::style(matches, context)?;
    let display = Display::new(style, context);
    tell_files(request, &display);
    let names: Vec<String> = builds.iter().map(|build| build.name.clone()).collect();
    let built = context.engine()?.build_all(builds, &|event| display.take(&event));
    display.finish(built.as_ref().err());
    let outcomes = built?;
    let Some(path) = matches.text("metadata-file").filter(|path| !path.is_empty()) else {
        return Ok(SUCCESS);
    };
    let metadata = names.into_iter().zip(outcomes.iter().map(build::metadata));
    let text = format!("{:#}\n", Value::Object(metadata.collect()));
    std::fs::write(&path, text).map_err(|source| Failure::File { action: "write", path, source })?;
    Ok(SUCCESS)
}

/// Shows which files were read, as a step before all others.
fn tell_files(request: &BakeRequest, display: &Display) {
    const STEP: u32 = u32::MAX;
    let name = "[internal] load local bake definitions".to_owned();
    display.take(&BuildEvent::Begin { step: STEP, name });
    for file in &request.files {
        let size = file.text.len();
        let text = format!("reading {} {size}B / {size}B done", file.name);
        display.take(&BuildEvent::Note { step: STEP, text });
    }
    display.take(&BuildEvent::Done { step: STEP });
}

/// Asks the same about each of several Dockerfiles.
fn ask(
    question: &Question,
    (plan, builds): (&BakePlan, Vec<NamedBuild<'_>>),
    context: &Context<'_>,
) -> Outcome {
    let mut documents = Map::new();
    let mut has_problems = false;
    let is_one = builds.len() == 1;
    for (index, build) in builds.iter().enumerate() {
        let answer = question.answer(&build.request, context)?;
        has_problems |= answer.has_problems;
        if question.is_json {
            documents.insert(build.name.clone(), answer.document);
            continue;
        }
        if !is_one {
            let gap = if index == 0 { "" } else { "\n" };
            context.print(&format!("{gap}{}\n\n", build.name))?;
        }
        context.print(&answer.text)?;
    }
    if question.is_json {
        let groups = plan.document.get("group").cloned().unwrap_or_default();
        context.print_line(&format!("{:#}", json!({ "group": groups, "target": documents })))?;
    }
    Ok(if has_problems { FAILURE } else { SUCCESS })
}

/// `--list targets`, `--list variables`, `--list type=targets,format=json`.
fn print_list(wanted: &str, contents: &BakeContents, context: &Context<'_>) -> Outcome {
    let (mut kind, mut is_json) = ("", false);
    for part in wanted.split(',') {
        match part.split_once('=') {
            None => kind = part,
            Some(("type", value)) => kind = value,
            Some(("format", "json")) => is_json = true,
            Some(("format", "table")) => is_json = false,
            Some(_) => return Err(Failure::refused(format!("invalid --list: {part}"))),
        }
    }
    let (documents, rows) = match kind {
        "targets" => targets(contents),
        "variables" => variables(contents),
        other => {
            return Err(Failure::refused(format!(
                "invalid list type: {other}: targets and variables are known"
            )));
        }
    };
    match is_json {
        true => context.print_line(&format!("{:#}", Value::Array(documents)))?,
        false => context.print(&table::align(&rows))?,
    }
    Ok(SUCCESS)
}

fn targets(contents: &BakeContents) -> (Vec<Value>, String) {
    let mut rows = "TARGET\tDESCRIPTION\n".to_owned();
    let mut documents = Vec::new();
    for offer in &contents.targets {
        rows.push_str(&format!("{}\t{}\n", offer.name, offer.description));
        let mut document = json!({ "name": offer.name, "description": offer.description });
        if offer.is_group {
            document["group"] = true.into();
        }
        documents.push(document);
    }
    (documents, rows)
}

fn variables(contents: &BakeContents) -> (Vec<Value>, String) {
    let mut rows = "VARIABLE\tVALUE\tDESCRIPTION\n".to_owned();
    let mut documents = Vec::new();
    for variable in &contents.variables {
        let value = variable.value.as_deref();
        rows.push_str(&format!(
            "{}\t{}\t{}\n",
            variable.name,
            value.unwrap_or("<null>"),
            variable.description
        ));
        documents.push(json!({
            "name": variable.name,
            "value": value,
            "description": variable.description,
        }));
    }
    (documents, rows)
}

//! `history inspect`: all that is known of a build.

use super::{length, shown_length, status};
use crate::args::{Matches, text};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::document::Form;
use crate::output::table;
use crate::report::{Outcome, SUCCESS};
use jiff::tz::TimeZone;
use mica_api::types::build::BuildRecord;
use mica_model::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::SystemTime;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["buildx history inspect", "builder history inspect"],
    summary: "Inspect a build record",
    operands: Operands::between(0, 1, &["[REF]"]),
    flags: || {
        vec![text(
            "format",
            "string",
            "Format the output (\"pretty\", \"json\", a template) (default \"pretty\")",
        )]
    },
    planned: &[],
    execute,
    examples: &[
        ("The last build", "builder history inspect"),
        ("Why a build failed", "builder history inspect --format '{{.Error.Message}}' ^1"),
    ],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let record = context.engine()?.build_record(&matches.operand(0).unwrap_or_default())?;
    let now = Timestamp::from(SystemTime::now()).nanoseconds();
    let shown = match matches.text_or_empty("format").as_str() {
        "" | "pretty" => pretty(&record, now, &context.config.zone()),
        "json" => format!("{}\n", Form::Indented.show(&document(&record, now))?),
        template => format!("{}\n", Form::parse(template)?.show(&document(&record, now))?),
    };
    context.print(&shown)?;
    Ok(SUCCESS)
}

fn document(record: &BuildRecord, now: i64) -> Value {
    let instant = |nanoseconds: i64| Timestamp::from_nanoseconds(nanoseconds).to_string();
    let mut document = json!({
        "Name": record.name,
        "Ref": record.id,
        "Context": record.context,
        "Dockerfile": record.dockerfile,
        "Target": record.target,
        "Platform": platforms(record),
        "NamedContexts": pairs(&record.contexts),
        "StartedAt": instant(record.started),
        "CompletedAt": record.completed.map(instant),
        "Duration": length(record, now),
        "Status": status(record).to_lowercase(),
        "NumCompletedSteps": record.completed_steps,
        "NumTotalSteps": record.total_steps,
        "NumCachedSteps": record.cached_steps,
        "NumWarnings": record.warnings,
        "BuildArgs": pairs(&record.arguments),
        "Labels": pairs(&record.labels),
        "Tags": record.tags,
        "ImageID": record.image_id,
    });
    if let Some(message) = &record.error {
        document["Error"] = json!({ "Message": message, "Sources": record.excerpt });
    }
    document
}

fn platforms(record: &BuildRecord) -> Vec<&str> {
    record.platform.split(',').filter(|platform| !platform.is_empty()).collect()
}

fn pairs(map: &BTreeMap<String, String>) -> Vec<Value> {
    map.iter().map(|(name, value)| json!({ "Name": name, "Value": value })).collect()
}

fn pretty(record: &BuildRecord, now: i64, zone: &TimeZone) -> String {
    let mut head = String::new();
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(head, "{name}:\t{value}");
        }
    };
    line("Name", &record.name);
    line("Context", &record.context);
    line("Dockerfile", &record.dockerfile);
    line("Target", &record.target);
    line("Platforms", &platforms(record).join(", "));
    line("Tags", &record.tags.join(", "));
    line("Image", &record.image_id);
    let mut text = table::align(&head);
    let percent = record.cached_steps.saturating_mul(100).checked_div(record.total_steps).unwrap_or(0);
    let mut second = format!("Started:\t{}\n", local(record.started, zone));
    let _ = writeln!(second, "Duration:\t{}", shown_length(length(record, now)));
    let _ = writeln!(second, "Status:\t{}", status(record));
    let _ = writeln!(
        second,
        "Build Steps:\t{}/{} ({percent}% cached)",
        record.completed_steps, record.total_steps
    );
    text.push('\n');
    text.push_str(&table::align(&second));
    for (title, map) in
        [("NAMED CONTEXT", &record.contexts), ("BUILD ARG", &record.arguments), ("LABEL", &record.labels)]
    {
        if !map.is_empty() {
            let rows: String = map.iter().map(|(name, value)| format!("{name}\t{value}\n")).collect();
            text.push('\n');
            text.push_str(&table::align(&format!("{title}\tVALUE\n{rows}")));
        }
    }
    if let Some(error) = &record.error {
        let _ = write!(text, "\nError: {error}\n");
        if !record.excerpt.is_empty() {
            let _ = write!(text, "\n{}", record.excerpt);
        }
    }
    text
}

/// `2025-02-07 11:56:24` where this user is.
fn local(nanoseconds: i64, zone: &TimeZone) -> String {
    let time = jiff::Timestamp::from_nanosecond(nanoseconds.into());
    time.map_or_else(
        |_| String::new(),
        |time| time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_shown_for_people_and_for_programs() {
        let record = BuildRecord {
            id: "abc".to_owned(),
            name: "app".to_owned(),
            dockerfile: "Dockerfile".to_owned(),
            arguments: [("A".to_owned(), "1".to_owned())].into(),
            started: 0,
            completed: Some(2_000_000_000),
            total_steps: 4,
            completed_steps: 3,
            cached_steps: 1,
            error: Some("it broke".to_owned()),
            excerpt: "Dockerfile:2\n".to_owned(),
            ..BuildRecord::default()
        };
        let shown = pretty(&record, 0, &TimeZone::UTC);
        for part in [
            "Name:       app\n",
            "Started:     1970-01-01 00:00:00\n",
            "Duration:    2.0s\n",
            "Build Steps: 3/4 (25% cached)\n",
            "BUILD ARG VALUE\nA         1\n",
            "Error: it broke\n\nDockerfile:2\n",
        ] {
            let part: String = part.split_whitespace().collect();
            assert!(shown.split_whitespace().collect::<String>().contains(&part), "{shown}");
        }
        let document = document(&record, 0);
        assert_eq!(document["Error"]["Message"], "it broke");
        assert_eq!(document["BuildArgs"][0]["Value"], "1");
    }
}

//! `system events`: what happened and happens, line by line.

use crate::args::{Matches, filter, text};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::document::{Form, to_value};
use crate::output::time::{local_nanoseconds, parse_instant};
use crate::output::ui::escape_control;
use crate::report::{Failure, Outcome, SUCCESS};
use jiff::tz::TimeZone;
use mica_api::types::event::{Event, EventsOptions};
use mica_model::Timestamp;
use serde_json::{Value, json};
use std::time::SystemTime;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["system events", "events"],
    summary: "Get real time events from the engine",
    operands: Operands::NONE,
    flags: || {
        vec![
            filter("Filter output based on conditions provided"),
            text(
                "format",
                "string",
                "Format output using a custom template:\n\
                 'json':             Print in JSON format\n\
                 'TEMPLATE':         Print output using the given Go template",
            ),
            text("since", "string", "Show all events created since timestamp"),
            text("until", "string", "Stream events until this timestamp"),
        ]
    },
    planned: &[],
    execute,
    examples: &[
        ("Follow what containers do", "events --filter type=container"),
        ("What happened in the last hour", "events --since 1h --until 0s"),
    ],
    visibility: Visibility::Plain,
};

fn options(matches: &Matches, now: Timestamp, zone: &TimeZone) -> Result<EventsOptions, Failure> {
    let instant = |flag| match matches.text(flag).filter(|text| !text.is_empty()) {
        None => Ok(None),
        // A bound of zero is docker's "none": all of the past, and without end.
        Some(text) if text == "0" && flag == "until" => Ok(Some(now)),
        Some(text) => {
            parse_instant(&text, now, zone).map(Some).map_err(|error| Failure::refused(error.to_string()))
        }
    };
    Ok(EventsOptions { since: instant("since")?, until: instant("until")?, filters: matches.filters() })
}

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let zone = context.config.zone();
    let options = options(matches, SystemTime::now().into(), &zone)?;
    let form = Form::parse_unless_empty(&matches.text_or_empty("format"))?;
    let mut failure = None;
    context.engine()?.events(&options, &mut |event| {
        let shown = show(&event, form.as_ref(), &zone).and_then(|line| context.print_line(&line));
        failure = shown.err();
        failure.is_none()
    })?;
    failure.map_or(Ok(SUCCESS), Err)
}

fn show(event: &Event, form: Option<&Form>, zone: &TimeZone) -> Result<String, Failure> {
    match form {
        None => Ok(line(event, zone)),
        Some(form @ Form::Template(_)) => form.show(&fields(event)),
        Some(form) => form.show(&to_value(event)?),
    }
}

/// The line that people read: when, what, to whom, with which attributes.
fn line(event: &Event, zone: &TimeZone) -> String {
    let when = local_nanoseconds(Timestamp::from_nanoseconds(event.time_nano), zone);
    let mut line = format!("{when} {} {} {}", event.kind, event.action, event.actor.id);
    let attributes: Vec<_> =
        event.actor.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if !attributes.is_empty() {
        line.push_str(&format!(" ({})", attributes.join(", ")));
    }
    escape_control(&line).into_owned()
}

/// What a template sees: the names of docker's type, not those of the wire.
fn fields(event: &Event) -> Value {
    json!({
        "Status": event.status,
        "ID": event.id,
        "From": event.from,
        "Type": event.kind,
        "Action": event.action,
        "Actor": event.actor,
        "Scope": event.scope,
        "Time": event.time,
        "TimeNano": event.time_nano,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeEngine;
    use crate::testing::{outcome, run};
    use mica_api::types::event::EventActor;

    fn event() -> Event {
        let attributes = [("image", "bb:1"), ("name", "a\u{1b}b")];
        Event {
            status: "start".to_owned(),
            id: "c1".to_owned(),
            from: "bb:1".to_owned(),
            kind: "container".to_owned(),
            action: "start".to_owned(),
            actor: EventActor {
                id: "c1".to_owned(),
                attributes: attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            },
            scope: "local".to_owned(),
            time: 1,
            time_nano: 1_000_000_020,
        }
    }

    fn engine() -> FakeEngine {
        FakeEngine::default().will("events", Ok(vec![event()]))
    }

    #[test]
    fn a_line_tells_when_what_and_to_whom() {
        let engine = engine();
        assert_eq!(
            run(&engine, &["events", "--since", "0", "--until", "10.5", "-f", "type=container"]),
            outcome(0, "1970-01-01T00:00:01.000000020Z container start c1 (image=bb:1, name=a\\x1bb)\n", "")
        );
        assert_eq!(
            engine.calls(),
            ["events EventsOptions { since: Some(Timestamp(0)), until: Some(Timestamp(10500000000)), \
              filters: Filters { values: {\"type\": {\"container\"}} } }"]
        );
    }

    #[test]
    fn json_has_the_names_of_the_wire_and_templates_those_of_the_type() {
        let (code, output, _) = run(&engine(), &["events", "--format", "json"]);
        assert_eq!(code, 0);
        assert!(
            output.starts_with("{\"status\":\"start\",\"id\":\"c1\",\"from\":\"bb:1\",\"Type\""),
            "{output}"
        );
        assert_eq!(
            run(&engine(), &["events", "--format", "{{.Type}} {{.ID}} {{.Actor.Attributes.image}}"]),
            outcome(0, "container c1 bb:1\n", "")
        );
    }

    #[test]
    fn wrong_instants_are_named() {
        let refused = run(&FakeEngine::default(), &["events", "--since", "xx"]);
        assert_eq!(refused, outcome(1, "", "failed to parse value as time or duration: \"xx\"\n"));
    }
}

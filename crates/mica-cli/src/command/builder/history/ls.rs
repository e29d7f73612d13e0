//! `history ls`: the last builds.

use super::{length, shown_length, status};
use crate::args::{Matches, PlannedFlag, list, switch, text};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::output::format::Layout;
use crate::output::time::ago;
use crate::report::{Failure, Outcome, SUCCESS};
use crate::row::{self, Row};
use mica_api::types::build::BuildRecord;
use mica_model::Timestamp;
use mica_model::duration::parse_duration;
use std::time::SystemTime;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["buildx history ls", "builder history ls"],
    summary: "List build records",
    operands: Operands::NONE,
    flags: || {
        vec![
            list("filter", "stringArray", "Provide filter values (e.g., \"status=error\")"),
            text("format", "string", "Format the output (default \"table\")"),
            switch("no-trunc", "Don't truncate output"),
        ]
    },
    planned: &[PlannedFlag::switch("local", None, "contexts from git")],
    execute,
    examples: &[
        ("See what was built", "builder history ls"),
        (
            "Builds that failed, or took long",
            "builder history ls --filter status=error --filter 'duration>30s'",
        ),
    ],
    visibility: Visibility::Plain,
};

const LAYOUT: Layout = Layout {
    table: "table {{.Ref}}\t{{.Name}}\t{{.Status}}\t{{.CreatedAt}}\t{{.Duration}}",
    quiet: "{{.Ref}}",
    headings: &[
        ("Ref", "BUILD ID"),
        ("Name", "NAME"),
        ("Status", "STATUS"),
        ("CreatedAt", "CREATED AT"),
        ("Duration", "DURATION"),
    ],
};

/// Columns for a name.
const NAME_WIDTH: usize = 36;

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let filters =
        matches.list("filter").iter().map(|typed| Filter::parse(typed)).collect::<Result<Vec<_>, _>>()?;
    let typed = matches.text_or_empty("format");
    let now = Timestamp::from(SystemTime::now()).nanoseconds();
    let mut records = context.engine()?.build_history()?;
    records.retain(|record| filters.iter().all(|filter| filter.takes(record, now)));
    if typed == "json" {
        for record in &records {
            context.print_line(&document(record).to_string())?;
        }
        return Ok(SUCCESS);
    }
    let format = row::format(&typed, &LAYOUT, false)?;
    let is_short = !matches.on("no-trunc");
    let rows: Vec<Row> = records.iter().map(|record| row_of(record, now, is_short)).collect();
    context.print(&row::show(&format, &rows)?)?;
    Ok(SUCCESS)
}

fn row_of(record: &BuildRecord, now: i64, is_short: bool) -> Row {
    let name = match is_short {
        true => crate::command::image::ellipsis(&record.name, NAME_WIDTH),
        false => record.name.clone(),
    };
    let warnings = match record.warnings {
        0 => String::new(),
        1 => " (1 warning)".to_owned(),
        count => format!(" ({count} warnings)"),
    };
    let created = Timestamp::from_nanoseconds(record.started);
    Row::new(
        "*history.lsContext",
        [
            ("CreatedAt", ago(created, Timestamp::from_nanoseconds(now))),
            ("Duration", shown_length(length(record, now))),
            ("Name", name),
            ("Ref", record.id.clone()),
            ("Status", format!("{}{warnings}", status(record))),
        ],
    )
}

fn document(record: &BuildRecord) -> serde_json::Value {
    let instant = |nanoseconds: i64| Timestamp::from_nanoseconds(nanoseconds).to_string();
    serde_json::json!({
        "ref": record.id,
        "name": record.name,
        "status": status(record),
        "created_at": instant(record.started),
        "completed_at": record.completed.map(instant),
        "total_steps": record.total_steps,
        "completed_steps": record.completed_steps,
        "cached_steps": record.cached_steps,
    })
}

/// One of `--filter`.
#[derive(Debug)]
struct Filter {
    field: Field,
    comparison: Comparison,
}

#[derive(Debug)]
enum Field {
    Text(fn(&BuildRecord) -> String, String),
    /// Nanoseconds of a record, and those to compare with.
    Number(fn(&BuildRecord, i64) -> Option<i64>, i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// As they are typed; those that begin with another one come before it.
const COMPARISONS: &[(&str, Comparison)] = &[
    ("!=", Comparison::Unequal),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
    ("=", Comparison::Equal),
];

impl Filter {
    fn parse(typed: &str) -> Result<Self, Failure> {
        let wrong = || Failure::refused(format!("invalid filter {typed:?}, expected key=value"));
        let end = typed.find(['!', '<', '>', '=']).ok_or_else(wrong)?;
        let (name, rest) = typed.split_at(end);
        let (symbol, comparison) =
            COMPARISONS.iter().find(|(symbol, _)| rest.starts_with(symbol)).ok_or_else(wrong)?;
        let value = &rest[symbol.len()..];
        let is_equality = matches!(comparison, Comparison::Equal | Comparison::Unequal);
        let field = match name {
            "ref" => Field::Text(|record| record.id.clone(), value.to_owned()),
            "repository" => Field::Text(|record| record.context.clone(), value.to_owned()),
            "status" => Field::Text(|record| status(record).to_lowercase(), value.to_lowercase()),
            "startedAt" => Field::Number(|record, _| Some(record.started), instant(value)?),
            "completedAt" => Field::Number(|record, _| record.completed, instant(value)?),
            "duration" => Field::Number(|record, now| Some(length(record, now)), nanoseconds(value)?),
            other => return Err(Failure::refused(format!("unknown filter {other:?}"))),
        };
        if matches!(field, Field::Text(..)) != is_equality {
            return Err(Failure::refused(format!("filter {name} cannot be compared with {symbol}")));
        }
        Ok(Self { field, comparison: *comparison })
    }

    fn takes(&self, record: &BuildRecord, now: i64) -> bool {
        let order = match &self.field {
            Field::Text(read, wanted) => read(record).cmp(wanted),
            Field::Number(read, wanted) => match read(record, now) {
                Some(value) => value.cmp(wanted),
                None => return false,
            },
        };
        match self.comparison {
            Comparison::Equal => order.is_eq(),
            Comparison::Unequal => order.is_ne(),
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// A time, or how long ago it was.
fn instant(value: &str) -> Result<i64, Failure> {
    if let Ok(ago) = nanoseconds(value) {
        return Ok(Timestamp::from(SystemTime::now()).nanoseconds() - ago);
    }
    let wrong = || Failure::refused(format!("invalid time {value:?}"));
    let time: jiff::Timestamp = value.parse().map_err(|_| wrong())?;
    i64::try_from(time.as_nanosecond()).map_err(|_| wrong())
}

/// `1h30m`, `1.5s`, `200ms`.
fn nanoseconds(value: &str) -> Result<i64, Failure> {
    parse_duration(value).map_err(|_| Failure::refused(format!("invalid duration {value:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mica_api::types::build::BuildStatus;

    #[test]
    fn filters_compare() {
        let record = BuildRecord {
            id: "abc".to_owned(),
            status: BuildStatus::Failed,
            started: 1_000_000_000,
            completed: Some(3_500_000_000),
            ..BuildRecord::default()
        };
        let takes = |typed: &str| Filter::parse(typed).unwrap().takes(&record, 0);
        assert!(takes("status=error") && takes("status!=completed") && !takes("status=running"));
        assert!(
            takes("ref=abc")
                && takes("duration>2s")
                && !takes("duration>2500ms")
                && takes("duration>=2500ms")
        );
        assert!(takes("startedAt<1h") && takes("completedAt>1970-01-01T00:00:03Z"));
        for typed in
            ["status", "status>x", "duration=3s", "nothing=1", "duration>soon", "startedAt<yesterday"]
        {
            assert!(Filter::parse(typed).is_err(), "{typed}");
        }
    }
}

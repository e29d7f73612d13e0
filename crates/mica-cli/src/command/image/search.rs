//! `search`: repositories of a registry by a word.

use crate::args::{Matches, filter, format_of_rows, switch, text};
use crate::command::image::ellipsis;
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::output::format::Layout;
use crate::report::{Failure, Outcome, SUCCESS};
use crate::row::{self, Row};
use mica_api::types::image::{SearchRequest, SearchResult};

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["search"],
    summary: "Search a registry for images",
    operands: Operands::exactly(1, &["TERM"]),
    flags: || {
        vec![
            filter("Filter output based on conditions provided"),
            format_of_rows(),
            text("limit", "int", "Max number of search results"),
            switch("no-trunc", "Don't truncate output"),
        ]
    },
    planned: &[],
    execute,
    examples: &[
        ("In the hub, those with ten stars and more", "search --filter stars=10 busybox"),
        ("In a registry of your own", "search registry.example:5000/team"),
    ],
    visibility: Visibility::Plain,
};

const LAYOUT: Layout = Layout {
    table: "table {{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}",
    quiet: "{{.Name}}",
    headings: &[
        ("Name", "NAME"),
        ("Description", "DESCRIPTION"),
        ("StarCount", "STARS"),
        ("IsOfficial", "OFFICIAL"),
        ("IsAutomated", "AUTOMATED"),
    ],
};

/// Columns for what an owner says.
const DESCRIPTION_WIDTH: usize = 45;

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let format = row::format(&matches.text_or_empty("format"), &LAYOUT, false)?;
    let keyring = context.keyring();
    let request = SearchRequest {
        term: matches.operand(0).unwrap_or_default(),
        limit: limit(matches)?,
        filters: matches.filters(),
        access: context.registry_access(&keyring),
    };
    let mut results = context.engine()?.image_search(&request)?;
    results.sort_by_key(|result| std::cmp::Reverse(result.star_count));
    let is_truncated = !matches.on("no-trunc");
    let rows: Vec<Row> = results.iter().map(|result| search_row(result, is_truncated)).collect();
    context.print(&row::show(&format, &rows)?)?;
    Ok(SUCCESS)
}

fn limit(matches: &Matches) -> Result<i64, Failure> {
    let typed = matches.text_or_empty("limit");
    if typed.is_empty() {
        return Ok(0);
    }
    let reason = format!("strconv.ParseInt: parsing {typed:?}: invalid syntax");
    typed.parse().map_err(|_| Failure::flag_value(&typed, "--limit", &reason))
}

fn search_row(result: &SearchResult, is_truncated: bool) -> Row {
    let description = result.description.replace(['\n', '\r'], " ");
    let mark = if result.is_official { "[OK]" } else { "" };
    Row::new(
        "*formatter.searchContext",
        [
            (
                "Description",
                if is_truncated { ellipsis(&description, DESCRIPTION_WIDTH) } else { description },
            ),
            ("IsAutomated", String::new()),
            ("IsOfficial", mark.to_owned()),
            ("Name", result.name.clone()),
            ("StarCount", result.star_count.to_string()),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_one_line_of_bounded_width() {
        let result = SearchResult {
            name: "busybox".to_owned(),
            description: format!("first\nsecond {}", "x".repeat(100)),
            star_count: 7,
            is_official: true,
        };
        let format = row::format("", &LAYOUT, false).unwrap();
        let text = row::show(&format, &[search_row(&result, true)]).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.starts_with("NAME") && text.contains("first second") && text.contains("[OK]"), "{text}");
        assert!(
            text.contains('…') && !row::show(&format, &[search_row(&result, false)]).unwrap().contains('…')
        );
    }
}

//! `--format` of listings: a table, a table of chosen columns, JSON lines, or any template; and
//! `--quiet`.

use super::table;
use super::template::{Missing, Mode, Object, Template, TemplateError, Value};
use super::ui::escape_control;
use serde_json::Value as Json;

/// What a listing shows when nobody chooses, and what its columns are called.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// The default table, such as `table {{.ID}}\t{{.Names}}`.
    pub table: &'static str,
    /// The template of `--quiet`.
    pub quiet: &'static str,
    /// The heading of each field.
    pub headings: &'static [(&'static str, &'static str)],
}

/// Whether only ids are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// What the format says.
    Full,
    /// What [`Layout::quiet`] says, whatever the format.
    Quiet,
}

/// A format that has been understood.
#[derive(Debug)]
pub struct Format {
    template: Template,
    is_table: bool,
    headings: &'static [(&'static str, &'static str)],
}

impl Format {
    /// Understands the argument of `--format`: empty or `table` for the default table, `table …`
    /// for chosen columns, `json` for an object per line, else a template.
    ///
    /// # Errors
    /// When it is not a template.
    pub fn parse(text: &str, layout: &Layout, detail: Detail) -> Result<Self, TemplateError> {
        let chosen = match (detail, text) {
            (Detail::Quiet, _) => layout.quiet,
            (Detail::Full, "" | "table") => layout.table,
            (Detail::Full, "json") => "{{json .}}",
            (Detail::Full, text) => text,
        };
        // docker takes whatever begins with the word for a table.
        let columns = chosen.strip_prefix("table");
        let source = columns.unwrap_or(chosen).trim_matches(' ').replace("\\t", "\t").replace("\\n", "\n");
        Ok(Self {
            template: Template::parse(&source)?,
            is_table: columns.is_some(),
            headings: layout.headings,
        })
    }

    /// All of a listing, each row on a line, ready to print.
    ///
    /// # Errors
    /// When the template names what rows do not have.
    pub fn render(&self, rows: &[&dyn Object]) -> Result<String, TemplateError> {
        let mut text = String::new();
        for row in rows {
            text.push_str(&self.row(*row)?);
        }
        if !self.is_table {
            return Ok(text);
        }
        Ok(table::align(&format!("{}{text}", self.heading()?)))
    }

    /// Whether there is a heading, and columns are to be aligned with [`table::align`].
    pub const fn is_table(&self) -> bool {
        self.is_table
    }

    /// The heading of a table with its line end, not aligned.
    ///
    /// # Errors
    /// When the template cannot be executed.
    pub fn heading(&self) -> Result<String, TemplateError> {
        let headings = Headings(self.headings);
        let line = self.template.execute(&Value::Object(&headings), Mode::Heading)?;
        Ok(format!("{line}\n"))
    }

    /// One row with its line end, not aligned; for listings that never end.
    ///
    /// # Errors
    /// When the template names what the row does not have.
    pub fn row(&self, row: &dyn Object) -> Result<String, TemplateError> {
        let escaped = Escaped(row);
        let line = self.template.execute(&Value::Object(&escaped), Mode::Data(Missing::NoValue))?;
        Ok(format!("{line}\n"))
    }
}

/// The names of columns in place of data.
struct Headings(&'static [(&'static str, &'static str)]);

impl Object for Headings {
    fn type_name(&self) -> &str {
        "formatter.SubHeaderContext"
    }

    fn field(&self, name: &str) -> Option<Json> {
        let heading = self.0.iter().find(|(field, _)| *field == name);
        Some(heading.map_or(Json::Null, |(_, heading)| Json::from(*heading)))
    }

    fn method(&self, _name: &str, argument: &str) -> Option<Json> {
        // A label's heading is the last part of its name.
        let last = argument.rsplit('.').next().unwrap_or(argument);
        Some(last.replace(['-', '_'], " ").into())
    }

    fn all(&self) -> Json {
        self.0.iter().map(|(field, heading)| ((*field).to_owned(), Json::from(*heading))).collect()
    }
}

/// A row whose texts cannot drive the reader's terminal. JSON escapes by itself.
struct Escaped<'a>(&'a dyn Object);

impl Object for Escaped<'_> {
    fn type_name(&self) -> &str {
        self.0.type_name()
    }

    fn field(&self, name: &str) -> Option<Json> {
        self.0.field(name).map(escaped)
    }

    fn method(&self, name: &str, argument: &str) -> Option<Json> {
        self.0.method(name, argument).map(escaped)
    }

    fn all(&self) -> Json {
        self.0.all()
    }
}

fn escaped(json: Json) -> Json {
    match json {
        Json::String(text) => Json::String(escape_control(&text).into_owned()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout {
        table: "table {{.Name}}\t{{.Description}}\t{{.Current}}",
        quiet: "{{.Name}}",
        headings: &[("Name", "NAME"), ("Description", "DESCRIPTION"), ("Endpoint", "DOCKER ENDPOINT")],
    };

    struct Named(&'static str);

    impl Object for Named {
        fn type_name(&self) -> &str {
            "*formatter.clientContextContext"
        }

        fn field(&self, name: &str) -> Option<Json> {
            match name {
                "Name" => Some(self.0.into()),
                "Description" => Some("Current configuration".into()),
                "Current" => Some(true.into()),
                _ => None,
            }
        }

        fn method(&self, name: &str, argument: &str) -> Option<Json> {
            (name == "Label").then(|| format!("value of {argument}").into())
        }

        fn all(&self) -> Json {
            serde_json::json!({"Current": true, "Name": self.0})
        }
    }

    fn render(format: &str, detail: Detail) -> String {
        let format = Format::parse(format, &LAYOUT, detail);
        let rows: [&dyn Object; 2] = [&Named("default"), &Named("x")];
        format.and_then(|format| format.render(&rows)).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn formats_as_docker_has_them() {
        for (format, expected) in [
            (
                "",
                "NAME      DESCRIPTION             <no value>\ndefault   Current configuration   true\nx         Current configuration   true\n",
            ),
            ("{{.Name}}\\t{{.Current}}", "default\ttrue\nx\ttrue\n"),
            ("json", "{\"Current\":true,\"Name\":\"default\"}\n{\"Current\":true,\"Name\":\"x\"}\n"),
            (
                "table {{lower .Name}} {{pad .Name 2 2}} {{len .Name}}",
                "NAME NAME 4\ndefault   default   7\nx   x   1\n",
            ),
            (
                "table {{.Label \"com.my-own_key\"}}",
                "my own key\nvalue of com.my-own_key\nvalue of com.my-own_key\n",
            ),
            ("raw", "raw\nraw\n"),
            ("{{", "template parsing error: template: :1: unclosed action"),
            (
                "{{.Foo}}",
                "template parsing error: template: :1:2: executing \"\" at <.Foo>: \
                 can't evaluate field Foo in type *formatter.clientContextContext",
            ),
        ] {
            assert_eq!(render(format, Detail::Full), expected, "{format}");
        }
        assert_eq!(render("", Detail::Full), render("table", Detail::Full));
        assert_eq!(render("json", Detail::Quiet), "default\nx\n");
    }

    #[test]
    fn the_heading_stands_alone_without_rows() {
        let format = Format::parse("", &LAYOUT, Detail::Full).unwrap();
        assert_eq!(format.render(&[]).unwrap(), "NAME      DESCRIPTION   <no value>\n");
    }

    #[test]
    fn hostile_names_are_shown_not_obeyed() {
        let format = Format::parse("table {{.Name}}\t{{.Current}}", &LAYOUT, Detail::Full).unwrap();
        let text = format.render(&[&Named("a\u{1b}]0;x\u{7}\tb\n")]).unwrap();
        assert_eq!(text, "NAME                 <no value>\na\\x1b]0;x\\x07\\tb\\n   true\n");
    }
}

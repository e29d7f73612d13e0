//! Docker's command line, as written down in `docs/parity/*.tsv`.

use crate::failure::Failure;
use std::collections::BTreeMap;
use std::path::Path;

/// A command of docker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    /// Its full name without `docker`, such as `container run`.
    pub name: String,
    /// Its other names.
    pub aliases: Vec<String>,
    /// Whether it only holds other commands.
    pub is_group: bool,
    /// Its flags.
    pub flags: Vec<Flag>,
}

/// A flag of docker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flag {
    /// Its long name without dashes.
    pub name: String,
    /// Its letter, or nothing.
    pub short: String,
    /// Docker's word for what it takes; `bool` for a switch.
    pub kind: String,
    /// Whether docker's own help leaves it out.
    pub is_hidden: bool,
}

/// What docker has, and what of that is out of scope.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The commands in order of name; the one without a name stands for docker itself.
    pub commands: Vec<Command>,
    /// What only swarm or Windows knows: kind and name.
    pub out_of_scope: Vec<(String, String)>,
    /// How ours differs from docker's: by command and flag (empty for the command itself).
    pub differences: BTreeMap<(String, String), String>,
}

impl Facts {
    /// Reads all tables of a directory.
    pub(super) fn read(directory: &Path) -> Result<Self, Failure> {
        let mut commands: BTreeMap<String, Command> = BTreeMap::new();
        commands.insert(String::new(), command("", &["", "", ""]));
        for row in rows(&directory.join("commands.tsv"))? {
            let cells: Vec<&str> = row.iter().map(String::as_str).collect();
            commands.insert(row[0].clone(), command(cells[0], &cells[1..]));
        }
        for row in rows(&directory.join("flags.tsv"))? {
            let owner = commands.get_mut(&row[0]).ok_or_else(|| Failure::Document {
                document: "docs/parity/flags.tsv".into(),
                reason: format!("no command is called `{}`", row[0]),
            })?;
            owner.flags.push(Flag {
                name: row[1].clone(),
                short: row[2].clone(),
                kind: row[3].clone(),
                is_hidden: row[6] != "shown",
            });
        }
        let out_of_scope = rows(&directory.join("out-of-scope.tsv"))?;
        let differences = rows(&directory.join("differences.tsv"))?;
        Ok(Self {
            commands: commands.into_values().collect(),
            out_of_scope: out_of_scope.into_iter().map(|row| (row[0].clone(), row[1].clone())).collect(),
            differences: differences
                .into_iter()
                .map(|row| ((row[0].clone(), row[1].clone()), row[2].clone()))
                .collect(),
        })
    }
}

fn command(name: &str, rest: &[&str]) -> Command {
    let aliases = rest[1].split(',').filter(|alias| !alias.is_empty()).map(str::to_owned).collect();
    Command { name: name.to_owned(), aliases, is_group: rest[0] == "group", flags: Vec::new() }
}

/// The rows of a table, each as wide as the heading.
pub(super) fn rows(path: &Path) -> Result<Vec<Vec<String>>, Failure> {
    let text = std::fs::read_to_string(path).map_err(Failure::file(path))?;
    let mut lines = text.lines();
    let width = lines.next().unwrap_or_default().split('\t').count();
    let cells = |line: &str| line.split('\t').map(str::to_owned).collect::<Vec<_>>();
    let rows: Vec<_> = lines.map(cells).collect();
    match rows.iter().position(|row| row.len() != width) {
        None => Ok(rows),
        Some(at) => Err(Failure::Document {
            document: path.display().to_string(),
            reason: format!("line {} has {} cells, the heading {width}", at + 2, rows[at].len()),
        }),
    }
}

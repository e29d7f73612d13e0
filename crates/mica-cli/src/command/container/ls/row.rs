//! A container as a row: docker's fields, computed only when a format names them.

use crate::output::template::Object;
use crate::output::time::{ago, local};
use crate::output::units::human_size_short;
use jiff::tz::TimeZone;
use mica_api::types::container::{ContainerSummary, Port};
use mica_model::Timestamp;
use serde_json::{Map, Value};

/// The heading of each field.
pub(crate) const HEADINGS: &[(&str, &str)] = &[
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Labels", "LABELS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Mounts", "MOUNTS"),
    ("Names", "NAMES"),
    ("Networks", "NETWORKS"),
    ("Platform", "PLATFORM"),
    ("Ports", "PORTS"),
    ("RunningFor", "CREATED"),
    ("Size", "SIZE"),
    ("State", "STATE"),
    ("Status", "STATUS"),
];

/// Letters of a command that a table shows.
const COMMAND_LENGTH: usize = 20;

/// Letters of a mount that a table shows.
const MOUNT_LENGTH: usize = 15;

/// Digits of an id that a table shows.
const ID_LENGTH: usize = 12;

/// How rows look.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    /// Whether ids, commands and mounts are shortened.
    pub(crate) is_truncated: bool,
    /// The present.
    pub(crate) now: Timestamp,
    /// The zone in which dates are shown.
    pub(crate) zone: TimeZone,
}

/// A container as a row.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    container: &'a ContainerSummary,
    look: &'a Look,
}

impl<'a> Row<'a> {
    /// A row of `container`.
    pub(crate) const fn new(container: &'a ContainerSummary, look: &'a Look) -> Self {
        Self { container, look }
    }

    fn text(&self, name: &str) -> Option<String> {
        let container = self.container;
        let created = Timestamp::from_seconds(container.created);
        Some(match name {
            "Command" => quoted(&self.shortened(&container.command, COMMAND_LENGTH)),
            "CreatedAt" => local(created, &self.look.zone),
            "ID" => self.id(),
            "Image" => self.image(),
            "Labels" => {
                let pairs: Vec<_> =
                    container.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
                pairs.join(",")
            }
            "LocalVolumes" => {
                container.mounts.iter().filter(|mount| mount.driver == "local").count().to_string()
            }
            "Mounts" => self.mounts(),
            "Names" => names(&container.names),
            "Networks" => container.networks.join(","),
            // Told only by stores that keep the manifests of images; docker's classic one does not.
            "Platform" => String::new(),
            "Ports" => ports(&container.ports),
            "RunningFor" => ago(created, self.look.now),
            "Size" => size(container),
            "State" => container.state.clone(),
            "Status" => container.status.clone(),
            _ => return None,
        })
    }

    fn id(&self) -> String {
        let id = &self.container.id;
        if self.look.is_truncated { id.get(..ID_LENGTH).unwrap_or(id).to_owned() } else { id.clone() }
    }

    /// An image known by its id alone is shortened like one.
    fn image(&self) -> String {
        let image = &self.container.image;
        if image.is_empty() {
            return "<no image>".to_owned();
        }
        match image.strip_prefix("sha256:") {
            Some(digits) if self.look.is_truncated => digits.get(..ID_LENGTH).unwrap_or(digits).to_owned(),
            _ => image.clone(),
        }
    }

    fn mounts(&self) -> String {
        let mounts = self.container.mounts.iter();
        let named = mounts.map(|mount| if mount.name.is_empty() { &mount.source } else { &mount.name });
        named.map(|name| self.shortened(name, MOUNT_LENGTH)).collect::<Vec<_>>().join(",")
    }

    fn shortened(&self, text: &str, length: usize) -> String {
        if !self.look.is_truncated || text.chars().count() <= length {
            return text.to_owned();
        }
        text.chars().take(length - 1).chain(['…']).collect()
    }
}

impl Object for Row<'_> {
    fn type_name(&self) -> &str {
        "*formatter.ContainerContext"
    }

    fn field(&self, name: &str) -> Option<Value> {
        self.text(name).map(Value::from)
    }

    fn method(&self, name: &str, argument: &str) -> Option<Value> {
        (name == "Label").then(|| self.container.labels.get(argument).cloned().unwrap_or_default().into())
    }

    fn all(&self) -> Value {
        let fields = HEADINGS.iter().filter_map(|(name, _)| Some(((*name).to_owned(), self.field(name)?)));
        Value::Object(fields.collect::<Map<_, _>>())
    }
}

/// Names without the slash of the wire; a name with a further slash is a link, not the container.
fn names(names: &[String]) -> String {
    let names: Vec<_> = names
        .iter()
        .map(|name| name.strip_prefix('/').unwrap_or(name))
        .filter(|name| !name.contains('/'))
        .collect();
    names.join(",")
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn size(container: &ContainerSummary) -> String {
    let own = human_size_short(container.size_rw.unwrap_or(0) as f64);
    match container.size_root_fs {
        Some(whole) if whole > 0 => format!("{own} (virtual {})", human_size_short(whole as f64)),
        _ => own,
    }
}

/// Ports by number; those that follow each other are joined as docker joins them.
fn ports(ports: &[Port]) -> String {
    let mut ports: Vec<&Port> = ports.iter().collect();
    ports.sort_by_key(|port| {
        (port.public_port.is_some(), port.ip.clone(), port.protocol.clone(), port.private_port)
    });
    let mut shown: Vec<String> = Vec::new();
    let mut rest = ports.as_slice();
    while let Some((first, after)) = rest.split_first() {
        let follows = |index: usize, port: &Port| {
            let step = u16::try_from(index + 1).unwrap_or(u16::MAX);
            let expected = |port: Option<u16>| port.map(|port| port.saturating_add(step));
            (port.ip.as_ref(), &port.protocol) == (first.ip.as_ref(), &first.protocol)
                && Some(port.private_port) == expected(Some(first.private_port))
                && port.public_port == expected(first.public_port)
        };
        let length = after.iter().enumerate().take_while(|(index, port)| follows(*index, port)).count();
        let last = rest[length];
        shown.push(range(first, last));
        rest = &after[length..];
    }
    shown.join(", ")
}

fn range(first: &Port, last: &Port) -> String {
    let span = |from: u16, to: u16| if from == to { from.to_string() } else { format!("{from}-{to}") };
    let private = format!("{}/{}", span(first.private_port, last.private_port), first.protocol);
    let (Some(from), Some(to)) = (first.public_port, last.public_port) else { return private };
    let address = first.ip.as_deref().unwrap_or_default();
    let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    format!("{address}:{}->{private}", span(from, to))
}

/// Go's quoting, in which a command is shown.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            other => quoted.push_str(&crate::output::ui::escape_control(other.encode_utf8(&mut [0; 4]))),
        }
    }
    quoted.push('"');
    quoted
}

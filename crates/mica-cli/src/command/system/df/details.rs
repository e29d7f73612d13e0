//! `system df -v`: every image and container with what it uses.

use crate::command::image::ls::{RowOptions, first_row};
use crate::command::image::{ellipsis, short_id, size};
use crate::context::Context;
use crate::output::format::Layout;
use crate::output::template::{Missing, Mode, Template, Value as Shown};
use crate::output::time::{ago, local};
use crate::report::{Failure, Outcome, SUCCESS};
use crate::row::{self, Row};
use mica_api::types::container::ContainerSummary;
use mica_api::types::system::DiskUsage;
use mica_model::Timestamp;
use serde_json::{Value, json};
use std::time::SystemTime;

const IMAGES: Layout = Layout {
    table: "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t\
            {{.UniqueSize}}\t{{.Containers}}",
    quiet: "{{.ID}}",
    headings: &[
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("ID", "IMAGE ID"),
        ("CreatedSince", "CREATED"),
        ("Size", "SIZE"),
        ("SharedSize", "SHARED SIZE"),
        ("UniqueSize", "UNIQUE SIZE"),
        ("Containers", "CONTAINERS"),
    ],
};

const CONTAINERS: Layout = Layout {
    table: "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t\
            {{.Status}}\t{{.Names}}",
    quiet: "{{.ID}}",
    headings: &[
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Size", "SIZE"),
        ("RunningFor", "CREATED"),
        ("Status", "STATUS"),
        ("Names", "NAMES"),
    ],
};

/// Columns for the command of a container.
const COMMAND_WIDTH: usize = 20;

const VOLUMES: Layout = Layout {
    table: "table {{.Name}}\t{{.Links}}\t{{.Size}}",
    quiet: "{{.Name}}",
    headings: &[("Name", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE")],
};

/// What there is to show of a kind that does not exist here yet, in docker's words.
const REST: &str = "\nBuild cache usage: 0B\n\n\
                    CACHE ID   CACHE TYPE   SIZE      CREATED   LAST USED   USAGE     SHARED\n";

pub(super) fn execute(format: &str, context: &Context<'_>) -> Outcome {
    let template = match format {
        "" | "table" | "json" => None,
        source => Some(Template::parse(source).map_err(failure)?),
    };
    let usage = context.engine()?.disk_usage()?;
    let options = RowOptions {
        by_digest: false,
        is_truncated: matches!(format, "" | "table"),
        now: SystemTime::now().into(),
        zone: context.config.zone(),
    };
    let text = match template {
        Some(template) => {
            let document = document(&usage, &options);
            let shown =
                template.execute(&Shown::data(&document), Mode::Data(Missing::Error)).map_err(failure)?;
            format!("{shown}\n")
        }
        None if format == "json" => format!("{}\n", document(&usage, &options)),
        None => tables(&usage, &options)?,
    };
    context.print(&text)?;
    Ok(SUCCESS)
}

const fn failure(source: crate::output::template::TemplateError) -> Failure {
    Failure::Listing { source }
}

fn tables(usage: &DiskUsage, options: &RowOptions) -> Result<String, Failure> {
    let images = row::show(&row::format("", &IMAGES, false)?, &image_rows(usage, options))?;
    let containers = row::show(&row::format("", &CONTAINERS, false)?, &container_rows(usage, options))?;
    let volumes = row::show(&row::format("", &VOLUMES, false)?, &volume_rows(usage))?;
    Ok(format!(
        "Images space usage:\n\n{images}\nContainers space usage:\n\n{containers}\n\
         Local Volumes space usage:\n\n{volumes}{REST}"
    ))
}

fn document(usage: &DiskUsage, options: &RowOptions) -> Value {
    let all = |rows: &[Row]| rows.iter().map(crate::output::template::Object::all).collect::<Vec<_>>();
    json!({
        "Images": all(&image_rows(usage, options)),
        "Containers": all(&container_rows(usage, options)),
        "Volumes": all(&volume_rows(usage)),
        "BuildCache": [],
    })
}

fn image_rows(usage: &DiskUsage, options: &RowOptions) -> Vec<Row> {
    usage.images.iter().map(|image| first_row(image, options)).collect()
}

fn container_rows(usage: &DiskUsage, options: &RowOptions) -> Vec<Row> {
    usage.containers.iter().map(|container| container_row(container, options)).collect()
}

fn volume_rows(usage: &DiskUsage) -> Vec<Row> {
    usage.volumes.iter().map(crate::command::volume::ls::row).collect()
}

fn container_row(container: &ContainerSummary, options: &RowOptions) -> Row {
    let created = Timestamp::from_seconds(container.created);
    let names: Vec<_> = container.names.iter().map(|name| name.trim_start_matches('/')).collect();
    let labels: Vec<_> = container.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mounts: Vec<_> = container
        .mounts
        .iter()
        .map(|mount| if mount.name.is_empty() { mount.source.clone() } else { mount.name.clone() })
        .collect();
    let volumes = container.mounts.iter().filter(|mount| mount.driver == "local").count();
    let id = if options.is_truncated { short_id(&container.id) } else { &container.id };
    let command = if options.is_truncated {
        ellipsis(&container.command, COMMAND_WIDTH)
    } else {
        container.command.clone()
    };
    Row::new(
        "*formatter.ContainerContext",
        [
            ("Command", format!("{command:?}")),
            ("CreatedAt", local(created, &options.zone)),
            ("ID", id.to_owned()),
            ("Image", container.image.clone()),
            ("Labels", labels.join(",")),
            ("LocalVolumes", volumes.to_string()),
            ("Mounts", mounts.join(",")),
            ("Names", names.join(",")),
            ("Networks", container.networks.join(",")),
            ("RunningFor", ago(created, options.now)),
            ("Size", size(u64::try_from(container.size_rw.unwrap_or(0)).unwrap_or(0))),
            ("State", container.state.clone()),
            ("Status", container.status.clone()),
        ],
    )
}

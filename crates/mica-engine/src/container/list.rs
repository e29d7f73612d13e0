//! `ps`, `rename` and `container prune`.

use crate::container::health;
use crate::container::record::{Observed, Record};
use crate::container::remove::RemovedVolumes;
use crate::database::Database;
use crate::error::{Error, Result};
use crate::image::record::ImageRecord;
use crate::network::ports::PortFilter;
use crate::{Local, events, lock, volume};
use mica_api::types::container::{
    ContainerSummary, ListOptions, MountPoint, PruneResponse, SummaryHostConfig,
};
use mica_model::{ErrorKind, Filters, Timestamp};
use std::collections::BTreeMap;

/// Filters that `ps` knows. Kinds of isolation there are on Windows only: elsewhere docker takes the filter and all
/// containers pass it.
const LIST_FILTERS: &[&str] = &[
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

const PRUNE_FILTERS: &[&str] = &["label", "label!", "until"];

impl Local {
    /// Lists containers, newest first.
    pub(crate) fn list(&self, options: &ListOptions) -> Result<Vec<ContainerSummary>> {
        let filters = &options.filters;
        filters.validate(LIST_FILTERS).map_err(|error| Error::invalid(error.to_string()))?;
        let sieve = Sieve::new(self, filters)?;
        let all =
            options.all || options.limit > 0 || filters.contains("status") || filters.contains("exited");
        let limit = if options.limit == 0 { usize::MAX } else { options.limit };
        let mut rows = Vec::new();
        let mut mounts = volume::mounts_by_container(&self.database())?;
        let mut images = ImageNames::default();
        for (record, observed) in self.observe_all()? {
            if rows.len() >= limit {
                break;
            }
            let mounts = mounts.remove(record.id.as_str()).unwrap_or_default();
            if (all || observed.is_running())
                && sieve.wants(&record, &observed)
                && sieve.wants_mounts(&mounts)
                && sieve.wants_networks(self, &record)?
                && sieve.wants_health(|| self.health_word(&record, &observed))
            {
                let summary = self.summary(&record, &observed, options.size)?;
                let image = images.shown(&self.database(), &record)?;
                rows.push(ContainerSummary { mounts, image, ..summary });
            }
        }
        Ok(rows)
    }

    /// All containers with what is true of them; what has ended since the last look is recorded,
    /// what a dead monitor left is removed if it was to be.
    pub(crate) fn observe_all(&self) -> Result<Vec<(Record, Observed)>> {
        let mut rows = Vec::new();
        let mut ended = Vec::new();
        for mut record in Record::all(&self.database())? {
            let observed = record.observe(&self.disk.container(&record.id));
            if record.absorb(&observed) {
                ended.push(record.clone());
            }
            rows.push((record, observed));
        }
        if !ended.is_empty() {
            self.record_ends(&ended);
        }
        Ok(rows)
    }

    /// Writes ends down; a failure (a full disk) only means that the next command does it.
    fn record_ends(&self, ended: &[Record]) {
        let written = self.database().write(|transaction| {
            for record in ended {
                record.save_end(transaction)?;
            }
            Ok(())
        });
        if written.is_err() {
            return;
        }
        for record in ended {
            let _ = self.clear_up_after(record);
        }
    }

    /// Ends what a killed monitor left, and removes a `--rm` container that nobody sees to; a
    /// container whose monitor lives is left to that.
    fn clear_up_after(&self, record: &Record) -> Result<()> {
        let disk = self.disk.container(&record.id);
        use mica_runtime::Status::{Restarting, Running};
        if matches!(mica_runtime::status(disk.run()), Ok(Running { .. } | Restarting { .. })) {
            return Ok(());
        }
        let Some(_lock) = lock::try_exclusive(&disk.lock())? else { return Ok(()) };
        let mut now = Record::find(&self.database(), record.id.as_str())?;
        if now.started != record.started {
            return Ok(());
        }
        if now.auto_remove {
            return self.remove_record(&mut now, RemovedVolumes::Unnamed);
        }
        // A monitor that still tidies up removes the cgroups of its run. Without its directory the
        // next one would not wait for it, and lose the new ones.
        if mica_runtime::is_attended(disk.run()) {
            return Ok(());
        }
        self.clean_run_directory(&record.id);
        Ok(())
    }

    fn summary(&self, record: &Record, observed: &Observed, size: bool) -> Result<ContainerSummary> {
        let (size_rw, size_root_fs) = if size { self.sizes(record)? } else { (None, None) };
        Ok(ContainerSummary {
            id: record.id.to_string(),
            names: vec![format!("/{}", record.name)],
            image: record.image.clone(),
            image_id: record.image_id.clone(),
            command: record.command.clone(),
            created: record.created.seconds(),
            ports: self.listed_ports(record)?,
            size_rw,
            size_root_fs,
            labels: record.labels.clone(),
            state: observed.status.to_owned(),
            status: self.status_words(record, observed),
            host_config: SummaryHostConfig { network_mode: record.network_mode.clone() },
            mounts: Vec::new(),
            networks: self.listed_networks(record)?,
        })
    }

    /// The STATUS column.
    fn status_words(&self, record: &Record, observed: &Observed) -> String {
        let words = status_words(observed, now());
        if observed.status != "running" {
            return words;
        }
        match health::of(&self.disk.container(&record.id), observed) {
            Some(health) => words + &health::words(health.status),
            None => words,
        }
    }

    /// How well a container is, in one word.
    fn health_word(&self, record: &Record, observed: &Observed) -> &'static str {
        let health = health::of(&self.disk.container(&record.id), observed);
        health.map_or(health::NONE, |health| health.status.word())
    }

    /// Bytes of the writable layer, and of it with the image below.
    pub(crate) fn sizes(&self, record: &Record) -> Result<(Option<i64>, Option<i64>)> {
        let own = self.written_bytes(record)?;
        let below = match record.image_id.parse() {
            Ok(id) => ImageRecord::by_id(&self.database(), &id)?.map_or(0, |image| image.size),
            Err(_) => 0,
        };
        Ok((i64::try_from(own).ok(), i64::try_from(own.saturating_add(below)).ok()))
    }

    /// Bytes of the writable layer; none for a container that is being removed meanwhile.
    pub(crate) fn written_bytes(&self, record: &Record) -> Result<u64> {
        match mica_snapshot::disk_usage(&self.disk.container(&record.id).upper()) {
            Ok(usage) => Ok(usage.bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives a container another name.
    pub(crate) fn rename(&self, reference: &str, name: &str) -> Result<()> {
        let name = name.strip_prefix('/').unwrap_or(name);
        let parsed: mica_model::name::ContainerName =
            name.parse().map_err(|error: mica_model::name::NameError| Error::invalid(error.to_string()))?;
        let mut record = Record::find(&self.database(), reference)?;
        if record.name == parsed.as_str() {
            return Err(Error::invalid("Renaming a container with the same name as its current name"));
        }
        let old = std::mem::replace(&mut record.name, parsed.as_str().to_owned());
        self.database().write(|transaction| record.save_name(transaction))?;
        if record.observe(&self.disk.container(&record.id)).is_running() {
            self.tell_neighbours_anew(&record)?;
        }
        self.events.append(&events::container(&record, "rename", &[("oldName", format!("/{old}"))]));
        Ok(())
    }

    /// Deletes what does not run.
    pub(crate) fn prune_containers(&self, filters: &Filters) -> Result<PruneResponse> {
        filters.validate(PRUNE_FILTERS).map_err(|error| Error::invalid(error.to_string()))?;
        let until = prune_until(filters)?;
        let mut answer = PruneResponse::default();
        for (record, observed) in self.observe_all()? {
            let old = until.is_none_or(|until| record.created < until);
            if observed.is_running() || !old || !prune_labels(filters, &record.labels) {
                continue;
            }
            let size = self.sizes(&record)?.0.unwrap_or(0);
            match self.remove(record.id.as_str(), mica_api::types::container::RemoveOptions::default()) {
                Ok(()) => {
                    answer.deleted.push(record.id.to_string());
                    answer.space_reclaimed += u64::try_from(size).unwrap_or(0);
                }
                // Started or removed by somebody else meanwhile: theirs now.
                Err(Error::State { .. } | Error::NoSuchContainer { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.tidy_containers();
        self.events.append(&events::pruned("container", answer.space_reclaimed));
        Ok(answer)
    }
}

/// The instant of `until=`, if given: a time stamp or an age such as `24h`.
pub(crate) fn prune_until(filters: &Filters) -> Result<Option<Timestamp>> {
    let Some(text) = filters.values("until").next() else { return Ok(None) };
    crate::instant::parse(text, now())
        .map(Some)
        .ok_or_else(|| Error::invalid(format!("invalid value {text:?} for the filter until")))
}

/// Whether labels satisfy `label=` and `label!=`.
pub(crate) fn prune_labels(filters: &Filters, labels: &BTreeMap<String, String>) -> bool {
    let find = |key: &str| labels.get(key).map(String::as_str);
    filters.match_kv_list("label", find)
        && (!filters.contains("label!") || !filters.match_kv_list("label!", find))
}

fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

/// The filters, resolved once for the whole list.
struct Sieve<'a> {
    filters: &'a Filters,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    /// Ids of images that a listed container must descend from.
    ancestors: Option<Vec<String>>,
    /// Names of the networks it must be on one of.
    networks: Vec<String>,
    /// Ports of which it must have one, published or of its own.
    ports: PortFilter,
}

impl<'a> Sieve<'a> {
    fn new(engine: &Local, filters: &'a Filters) -> Result<Self> {
        let moment = |key: &str| -> Result<Option<Timestamp>> {
            match filters.values(key).next() {
                Some(reference) => Ok(Some(Record::find(&engine.database(), reference)?.created)),
                None => Ok(None),
            }
        };
        let known = ["created", "restarting", "running", "removing", "paused", "exited", "dead"];
        if let Some(wrong) = filters.values("status").find(|status| !known.contains(status)) {
            return Err(Error::invalid(format!("invalid filter 'status={wrong}'")));
        }
        let known = ["none", "starting", "healthy", "unhealthy"];
        if let Some(wrong) = filters.values("health").find(|health| !known.contains(health)) {
            return Err(Error::invalid(format!("invalid filter 'health={wrong}'")));
        }
        filters.boolean("is-task", None).map_err(|error| Error::invalid(error.to_string()))?;
        if let Some(wrong) = filters.values("exited").find(|code| code.parse::<i64>().is_err()) {
            return Err(Error::invalid(format!("invalid filter 'exited={wrong}'")));
        }
        let names: Vec<&str> = filters.values("ancestor").collect();
        let ancestors = (!names.is_empty()).then(|| engine.descendants(&names));
        Ok(Self {
            filters,
            before: moment("before")?,
            since: moment("since")?,
            ancestors: ancestors.transpose()?,
            networks: filters.values("network").map(|wanted| engine.network_name(wanted)).collect(),
            ports: PortFilter::read(filters)?,
        })
    }

    fn wants_networks(&self, engine: &Local, record: &Record) -> Result<bool> {
        let is_on = self.networks.is_empty()
            || engine.listed_networks(record)?.iter().any(|name| self.networks.contains(name));
        Ok(is_on && (self.ports.is_empty() || self.ports.wants(&engine.listed_ports(record)?)))
    }

    /// `volume=`: a name, a path of the host, or a place in the container.
    fn wants_mounts(&self, mounts: &[MountPoint]) -> bool {
        let is_meant = |mount: &MountPoint, wanted: &str| {
            let source = if mount.name.is_empty() { &mount.source } else { &mount.name };
            source == wanted || mount.destination == wanted
        };
        !self.filters.contains("volume")
            || self.filters.any_match("volume", |wanted| mounts.iter().any(|mount| is_meant(mount, wanted)))
    }

    /// `health=`, which is asked only if somebody wants to know.
    fn wants_health(&self, word: impl FnOnce() -> &'static str) -> bool {
        !self.filters.contains("health") || self.filters.exact_match("health", word())
    }

    /// Whether a container that belongs to no service may be listed: none does.
    fn may_be_plain(&self) -> bool {
        self.filters.boolean("is-task", Some(false)).is_ok_and(|is_task| is_task != Some(true))
    }

    fn wants(&self, record: &Record, observed: &Observed) -> bool {
        let filters = self.filters;
        let exited = !filters.contains("exited")
            || observed.status == "exited"
                && filters.any_match("exited", |code| code.parse() == Ok(observed.exit_code));
        exited
            && filters.exact_match("status", observed.status)
            && (filters.pattern_match("name", &record.name)
                || filters.pattern_match("name", &format!("/{}", record.name)))
            && filters.pattern_match("id", record.id.as_str())
            && filters.match_kv_list("label", |key| record.labels.get(key).map(String::as_str))
            && self.may_be_plain()
            && self.before.is_none_or(|before| record.created < before)
            && self.since.is_none_or(|since| record.created > since)
            && self.ancestors.as_ref().is_none_or(|ids| ids.contains(&record.image_id))
    }
}

/// What the images of containers are called now.
#[derive(Default)]
struct ImageNames {
    /// The ids of names that were looked up.
    known: BTreeMap<String, Option<String>>,
}

impl ImageNames {
    /// The name that a container's image was asked for by, or the id if that means another image by now, or none.
    fn shown(&mut self, database: &Database, record: &Record) -> Result<String> {
        if record.image == record.image_id {
            return Ok(record.image.clone());
        }
        if !self.known.contains_key(&record.image) {
            let id = match ImageRecord::find(database, &record.image) {
                Ok(image) => Some(image.id.to_string()),
                // Gone, or the beginning of several ids by now.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidArgument) => {
                    None
                }
                Err(error) => return Err(error),
            };
            self.known.insert(record.image.clone(), id);
        }
        let is_so = self.known.get(&record.image).and_then(Option::as_ref) == Some(&record.image_id);
        Ok(if is_so { record.image.clone() } else { record.image_id.clone() })
    }
}

/// The STATUS column without a word about health.
pub(crate) fn status_words(observed: &Observed, now: Timestamp) -> String {
    let ago = |then: Timestamp| {
        let nanoseconds = u64::try_from(now.nanoseconds() - then.nanoseconds()).unwrap_or(0);
        mica_model::duration::human_duration(std::time::Duration::from_nanos(nanoseconds))
    };
    match observed.status {
        "running" => format!("Up {}", ago(observed.started)),
        "paused" => format!("Up {} (Paused)", ago(observed.started)),
        "exited" => format!("Exited ({}) {} ago", observed.exit_code, ago(observed.finished)),
        "restarting" => format!("Restarting ({}) {} ago", observed.exit_code, ago(observed.finished)),
        "removing" => "Removal In Progress".to_owned(),
        _ => "Created".to_owned(),
    }
}

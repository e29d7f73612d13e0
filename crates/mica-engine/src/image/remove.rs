//! `rmi`: takes a name away, and deletes the image with its last one. Rules and words are docker's.
//!
//! What is checked before a deletion is read once to decide and once more inside the transaction
//! that deletes: if another process has changed it meanwhile, the decision is made anew.

use crate::container::record::Record;
use crate::database::query;
use crate::error::{Error, Result};
use crate::image::record::ImageRecord;
use crate::image::variant;
use crate::{Local, events};
use mica_api::types::image::{ImageDelete, ImageRemoveOptions};
use mica_model::{Digest, Reference, Timestamp};
use rusqlite::Connection;

impl Local {
    /// Removes a name or an image.
    pub(crate) fn remove_image(
        &self,
        reference: &str,
        options: ImageRemoveOptions,
    ) -> Result<Vec<ImageDelete>> {
        let removed = self.remove_unswept(reference, options)?;
        self.tidy_images();
        Ok(removed)
    }

    /// Removes as [`Local::remove_image`] does, leaving the layers to a later [`Local::tidy_images`].
    pub(crate) fn remove_unswept(
        &self,
        reference: &str,
        options: ImageRemoveOptions,
    ) -> Result<Vec<ImageDelete>> {
        loop {
            let (image, name) = ImageRecord::find_with_name(&self.database(), reference)?;
            let links = self.database().read(|connection| Links::read(connection, &image.id))?;
            let users = self.users(&links)?;
            let plan = plan(
                &image.id,
                name.as_deref().map(|name| (name, reference)),
                &Facts { links: &links, users: &users },
                options.force,
            )?;
            let Some(mut removed) = self.carry_out(&image, &links, &plan)? else { continue };
            if plan == Plan::Delete && !options.no_prune {
                self.remove_parents(image.parent, &mut removed)?;
            }
            return Ok(removed);
        }
    }

    /// Deletes the images of some of the platforms that a name stands for. One that stands for a single image goes with
    /// it.
    pub(crate) fn remove_platforms(
        &self,
        reference: &str,
        platforms: &[String],
        options: ImageRemoveOptions,
    ) -> Result<Vec<ImageDelete>> {
        let mut removed = Vec::new();
        for platform in platforms {
            let image = self.image_for(reference, platform)?;
            let (own, name) = ImageRecord::find_with_name(&self.database(), reference)?;
            let mut others = match &name {
                Some(name) => variant::of_name(&self.database(), name)?,
                None => Vec::new(),
            };
            others.retain(|other| *other != image.id);
            let (Some(name), [first, ..]) = (&name, &others[..]) else {
                removed.extend(self.remove_unswept(reference, options)?);
                continue;
            };
            let remaining = if others.len() > 1 { &others[..] } else { &[] };
            self.database().write(|transaction| {
                if own.id == image.id {
                    let now = Timestamp::from(std::time::SystemTime::now());
                    ImageRecord::give_name(transaction, name, first, now)?;
                }
                variant::give(transaction, name, remaining)
            })?;
            self.remove_variants(&[image.id], &mut removed)?;
        }
        self.tidy_images();
        Ok(removed)
    }

    /// Does what was decided; `None` if the facts have changed since.
    fn carry_out(&self, image: &ImageRecord, links: &Links, plan: &Plan) -> Result<Option<Vec<ImageDelete>>> {
        let names: &[String] = match plan {
            Plan::Untag(names) => names,
            Plan::Delete => &links.names,
        };
        let mut others = Vec::new();
        for name in names {
            others.extend(variant::of_name(&self.database(), name)?);
        }
        let done = self.database().write(|transaction| {
            if Links::read(transaction, &image.id).map_err(query)? != *links {
                return Ok(false);
            }
            for name in names {
                ImageRecord::take_name(transaction, name)?;
            }
            if *plan == Plan::Delete {
                image.delete(transaction, image.parent)?;
            }
            Ok(true)
        })?;
        if !done {
            return Ok(None);
        }
        let id = image.id.to_string();
        let mut removed = Vec::new();
        for name in names {
            let familiar =
                Reference::parse_normalized(name).map_or_else(|_| name.clone(), |name| name.familiar());
            self.events.append(&events::image("untag", &id, &familiar));
            removed.push(ImageDelete::Untagged(familiar));
        }
        if *plan == Plan::Delete {
            self.events.append(&events::image("delete", &id, &id));
            removed.push(ImageDelete::Deleted(id));
            let unused = self.unused_layers(&image.layers)?;
            removed.extend(unused.iter().rev().map(|layer| ImageDelete::Deleted(layer.diff_id.to_string())));
        }
        others.retain(|other| *other != image.id);
        self.remove_variants(&others, &mut removed)?;
        Ok(Some(removed))
    }

    /// Deletes the images of other platforms that belonged to names which are gone, if nothing else has them.
    fn remove_variants(&self, images: &[Digest], removed: &mut Vec<ImageDelete>) -> Result<()> {
        let needed = variant::all(&self.database())?;
        for id in images.iter().filter(|id| !needed.contains(*id)) {
            self.remove_parents(Some(*id), removed)?;
        }
        Ok(())
    }

    /// Deletes ancestors that have no name, no other child and no container.
    fn remove_parents(&self, mut next: Option<Digest>, removed: &mut Vec<ImageDelete>) -> Result<()> {
        while let Some(id) = next {
            let Some(image) = ImageRecord::by_id(&self.database(), &id)? else { return Ok(()) };
            let links = self.database().read(|connection| Links::read(connection, &id))?;
            // One that belongs to a name for its platform is needed as one with a name is.
            if links != Links::default() || variant::all(&self.database())?.contains(&id) {
                return Ok(());
            }
            let Some(more) = self.carry_out(&image, &links, &Plan::Delete)? else { return Ok(()) };
            removed.extend(more);
            next = image.parent;
        }
        Ok(())
    }

    /// One container of each kind that uses the image.
    fn users(&self, links: &Links) -> Result<Users> {
        let mut users = Users::default();
        for id in &links.containers {
            let record = match Record::find(&self.database(), id) {
                Ok(record) => record,
                // Removed since; the transaction will notice.
                Err(Error::NoSuchContainer { .. }) => continue,
                Err(error) => return Err(error),
            };
            let short = Some(record.id.short().to_owned());
            if record.observe(&self.disk.container(&record.id)).is_running() {
                users.running = users.running.or(short);
            } else {
                users.stopped = users.stopped.or(short);
            }
        }
        Ok(users)
    }
}

/// What refers to an image.
#[derive(Debug, Default, PartialEq, Eq)]
struct Links {
    /// Canonical.
    names: Vec<String>,
    children: Vec<String>,
    containers: Vec<String>,
}

impl Links {
    fn read(connection: &Connection, id: &Digest) -> rusqlite::Result<Self> {
        let column = |sql: &str| -> rusqlite::Result<Vec<String>> {
            connection.prepare(sql)?.query_map([id.to_string()], |row| row.get(0))?.collect()
        };
        Ok(Self {
            names: column("SELECT reference FROM name WHERE image_id = ?1 ORDER BY reference")?,
            children: column("SELECT id FROM image WHERE parent = ?1 ORDER BY id")?,
            containers: column(
                "SELECT id FROM container WHERE image_id = ?1 \
                 OR id IN (SELECT container FROM mount WHERE image_id = ?1) ORDER BY created, id",
            )?,
        })
    }

    /// docker's "single reference": at most one tag, and nothing in another repository.
    fn is_single(&self) -> bool {
        let mut repositories: Vec<&str> = self.names.iter().map(|name| repository(name)).collect();
        repositories.dedup();
        repositories.len() <= 1 && self.names.iter().filter(|name| !is_digested(name)).count() <= 1
    }

    /// The names that go with one: the digests in its repository go with the last tag there.
    fn taken_with(&self, name: &str) -> Vec<String> {
        let mates = self.names.iter().filter(|mate| *mate != name && repository(mate) == repository(name));
        let mates: Vec<String> = mates.cloned().collect();
        let has_tag = mates.iter().any(|mate| !is_digested(mate));
        let mut taken = vec![name.to_owned()];
        if !is_digested(name) && !has_tag {
            taken.extend(mates);
        }
        taken
    }
}

/// A canonical name without its tag or digest.
fn repository(name: &str) -> &str {
    let name = name.split('@').next().unwrap_or(name);
    let tag = name.rfind(':').filter(|place| !name[*place..].contains('/'));
    tag.map_or(name, |place| &name[..place])
}

fn is_digested(name: &str) -> bool {
    name.contains('@')
}

/// Short ids of containers that use an image.
#[derive(Debug, Default)]
struct Users {
    running: Option<String>,
    stopped: Option<String>,
}

struct Facts<'a> {
    links: &'a Links,
    users: &'a Users,
}

#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// Only take these canonical names away.
    Untag(Vec<String>),
    /// Take all names away and delete.
    Delete,
}

/// Decides; `name` is the canonical name and how it was written, if it was asked for by name.
fn plan(id: &Digest, name: Option<(&str, &str)>, facts: &Facts<'_>, is_forced: bool) -> Result<Plan> {
    let Facts { links, users } = facts;
    let Some((canonical, written)) = name else {
        return match conflict(facts, is_forced) {
            Some(conflict) => Err(conflict.into_error(id)),
            None => Ok(Plan::Delete),
        };
    };
    let taken = links.taken_with(canonical);
    if links.names.len() > taken.len() {
        return Ok(Plan::Untag(taken));
    }
    match users.running.as_ref().or(users.stopped.as_ref()) {
        Some(container) if !is_forced => {
            return Err(Error::state(format!(
                "conflict: unable to remove repository reference {written:?} (must force) - container {container} is \
                 using its referenced image {}",
                id.short()
            )));
        }
        _ => {}
    }
    // An image that something stands on loses its name and stays.
    let is_needed = users.running.is_some() || !is_forced && !links.children.is_empty();
    Ok(if is_needed { Plan::Untag(taken) } else { Plan::Delete })
}

struct Conflict {
    is_hard: bool,
    reason: String,
}

impl Conflict {
    fn into_error(self, id: &Digest) -> Error {
        let remedy = if self.is_hard { "cannot be forced" } else { "must be forced" };
        Error::state(format!("conflict: unable to delete {} ({remedy}) - {}", id.short(), self.reason))
    }
}

/// What forbids to delete an image by its id. Children forbid it only without force: with it they
/// are handed on to the image's parent, and the layers that they share stay.
fn conflict(facts: &Facts<'_>, is_forced: bool) -> Option<Conflict> {
    let Facts { links, users } = facts;
    if !links.children.is_empty() && !is_forced {
        return Some(Conflict { is_hard: false, reason: "image has dependent child images".to_owned() });
    }
    if let Some(container) = &users.running {
        let reason = format!("image is being used by running container {container}");
        return Some(Conflict { is_hard: true, reason });
    }
    if is_forced {
        return None;
    }
    if !links.is_single() {
        return Some(Conflict {
            is_hard: false,
            reason: "image is referenced in multiple repositories".to_owned(),
        });
    }
    let container = users.stopped.as_ref()?;
    Some(Conflict { is_hard: false, reason: format!("image is being used by stopped container {container}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(names: usize, children: usize) -> Links {
        Links {
            names: (0..names).map(|n| format!("docker.io/library/n{n}:latest")).collect(),
            children: (0..children).map(|n| n.to_string()).collect(),
            containers: Vec::new(),
        }
    }

    fn decide(links: &Links, users: &Users, by_name: bool, is_forced: bool) -> Result<Plan> {
        let name = by_name.then_some(("docker.io/library/n0:latest", "n0"));
        plan(&Digest::from_bytes([7; 32]), name, &Facts { links, users }, is_forced)
    }

    fn untag() -> Plan {
        Plan::Untag(vec!["docker.io/library/n0:latest".to_owned()])
    }

    fn text(result: Result<Plan>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn one_of_several_names_goes_alone() {
        let stopped = Users { stopped: Some("c".to_owned()), ..Users::default() };
        assert_eq!(decide(&links(2, 0), &stopped, true, false).unwrap(), untag());
        assert_eq!(decide(&links(1, 0), &Users::default(), true, false).unwrap(), Plan::Delete);
        assert_eq!(decide(&links(1, 1), &Users::default(), true, false).unwrap(), untag());
    }

    #[test]
    fn digests_go_with_the_last_tag_of_their_repository() {
        let name = |text: &str| format!("h:5000/a{text}");
        let digest = format!("@sha256:{}", "0".repeat(64));
        let nobody = Users::default();
        let decide = |names: &[String], by: &str| {
            let links = Links { names: names.to_vec(), ..Links::default() };
            assert!(links.is_single() || names.len() > 2);
            let facts = Facts { links: &links, users: &nobody };
            plan(&Digest::from_bytes([7; 32]), Some((by, by)), &facts, false).unwrap()
        };
        let (tag, other, digested) = (name(":v1"), name(":v2"), name(&digest));
        assert_eq!(decide(&[tag.clone(), digested.clone()], &tag), Plan::Delete);
        assert_eq!(decide(&[tag.clone(), digested.clone()], &digested), Plan::Untag(vec![digested.clone()]));
        let three = [tag.clone(), other, digested];
        assert_eq!(decide(&three, &tag), Plan::Untag(vec![tag]));
        assert_eq!(repository("h:5000/a/b"), "h:5000/a/b");
    }

    #[test]
    fn containers_keep_their_image() {
        let stopped = Users { stopped: Some("c1".to_owned()), ..Users::default() };
        let running = Users { running: Some("c2".to_owned()), ..Users::default() };
        assert!(
            text(decide(&links(1, 0), &stopped, true, false))
                .contains("(must force) - container c1 is using")
        );
        assert!(text(decide(&links(1, 0), &stopped, false, false)).contains("must be forced"));
        assert_eq!(decide(&links(1, 0), &stopped, false, true).unwrap(), Plan::Delete);
        assert!(text(decide(&links(1, 0), &running, false, true)).contains("(cannot be forced)"));
        assert_eq!(decide(&links(1, 0), &running, true, true).unwrap(), untag());
    }

    #[test]
    fn children_and_several_names_need_force() {
        let nobody = Users::default();
        assert!(text(decide(&links(0, 1), &nobody, false, false)).contains("dependent child images"));
        assert_eq!(decide(&links(0, 1), &nobody, false, true).unwrap(), Plan::Delete);
        assert!(text(decide(&links(2, 0), &nobody, false, false)).contains("multiple repositories"));
        assert_eq!(decide(&links(2, 0), &nobody, false, true).unwrap(), Plan::Delete);
    }
}

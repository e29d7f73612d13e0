//! `manifest`: what registries have under a name, and lists of manifests that are put together here and pushed.
//!
//! A list is rows of the database until it is pushed. Rules and words are docker's, but for two things: blobs
//! that a registry cannot take over from its own repository are sent, and loopback needs no `--insecure`.

use crate::Local;
use crate::database::query;
use crate::error::{Error, Result};
use crate::image::registries::refused;
use crate::image::transfer::registry::{RegistryGiver, RegistryTaker};
use crate::image::transfer::{Carriage, Giver, Parcel, Role};
use mica_api::types::manifest::{
    ManifestAccess, ManifestAnnotateRequest, ManifestAnswer, ManifestCreateRequest, ManifestDescriptor,
    ManifestInspect, ManifestInspectRequest,
};
use mica_image::{
    Descriptor, Document, Index, ListedManifest, Manifest, ManifestDocument, parse_parcel,
    write_manifest_list,
};
use mica_model::{PlatformWords, Reference};
use mica_registry::Registries;
use rusqlite::{OptionalExtension, Row, params};
use serde::Deserialize;

/// The systems that docker knows, with the architectures of each.
const SYSTEMS: &[(&str, &[&str])] = &[
    ("darwin", &["386", "amd64", "arm", "arm64"]),
    ("dragonfly", &["amd64"]),
    ("freebsd", &["386", "amd64", "arm"]),
    ("linux", &["386", "amd64", "arm", "arm64", "ppc64le", "mips64", "mips64le", "riscv64", "s390x"]),
    ("netbsd", &["386", "amd64", "arm"]),
    ("openbsd", &["386", "amd64", "arm"]),
    ("plan9", &["386", "amd64"]),
    ("solaris", &["amd64"]),
    ("windows", &["386", "amd64", "arm64"]),
];

/// A manifest in a list, or one that is to come into it.
#[derive(Debug, Clone)]
struct Entry {
    /// In full.
    reference: String,
    media_type: String,
    platform: Option<PlatformWords>,
    manifest: Document,
}

/// What a config says of the system that it is for.
#[derive(Debug, Deserialize)]
struct ConfigPlatform {
    #[serde(flatten)]
    words: PlatformWords,
}

impl Local {
    /// What there is under a name: in a list of this machine, as one, or in a registry.
    pub(crate) fn inspect_manifest(
        &self,
        request: &ManifestInspectRequest,
        how: &ManifestAccess<'_>,
    ) -> Result<ManifestAnswer> {
        let name = parsed(&request.reference)?;
        if !request.list.is_empty() {
            let list = parsed(&request.list)?;
            let entry = self.listed(&list, &name)?.ok_or_else(|| no_local(&name))?;
            return Ok(one(&entry));
        }
        let entries = self.list_entries(&name)?;
        if !entries.is_empty() {
            let manifests = entries.iter().map(inspect).collect();
            return Ok(ManifestAnswer::List {
                document: text(&list_document(&name, &entries)?.0),
                manifests,
            });
        }
        let registries = self.registries_for(&name, how)?;
        let giver = RegistryGiver::new(self, &registries, name.clone(), &how.access)?;
        let parcel = giver.named().map_err(|error| unknown(&name, error))?;
        match parse_parcel(&parcel.document, &parcel.media_type)? {
            ManifestDocument::Manifest(manifest) => Ok(one(&self.entry(&giver, &name, parcel, &manifest)?)),
            ManifestDocument::Index(index) => {
                let document = text(&write_manifest_list(&listed_of(&index)?)?.0);
                let manifests = match request.is_verbose {
                    true => children(&giver, &name, &index)?,
                    false => Vec::new(),
                };
                Ok(ManifestAnswer::List { document, manifests })
            }
        }
    }

    /// Puts a list together, or adds to one; answers its name in full.
    pub(crate) fn create_manifest_list(
        &self,
        request: &ManifestCreateRequest,
        how: &ManifestAccess<'_>,
    ) -> Result<String> {
        let list = Reference::parse_normalized(&request.list).map_err(|error| {
            Error::invalid(format!("error parsing name for manifest list {}: {error}", request.list))
        })?;
        let list = list_name(list);
        if !request.is_amendment && !self.list_entries(&list)?.is_empty() {
            return Err(Error::state("refusing to amend an existing manifest list with no --amend flag"));
        }
        for reference in &request.manifests {
            let name = parsed(reference)?;
            if self.listed(&list, &name)?.is_none() {
                let entry = self.fetch_entry(&name, how)?;
                self.keep_entry(&list, &entry)?;
            }
        }
        Ok(list.to_string())
    }

    fn fetch_entry(&self, name: &Reference, how: &ManifestAccess<'_>) -> Result<Entry> {
        let registries = self.registries_for(name, how)?;
        let giver = RegistryGiver::new(self, &registries, name.clone(), &how.access)?;
        let parcel = giver.named().map_err(|error| unknown(name, error))?;
        match parse_parcel(&parcel.document, &parcel.media_type)? {
            ManifestDocument::Manifest(manifest) => self.entry(&giver, name, parcel, &manifest),
            ManifestDocument::Index(_) => Err(Error::invalid(format!("{name} is a manifest list"))),
        }
    }

    /// A manifest of a registry with the system that its config says it is for.
    fn entry(
        &self,
        giver: &RegistryGiver<'_>,
        name: &Reference,
        parcel: Parcel,
        manifest: &Manifest,
    ) -> Result<Entry> {
        let config = self.fetch_config_document(giver.inner(), manifest)?;
        let platform: ConfigPlatform = config.parse(&format!("config {}", config.digest()))?;
        let platform = Some(platform.words);
        Ok(Entry {
            reference: name.to_string(),
            media_type: parcel.media_type,
            platform,
            manifest: parcel.document,
        })
    }

    /// Says for which system a manifest of a list is.
    pub(crate) fn annotate_manifest(&self, request: &ManifestAnnotateRequest) -> Result<()> {
        let parsed = |what: &str, text: &str| {
            let name = Reference::parse_normalized(text).map(list_name);
            name.map_err(|error| {
                Error::invalid(format!("annotate: error parsing name for {what} {text}: {error}"))
            })
        };
        let list = parsed("manifest list", &request.list)?;
        let name = parsed("manifest", &request.manifest)?;
        let mut entry = self.listed(&list, &name)?.ok_or_else(|| {
            let words = format!("manifest for image {} does not exist in {}", request.manifest, request.list);
            Error::invalid(words)
        })?;
        let mut platform = entry.platform.unwrap_or_default();
        let wished = &request.platform;
        for (own, wished) in [
            (&mut platform.os, &wished.os),
            (&mut platform.architecture, &wished.architecture),
            (&mut platform.variant, &wished.variant),
            (&mut platform.os_version, &wished.os_version),
        ] {
            if !wished.is_empty() {
                own.clone_from(wished);
            }
        }
        for feature in &wished.os_features {
            if !platform.os_features.contains(feature) {
                platform.os_features.push(feature.clone());
            }
        }
        if !is_system(&platform.os, &platform.architecture) {
            return Err(Error::invalid(format!(
                "manifest entry for image has unsupported os/arch combination: {}/{}",
                wished.os, wished.architecture
            )));
        }
        entry.platform = Some(platform);
        self.keep_entry(&list, &entry)
    }

    /// Sends a list to the registry of its name, with what it leads to; answers its digest. `told` hears a line for
    /// each manifest that was put in place.
    pub(crate) fn push_manifest_list(
        &self,
        list: &str,
        how: &ManifestAccess<'_>,
        told: &(dyn Fn(String) + Sync),
    ) -> Result<String> {
        let list = parsed(list)?;
        let entries = self.list_entries(&list)?;
        if entries.is_empty() {
            return Err(no_local(&list));
        }
        let is_vague = |entry: &&Entry| {
            entry.platform.as_ref().is_none_or(|words| words.os.is_empty() || words.architecture.is_empty())
        };
        if let Some(Entry { reference, .. }) = entries.iter().find(is_vague) {
            let words =
                format!("manifest {reference} must have an OS and Architecture to be pushed to a registry");
            return Err(Error::invalid(words));
        }
        let (document, media_type) = list_document(&list, &entries)?;
        let registries = self.registries_for(&list, how)?;
        let mut names = Vec::new();
        for entry in &entries {
            names.push(parsed(&entry.reference)?);
        }
        let sources: Vec<String> = names
            .iter()
            .filter(|name| name.path() != list.path())
            .map(|name| name.path().to_owned())
            .collect();
        let repository = registries.repository_mounting(&list, &sources, &how.access)?;
        let taker = RegistryTaker { local: self, name: &list, repository: &repository, progress: &|_| {} };
        for (entry, name) in entries.iter().zip(names) {
            if name.path() == list.path() {
                continue;
            }
            let giver = RegistryGiver::new(self, &registries, name, &how.access)?;
            let parcel = Parcel { document: entry.manifest.clone(), media_type: entry.media_type.clone() };
            Carriage::new(&giver, &taker).carry(&parcel, Role::Listed)?;
            let digest = entry.manifest.digest();
            told(format!("Pushed ref {} with digest: {digest}", list.clone().with_digest(*digest)));
        }
        let tag = list.tag().unwrap_or_default();
        let placed = repository.put_manifest(tag, media_type, document.bytes());
        placed.map_err(|error| refused("push", &list, error))?;
        Ok(document.digest().to_string())
    }

    /// Forgets a list.
    pub(crate) fn remove_manifest_list(&self, list: &str) -> Result<()> {
        let list = parsed(list)?;
        let removed = self.database().write(|transaction| {
            transaction
                .execute("DELETE FROM manifest_list WHERE list = ?1", [list.to_string()])
                .map_err(query)
        })?;
        if removed == 0 { Err(no_local(&list)) } else { Ok(()) }
    }

    fn registries_for(&self, name: &Reference, how: &ManifestAccess<'_>) -> Result<Registries> {
        let registries = self.registries()?;
        Ok(if how.is_insecure { registries.trusting(name.domain()) } else { registries.clone() })
    }

    fn keep_entry(&self, list: &Reference, entry: &Entry) -> Result<()> {
        let platform = serde_json::to_string(&entry.platform).unwrap_or_default();
        self.database().write(|transaction| {
            transaction
                .execute(
                    "INSERT OR REPLACE INTO manifest_list \
                     (list, reference, media_type, digest, platform, manifest) VALUES (?1,?2,?3,?4,?5,?6)",
                    params![
                        list.to_string(),
                        entry.reference,
                        entry.media_type,
                        entry.manifest.digest().to_string(),
                        platform,
                        entry.manifest.bytes()
                    ],
                )
                .map_err(query)?;
            Ok(())
        })
    }

    fn listed(&self, list: &Reference, name: &Reference) -> Result<Option<Entry>> {
        let found = self.database().read(|connection| {
            let sql = "SELECT reference, media_type, platform, manifest FROM manifest_list \
                       WHERE list = ?1 AND reference = ?2";
            connection.query_row(sql, [list.to_string(), name.to_string()], Entry::from_row).optional()
        })?;
        Ok(found)
    }

    /// The manifests of a list in docker's order, which is that of the names of its files.
    fn list_entries(&self, list: &Reference) -> Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = self.database().read(|connection| {
            let sql = "SELECT reference, media_type, platform, manifest FROM manifest_list WHERE list = ?1";
            connection.prepare(sql)?.query_map([list.to_string()], Entry::from_row)?.collect()
        })?;
        entries.sort_by_key(|entry| entry.reference.replace(':', "%").replace('/', "#"));
        Ok(entries)
    }
}

impl Entry {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let platform: String = row.get(2)?;
        Ok(Self {
            reference: row.get(0)?,
            media_type: row.get(1)?,
            platform: serde_json::from_str(&platform).unwrap_or_default(),
            manifest: Document::from_bytes(row.get(3)?),
        })
    }
}

/// A name as docker takes it here: with a tag, unless it has a digest.
fn parsed(text: &str) -> Result<Reference> {
    let name = Reference::parse_normalized(text).map_err(|error| Error::invalid(error.to_string()))?;
    Ok(list_name(name))
}

fn list_name(name: Reference) -> Reference {
    if name.digest().is_some() { name } else { name.with_default_tag() }
}

fn no_local(name: &Reference) -> Error {
    Error::NoSuchManifest { words: "No", reference: name.to_string() }
}

fn unknown(name: &Reference, error: Error) -> Error {
    match error {
        Error::ManifestUnknown { .. } => Error::NoSuchManifest { words: "no", reference: name.to_string() },
        other => other,
    }
}

fn is_system(os: &str, architecture: &str) -> bool {
    SYSTEMS.iter().any(|(system, architectures)| *system == os && architectures.contains(&architecture))
}

fn text(document: &Document) -> String {
    String::from_utf8_lossy(document.bytes()).into_owned()
}

fn one(entry: &Entry) -> ManifestAnswer {
    ManifestAnswer::One(Box::new(inspect(entry)))
}

fn inspect(entry: &Entry) -> ManifestInspect {
    ManifestInspect {
        reference: entry.reference.clone(),
        descriptor: ManifestDescriptor {
            media_type: entry.media_type.clone(),
            digest: entry.manifest.digest().to_string(),
            size: entry.manifest.bytes().len() as u64,
            platform: entry.platform.clone(),
        },
        manifest: entry.manifest.bytes().to_vec(),
    }
}

/// The manifests of an index in a registry.
fn children(giver: &RegistryGiver<'_>, name: &Reference, index: &Index) -> Result<Vec<ManifestInspect>> {
    let child = |listed: &Descriptor| {
        let parcel = giver.manifest(listed).map_err(|error| unknown(name, error))?;
        Ok(inspect(&Entry {
            reference: format!("{name}@{}", parcel.document.digest()),
            media_type: parcel.media_type,
            platform: Some(listed.platform_words().cloned().unwrap_or_default()),
            manifest: parcel.document,
        }))
    };
    index.descriptors().iter().map(child).collect()
}

fn listed_of(index: &Index) -> Result<Vec<ListedManifest>> {
    let listed = |descriptor: &Descriptor| {
        Ok(ListedManifest {
            media_type: descriptor.media_type.clone(),
            size: descriptor.size,
            digest: descriptor.digest()?,
            platform: descriptor.platform_words().cloned().unwrap_or_default(),
        })
    };
    index.descriptors().iter().map(listed).collect()
}

/// A list as it is pushed.
fn list_document(list: &Reference, entries: &[Entry]) -> Result<(Document, &'static str)> {
    let mut listed = Vec::new();
    for entry in entries {
        let domain = parsed(&entry.reference)?.domain().to_owned();
        if domain != list.domain() {
            return Err(Error::invalid(format!(
                "cannot use source images from a different registry than the target image: {domain} != {}",
                list.domain()
            )));
        }
        listed.push(ListedManifest {
            media_type: entry.media_type.clone(),
            size: entry.manifest.bytes().len() as u64,
            digest: *entry.manifest.digest(),
            platform: entry.platform.clone().unwrap_or_default(),
        });
    }
    Ok(write_manifest_list(&listed)?)
}

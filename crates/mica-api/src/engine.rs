//! The one road: every request that a door can make.

use crate::error::{Error, Result};
use crate::stream::AttachStream;
use crate::types::bake::{BakeContents, BakePlan, BakeRequest, NamedBuild};
use crate::types::build::{
    BuildAnswer, BuildCacheRecord, BuildEvent, BuildLogLine, BuildOutcome, BuildPruneOptions, BuildPruned,
    BuildQuestion, BuildRecord, BuildRequest,
};
use crate::types::container::{
    ArchivePut, AttachStreams, CommitRequest, ContainerInspect, ContainerSummary, CreateRequest,
    CreateResponse, FilesystemChange, ListOptions, LogEntry, LogsOptions, PathStat, PruneResponse,
    RemoveOptions, RestartResponse, StartOptions, Started, StatsSample, StopOptions, TopResponse,
    UpdateRequest, WaitCondition, WaitResponse,
};
use crate::types::event::{Event, EventsOptions};
use crate::types::exec::{ExecRequest, ExecStarted};
use crate::types::image::{
    ArchiveSource, CopiedImage, HistoryEntry, ImageCopyRequest, ImageDelete, ImageInspect, ImageListOptions,
    ImageRemoveOptions, ImageSummary, ImageTree, ImportRequest, LoadedImage, LoginRequest, ProgressEvent,
    PullRequest, PulledImage, PushRequest, PushedImage, SearchRequest, SearchResult,
};
use crate::types::manifest::{
    ManifestAccess, ManifestAnnotateRequest, ManifestAnswer, ManifestCreateRequest, ManifestInspectRequest,
};
use crate::types::network::{
    NetworkConnectRequest, NetworkCreateRequest, NetworkCreateResponse, NetworkInspect, NetworkListOptions,
};
use crate::types::system::{DiskUsage, Info, Version};
use crate::types::volume::{Volume, VolumeCreateRequest, VolumePruneResponse};
use mica_model::{Credential, Filters};
use std::io::{Read, Write};

/// Hears of progress; called from several threads.
pub type ProgressListener<'a> = &'a (dyn Fn(ProgressEvent) + Sync);

/// Hears of a build; called from several threads.
pub type BuildListener<'a> = &'a (dyn Fn(BuildEvent) + Sync);

/// Receives items until it answers `false`, which ends the request without an error.
pub type Sink<'a, T> = &'a mut dyn FnMut(T) -> bool;

/// A container engine, here or elsewhere.
///
/// Containers and images are named by exact name, full id or unique prefix of an id, in this
/// order of precedence. A request returns when what it promises holds; killing the caller at any
/// moment leaves a store in which everything listed works. Methods that follow something
/// (`logs`, `events`, `stats`) call their sink from the calling thread.
#[expect(
    clippy::missing_errors_doc,
    reason = "every request answers api::Error; its kinds are documented there"
)]
pub trait Engine: Sync {
    /// Makes a container; it does not run yet.
    fn container_create(&self, request: &CreateRequest) -> Result<CreateResponse>;
    /// Starts a container; `NotModified` if it runs already.
    fn container_start(&self, reference: &str, options: &StartOptions) -> Result<Started>;
    /// Creates and starts in one request, which an engine may overlap.
    fn container_run(
        &self,
        request: &CreateRequest,
        options: &StartOptions,
    ) -> Result<(CreateResponse, Result<Started>)> {
        let created = self.container_create(request)?;
        let started = self.container_start(&created.id, options);
        Ok((created, started))
    }
    /// Follows a running container.
    fn container_attach(&self, reference: &str, streams: AttachStreams) -> Result<AttachStream>;
    /// Waits; blocks the calling thread.
    fn container_wait(&self, reference: &str, condition: WaitCondition) -> Result<WaitResponse>;
    /// Stop signal, grace time, SIGKILL; `NotModified` if it does not run.
    fn container_stop(&self, reference: &str, options: &StopOptions) -> Result<()>;
    /// Stops if it runs, then starts.
    fn container_restart(&self, reference: &str, options: &StopOptions) -> Result<()>;
    /// Starts what is to run again after a boot of the host.
    fn containers_restart(&self) -> Result<RestartResponse>;
    /// Sends a signal by name or number.
    fn container_kill(&self, reference: &str, signal: &str) -> Result<()>;
    /// Freezes all its processes.
    fn container_pause(&self, reference: &str) -> Result<()>;
    /// Thaws them.
    fn container_unpause(&self, reference: &str) -> Result<()>;
    /// Gives it another name.
    fn container_rename(&self, reference: &str, name: &str) -> Result<()>;
    /// Deletes it and its writable layer.
    fn container_remove(&self, reference: &str, options: RemoveOptions) -> Result<()>;
    /// Sets the size of its terminal.
    fn container_resize(&self, reference: &str, rows: u16, columns: u16) -> Result<()>;
    /// Lists, newest first.
    fn container_list(&self, options: &ListOptions) -> Result<Vec<ContainerSummary>>;
    /// Everything about one.
    fn container_inspect(&self, reference: &str, size: bool) -> Result<ContainerInspect>;
    /// Reads its log.
    fn container_logs(
        &self,
        reference: &str,
        options: &LogsOptions,
        sink: Sink<'_, Vec<LogEntry>>,
    ) -> Result<()>;
    /// Its processes; `arguments` are those of `ps`.
    fn container_top(&self, reference: &str, arguments: &[String]) -> Result<TopResponse>;
    /// Samples once, or every second until the sink declines or the container ends.
    fn container_stats(&self, reference: &str, stream: bool, sink: Sink<'_, StatsSample>) -> Result<()>;
    /// What it changed in its file system.
    fn container_changes(&self, reference: &str) -> Result<Vec<FilesystemChange>>;
    /// Changes limits.
    fn container_update(&self, reference: &str, request: &UpdateRequest) -> Result<Vec<String>>;
    /// What is at a path.
    fn container_path_stat(&self, reference: &str, path: &str) -> Result<PathStat>;
    /// A tar of a path.
    fn container_archive_read(&self, reference: &str, path: &str, out: &mut dyn Write) -> Result<PathStat>;
    /// Unpacks a tar into a directory.
    fn container_archive_write(
        &self,
        reference: &str,
        put: &ArchivePut,
        archive: &mut dyn Read,
    ) -> Result<()>;
    /// One flat tar of the whole file system.
    fn container_export(&self, reference: &str, out: &mut dyn Write) -> Result<()>;
    /// Makes an image of it; answers the image id.
    fn container_commit(&self, request: &CommitRequest) -> Result<String>;
    /// Deletes those that do not run.
    fn container_prune(&self, filters: &Filters) -> Result<PruneResponse>;
    /// Runs a further process in a running container.
    fn exec(&self, request: &ExecRequest) -> Result<ExecStarted>;

    /// Lists, newest first.
    fn image_list(&self, options: &ImageListOptions) -> Result<Vec<ImageSummary>>;
    /// Everything about one.
    fn image_inspect(&self, reference: &str, platform: &str) -> Result<ImageInspect>;
    /// How it was made, newest step first; for a platform unless that is empty.
    fn image_history(&self, reference: &str, platform: &str) -> Result<Vec<HistoryEntry>>;
    /// Gives a further name.
    fn image_tag(&self, source: &str, target: &str) -> Result<()>;
    /// Takes a name away, deletes with the last one.
    fn image_remove(&self, reference: &str, options: ImageRemoveOptions) -> Result<Vec<ImageDelete>>;
    /// Deletes the images of some platforms that a name stands for; with the last one goes the name.
    fn image_remove_platforms(
        &self,
        reference: &str,
        platforms: &[String],
        options: ImageRemoveOptions,
    ) -> Result<Vec<ImageDelete>>;
    /// Writes an archive that docker, podman and OCI tools read.
    fn image_save(&self, references: &[String], platform: &str, out: &mut dyn Write) -> Result<()>;
    /// Reads an archive that they write.
    fn image_load(
        &self,
        source: ArchiveSource,
        platform: &str,
        progress: ProgressListener<'_>,
    ) -> Result<Vec<LoadedImage>>;
    /// Makes an image of a flat tar; answers its id.
    fn image_import(&self, request: ImportRequest) -> Result<String>;
    /// Fetches an image by name from a registry, or the embedded one; all tags where that is asked for.
    fn image_pull(
        &self,
        request: &PullRequest<'_>,
        progress: ProgressListener<'_>,
    ) -> Result<Vec<PulledImage>>;
    /// Copies an image from one place to another without keeping it.
    fn image_copy(
        &self,
        _request: ImageCopyRequest<'_, '_>,
        _progress: ProgressListener<'_>,
    ) -> Result<CopiedImage> {
        Err(unsupported("copying images"))
    }
    /// Repositories of a registry that have to do with a word.
    fn image_search(&self, request: &SearchRequest<'_>) -> Result<Vec<SearchResult>>;
    /// Sends an image to the registry that its name says; all its tags where that is asked for.
    fn image_push(
        &self,
        request: &PushRequest<'_>,
        progress: ProgressListener<'_>,
    ) -> Result<Vec<PushedImage>>;
    /// What there is under a name: a manifest, or a list of them.
    fn manifest_inspect(
        &self,
        _request: &ManifestInspectRequest,
        _how: &ManifestAccess<'_>,
    ) -> Result<ManifestAnswer> {
        Err(unsupported("looking at manifests"))
    }
    /// Puts a list of manifests together here; answers its name in full.
    fn manifest_create(&self, _request: &ManifestCreateRequest, _how: &ManifestAccess<'_>) -> Result<String> {
        Err(unsupported("making lists of manifests"))
    }
    /// Says for which system a manifest of a list is.
    fn manifest_annotate(&self, _request: &ManifestAnnotateRequest) -> Result<()> {
        Err(unsupported("making lists of manifests"))
    }
    /// Sends a list to the registry of its name; answers its digest. `told` hears lines of what was sent with it.
    fn manifest_push(
        &self,
        _list: &str,
        _how: &ManifestAccess<'_>,
        _told: &(dyn Fn(String) + Sync),
    ) -> Result<String> {
        Err(unsupported("making lists of manifests"))
    }
    /// Forgets a list that was put together here.
    fn manifest_remove(&self, _list: &str) -> Result<()> {
        Err(unsupported("making lists of manifests"))
    }
    /// Has a registry compare a credential; answers what to keep, which may be a token in its place.
    fn registry_login(&self, request: &LoginRequest<'_>) -> Result<Credential>;
    /// Deletes dangling images, or with `dangling=false` all unused ones.
    fn image_prune(&self, filters: &Filters) -> Result<(Vec<ImageDelete>, u64)>;
    /// Images by their layers; all top-level ones without a reference.
    fn image_tree(&self, reference: Option<&str>) -> Result<Vec<ImageTree>>;

    /// Makes a volume; one of that name that is there already is as good.
    fn volume_create(&self, request: &VolumeCreateRequest) -> Result<Volume>;
    /// Lists, by name.
    fn volume_list(&self, filters: &Filters) -> Result<Vec<Volume>>;
    /// Everything about one.
    fn volume_inspect(&self, name: &str) -> Result<Volume>;
    /// Deletes one that no container has; with `force` one that is not there is no error.
    fn volume_remove(&self, name: &str, force: bool) -> Result<()>;
    /// Deletes those without a name that no container has, or with `all=true` those with one too.
    fn volume_prune(&self, filters: &Filters) -> Result<VolumePruneResponse>;

    /// Builds an image from a Dockerfile.
    fn build(&self, _request: BuildRequest<'_>, _listener: BuildListener<'_>) -> Result<BuildOutcome> {
        Err(unsupported("building"))
    }
    /// Builds several images at the same time; those that others need come first in the list. Answers the outcomes
    /// in the order of the list.
    fn build_all(
        &self,
        _builds: Vec<NamedBuild<'_>>,
        _listener: BuildListener<'_>,
    ) -> Result<Vec<BuildOutcome>> {
        Err(unsupported("building"))
    }
    /// The builds that bake files describe; nothing is built.
    fn bake_plan(&self, _request: &BakeRequest) -> Result<BakePlan> {
        Err(unsupported("building"))
    }
    /// The targets and variables of bake files.
    fn bake_contents(&self, _request: &BakeRequest) -> Result<BakeContents> {
        Err(unsupported("building"))
    }
    /// Answers a question about a Dockerfile; nothing is built.
    fn build_question(&self, _request: &BuildRequest<'_>, _question: BuildQuestion) -> Result<BuildAnswer> {
        Err(unsupported("building"))
    }
    /// The steps that need not be done again.
    fn build_cache(&self) -> Result<Vec<BuildCacheRecord>> {
        Err(unsupported("building"))
    }
    /// The last builds, the latest first.
    fn build_history(&self) -> Result<Vec<BuildRecord>> {
        Err(unsupported("building"))
    }
    /// One of them, by its id, the beginning of it, or `^N` for the Nth before the latest; the latest if empty.
    fn build_record(&self, _reference: &str) -> Result<BuildRecord> {
        Err(unsupported("building"))
    }
    /// What one of them told.
    fn build_log(&self, _reference: &str) -> Result<Vec<BuildLogLine>> {
        Err(unsupported("building"))
    }
    /// Forgets some of them, or all; answers their ids.
    fn build_history_remove(&self, _references: &[String], _all: bool) -> Result<Vec<String>> {
        Err(unsupported("building"))
    }
    /// Forgets such steps.
    fn build_cache_prune(&self, _options: &BuildPruneOptions) -> Result<BuildPruned> {
        Err(unsupported("building"))
    }

    /// Makes a network.
    fn network_create(&self, request: &NetworkCreateRequest) -> Result<NetworkCreateResponse>;
    /// Lists networks, by name.
    fn network_list(&self, options: &NetworkListOptions) -> Result<Vec<NetworkInspect>>;
    /// Everything about one network, with the containers that are on it.
    fn network_inspect(&self, reference: &str) -> Result<NetworkInspect>;
    /// Removes a network that no container is on.
    fn network_remove(&self, reference: &str) -> Result<()>;
    /// Removes all networks that no container is on; answers their names.
    fn network_prune(&self, filters: &Filters) -> Result<Vec<String>>;
    /// Puts a container on a further network, at once if it runs.
    fn network_connect(&self, reference: &str, request: &NetworkConnectRequest) -> Result<()>;
    /// Takes a container from a network, at once if it runs.
    fn network_disconnect(&self, reference: &str, container: &str, force: bool) -> Result<()>;
    /// Makes links and rules again that somebody has removed from this host.
    fn network_reload(&self) -> Result<()>;

    /// What happened and happens.
    fn events(&self, options: &EventsOptions, sink: Sink<'_, Event>) -> Result<()>;
    /// The engine and its host.
    fn info(&self) -> Result<Info>;
    /// The engine's version.
    fn version(&self) -> Result<Version>;
    /// Who uses how much disk.
    fn disk_usage(&self) -> Result<DiskUsage>;
}

/// The error of a request that this build does not know yet.
pub fn unsupported(what: &str) -> Error {
    Error::unsupported(format!("{what} is not supported by this version of mica"))
        .with_hint("COMPATIBILITY.md lists what works and what is planned")
}

//! The road's end: [`mica_api::Engine`], each request handed to the verb that answers it.

use crate::{EarlyMonitor, EngineOptions, Local};
use mica_api::Result;
use mica_api::engine::{BuildListener, Engine, ProgressListener, Sink};
use mica_api::stream::AttachStream;
use mica_api::types::bake::{BakeContents, BakePlan, BakeRequest, NamedBuild};
use mica_api::types::build::{
    BuildAnswer, BuildCacheRecord, BuildLogLine, BuildOutcome, BuildPruneOptions, BuildPruned, BuildQuestion,
    BuildRecord, BuildRequest,
};
use mica_api::types::container::{
    ArchivePut, AttachStreams, CommitRequest, ContainerInspect, ContainerSummary, CreateRequest,
    CreateResponse, FilesystemChange, ListOptions, LogEntry, LogsOptions, PathStat, PruneResponse,
    RemoveOptions, RestartResponse, StartOptions, Started, StatsSample, StopOptions, TopResponse,
    UpdateRequest, WaitCondition, WaitResponse,
};
use mica_api::types::event::{Event, EventsOptions};
use mica_api::types::exec::{ExecRequest, ExecStarted};
use mica_api::types::image::{
    ArchiveSource, CopiedImage, HistoryEntry, ImageCopyRequest, ImageDelete, ImageInspect, ImageListOptions,
    ImageRemoveOptions, ImageSummary, ImageTree, ImportRequest, LoadedImage, LoginRequest, PullRequest,
    PulledImage, PushRequest, PushedImage, SearchRequest, SearchResult,
};
use mica_api::types::manifest::{
    ManifestAccess, ManifestAnnotateRequest, ManifestAnswer, ManifestCreateRequest, ManifestInspectRequest,
};
use mica_api::types::network::{
    NetworkConnectRequest, NetworkCreateRequest, NetworkCreateResponse, NetworkInspect, NetworkListOptions,
};
use mica_api::types::system::{DiskUsage, Info, Version};
use mica_api::types::volume::{Volume, VolumeCreateRequest, VolumePruneResponse};
use mica_model::{Credential, Filters};
use std::io::{Read, Write};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// The engine in this process.
#[derive(Debug)]
pub struct LocalEngine {
    local: Local,
}

impl LocalEngine {
    /// Opens a store, making it when it is new.
    ///
    /// # Errors
    /// No rights to the directories, a damaged database, or a store of a newer version.
    pub fn open(options: &EngineOptions) -> Result<Self> {
        Ok(Self { local: Local::open(options)? })
    }

    /// Has the first container that is made and started, or the first further process, get this monitor.
    #[must_use]
    pub fn with(self, early: Option<EarlyMonitor>) -> Self {
        *self.local.early.lock().unwrap_or_else(PoisonError::into_inner) = early;
        self
    }

    /// Does the chores of a store that nobody should have to wait for: folds the database's log, and
    /// deletes what commands have thrown away. For the door [`CHORES_NAME`].
    ///
    /// # Errors
    /// As [`LocalEngine::open`].
    pub fn do_chores(options: &EngineOptions) -> Result<()> {
        let local = Local::open_for_chores(options)?;
        local.database().fold()?;
        local.tidy_containers();
        local.tidy_groups();
        local.tidy_names();
        local.bound_build_cache()?;
        local.tidy_images();
        Ok(())
    }
}

/// `argv[0]` of the process that does a store's chores; its arguments are the store's options in their order.
pub const CHORES_NAME: &str = "mica-chores";

impl Drop for LocalEngine {
    fn drop(&mut self) {
        let local = &self.local;
        let has_built = local.has_built.load(Ordering::Relaxed);
        if has_built || local.database().wants_folding() || local.effort.is_spent() {
            let options = [
                local.disk.root().into(),
                local.disk.run_root().into(),
                local.config_path.clone().into_os_string(),
            ];
            // Without it the log only grows, and the trash stays, until the next command tries again.
            let _ = mica_runtime::spawn_aside(CHORES_NAME, &options);
        }
    }
}

impl Engine for LocalEngine {
    fn container_create(&self, request: &CreateRequest) -> Result<CreateResponse> {
        Ok(self.local.create(request)?)
    }

    fn container_start(&self, reference: &str, options: &StartOptions) -> Result<Started> {
        Ok(self.local.start(reference, options)?)
    }

    fn container_run(
        &self,
        request: &CreateRequest,
        options: &StartOptions,
    ) -> Result<(CreateResponse, Result<Started>)> {
        let (created, started) = self.local.run(request, options)?;
        Ok((created, started.map_err(Into::into)))
    }

    fn container_attach(&self, reference: &str, streams: AttachStreams) -> Result<AttachStream> {
        Ok(self.local.attach(reference, streams)?)
    }

    fn container_wait(&self, reference: &str, condition: WaitCondition) -> Result<WaitResponse> {
        Ok(WaitResponse { status_code: self.local.wait(reference, condition)? })
    }

    fn container_stop(&self, reference: &str, options: &StopOptions) -> Result<()> {
        Ok(self.local.stop(reference, options)?)
    }

    fn container_restart(&self, reference: &str, options: &StopOptions) -> Result<()> {
        Ok(self.local.restart(reference, options)?)
    }

    fn containers_restart(&self) -> Result<RestartResponse> {
        Ok(self.local.restart_containers()?)
    }

    fn container_kill(&self, reference: &str, signal: &str) -> Result<()> {
        Ok(self.local.kill(reference, signal)?)
    }

    fn container_pause(&self, reference: &str) -> Result<()> {
        Ok(self.local.pause(reference)?)
    }

    fn container_unpause(&self, reference: &str) -> Result<()> {
        Ok(self.local.unpause(reference)?)
    }

    fn container_rename(&self, reference: &str, name: &str) -> Result<()> {
        Ok(self.local.rename(reference, name)?)
    }

    fn container_remove(&self, reference: &str, options: RemoveOptions) -> Result<()> {
        Ok(self.local.remove(reference, options)?)
    }

    fn container_resize(&self, reference: &str, rows: u16, columns: u16) -> Result<()> {
        Ok(self.local.resize(reference, rows, columns)?)
    }

    fn container_list(&self, options: &ListOptions) -> Result<Vec<ContainerSummary>> {
        Ok(self.local.list(options)?)
    }

    fn container_inspect(&self, reference: &str, size: bool) -> Result<ContainerInspect> {
        Ok(self.local.inspect(reference, size)?)
    }

    fn container_logs(
        &self,
        reference: &str,
        options: &LogsOptions,
        sink: Sink<'_, Vec<LogEntry>>,
    ) -> Result<()> {
        Ok(self.local.logs(reference, options, sink)?)
    }

    fn container_top(&self, reference: &str, arguments: &[String]) -> Result<TopResponse> {
        Ok(self.local.top(reference, arguments)?)
    }

    fn container_stats(&self, reference: &str, stream: bool, sink: Sink<'_, StatsSample>) -> Result<()> {
        Ok(self.local.stats(reference, stream, sink)?)
    }

    fn container_changes(&self, reference: &str) -> Result<Vec<FilesystemChange>> {
        Ok(self.local.changes(reference)?)
    }

    fn container_update(&self, reference: &str, request: &UpdateRequest) -> Result<Vec<String>> {
        Ok(self.local.update(reference, request)?)
    }

    fn container_path_stat(&self, reference: &str, path: &str) -> Result<PathStat> {
        Ok(self.local.path_stat(reference, path)?)
    }

    fn container_archive_read(&self, reference: &str, path: &str, out: &mut dyn Write) -> Result<PathStat> {
        Ok(self.local.archive_read(reference, path, out)?)
    }

    fn container_archive_write(
        &self,
        reference: &str,
        put: &ArchivePut,
        archive: &mut dyn Read,
    ) -> Result<()> {
        Ok(self.local.archive_write(reference, put, archive)?)
    }

    fn container_export(&self, reference: &str, out: &mut dyn Write) -> Result<()> {
        Ok(self.local.export(reference, out)?)
    }

    fn container_commit(&self, request: &CommitRequest) -> Result<String> {
        Ok(self.local.commit(request)?)
    }

    fn container_prune(&self, filters: &Filters) -> Result<PruneResponse> {
        Ok(self.local.prune_containers(filters)?)
    }

    fn exec(&self, request: &ExecRequest) -> Result<ExecStarted> {
        Ok(self.local.exec(request)?)
    }

    fn image_list(&self, options: &ImageListOptions) -> Result<Vec<ImageSummary>> {
        Ok(self.local.list_images(options)?)
    }

    fn image_inspect(&self, reference: &str, platform: &str) -> Result<ImageInspect> {
        Ok(self.local.inspect_image(reference, platform)?)
    }

    fn image_history(&self, reference: &str, platform: &str) -> Result<Vec<HistoryEntry>> {
        Ok(self.local.image_history(reference, platform)?)
    }

    fn image_tag(&self, source: &str, target: &str) -> Result<()> {
        Ok(self.local.tag_image(source, target)?)
    }

    fn image_remove(&self, reference: &str, options: ImageRemoveOptions) -> Result<Vec<ImageDelete>> {
        Ok(self.local.remove_image(reference, options)?)
    }

    fn image_remove_platforms(
        &self,
        reference: &str,
        platforms: &[String],
        options: ImageRemoveOptions,
    ) -> Result<Vec<ImageDelete>> {
        Ok(self.local.remove_platforms(reference, platforms, options)?)
    }

    fn image_save(&self, references: &[String], platform: &str, out: &mut dyn Write) -> Result<()> {
        Ok(self.local.save_images(references, platform, out)?)
    }

    fn image_load(
        &self,
        source: ArchiveSource,
        platform: &str,
        progress: ProgressListener<'_>,
    ) -> Result<Vec<LoadedImage>> {
        Ok(self.local.load_images(source, platform, progress)?)
    }

    fn image_import(&self, request: ImportRequest) -> Result<String> {
        Ok(self.local.import_image(request)?)
    }

    fn image_copy(
        &self,
        request: ImageCopyRequest<'_, '_>,
        progress: ProgressListener<'_>,
    ) -> Result<CopiedImage> {
        Ok(self.local.copy_image(request, progress)?)
    }

    fn image_search(&self, request: &SearchRequest<'_>) -> Result<Vec<SearchResult>> {
        Ok(self.local.search_images(request)?)
    }

    fn image_pull(
        &self,
        request: &PullRequest<'_>,
        progress: ProgressListener<'_>,
    ) -> Result<Vec<PulledImage>> {
        Ok(self.local.pull_images(request, progress)?)
    }

    fn image_push(
        &self,
        request: &PushRequest<'_>,
        progress: ProgressListener<'_>,
    ) -> Result<Vec<PushedImage>> {
        Ok(self.local.push_images(request, progress)?)
    }

    fn manifest_inspect(
        &self,
        request: &ManifestInspectRequest,
        how: &ManifestAccess<'_>,
    ) -> Result<ManifestAnswer> {
        Ok(self.local.inspect_manifest(request, how)?)
    }

    fn manifest_create(&self, request: &ManifestCreateRequest, how: &ManifestAccess<'_>) -> Result<String> {
        Ok(self.local.create_manifest_list(request, how)?)
    }

    fn manifest_annotate(&self, request: &ManifestAnnotateRequest) -> Result<()> {
        Ok(self.local.annotate_manifest(request)?)
    }

    fn manifest_push(
        &self,
        list: &str,
        how: &ManifestAccess<'_>,
        told: &(dyn Fn(String) + Sync),
    ) -> Result<String> {
        Ok(self.local.push_manifest_list(list, how, told)?)
    }

    fn manifest_remove(&self, list: &str) -> Result<()> {
        Ok(self.local.remove_manifest_list(list)?)
    }

    fn registry_login(&self, request: &LoginRequest<'_>) -> Result<Credential> {
        Ok(self.local.log_in(request)?)
    }

    fn image_prune(&self, filters: &Filters) -> Result<(Vec<ImageDelete>, u64)> {
        Ok(self.local.prune_images(filters)?)
    }

    fn image_tree(&self, reference: Option<&str>) -> Result<Vec<ImageTree>> {
        Ok(self.local.image_tree(reference)?)
    }

    fn volume_create(&self, request: &VolumeCreateRequest) -> Result<Volume> {
        Ok(self.local.create_volume(request)?)
    }

    fn volume_list(&self, filters: &Filters) -> Result<Vec<Volume>> {
        Ok(self.local.list_volumes(filters)?)
    }

    fn volume_inspect(&self, name: &str) -> Result<Volume> {
        Ok(self.local.inspect_volume(name)?)
    }

    fn volume_remove(&self, name: &str, force: bool) -> Result<()> {
        Ok(self.local.remove_volume(name, force)?)
    }

    fn volume_prune(&self, filters: &Filters) -> Result<VolumePruneResponse> {
        Ok(self.local.prune_volumes(filters)?)
    }

    fn build(&self, request: BuildRequest<'_>, listener: BuildListener<'_>) -> Result<BuildOutcome> {
        Ok(self.local.build(&request, listener)?)
    }

    fn build_all(
        &self,
        builds: Vec<NamedBuild<'_>>,
        listener: BuildListener<'_>,
    ) -> Result<Vec<BuildOutcome>> {
        Ok(self.local.build_all(&builds, listener)?)
    }

    fn bake_plan(&self, request: &BakeRequest) -> Result<BakePlan> {
        Ok(self.local.bake_plan(request)?)
    }

    fn bake_contents(&self, request: &BakeRequest) -> Result<BakeContents> {
        Ok(self.local.bake_contents(request)?)
    }

    fn build_question(&self, request: &BuildRequest<'_>, question: BuildQuestion) -> Result<BuildAnswer> {
        Ok(self.local.examine_build(request, question)?)
    }

    fn build_cache(&self) -> Result<Vec<BuildCacheRecord>> {
        Ok(self.local.build_cache()?)
    }

    fn build_history(&self) -> Result<Vec<BuildRecord>> {
        Ok(self.local.build_history()?)
    }

    fn build_record(&self, reference: &str) -> Result<BuildRecord> {
        Ok(self.local.build_record(reference)?)
    }

    fn build_log(&self, reference: &str) -> Result<Vec<BuildLogLine>> {
        Ok(self.local.build_log(reference)?)
    }

    fn build_history_remove(&self, references: &[String], all: bool) -> Result<Vec<String>> {
        Ok(self.local.remove_build_records(references, all)?)
    }

    fn build_cache_prune(&self, options: &BuildPruneOptions) -> Result<BuildPruned> {
        Ok(self.local.prune_build_cache(options)?)
    }

    fn network_create(&self, request: &NetworkCreateRequest) -> Result<NetworkCreateResponse> {
        Ok(self.local.create_network(request)?)
    }

    fn network_list(&self, options: &NetworkListOptions) -> Result<Vec<NetworkInspect>> {
        Ok(self.local.list_networks(options)?)
    }

    fn network_inspect(&self, reference: &str) -> Result<NetworkInspect> {
        Ok(self.local.inspect_network(reference)?)
    }

    fn network_remove(&self, reference: &str) -> Result<()> {
        Ok(self.local.remove_network(reference)?)
    }

    fn network_prune(&self, filters: &Filters) -> Result<Vec<String>> {
        Ok(self.local.prune_networks(filters)?)
    }

    fn network_connect(&self, reference: &str, request: &NetworkConnectRequest) -> Result<()> {
        Ok(self.local.connect(reference, request)?)
    }

    fn network_disconnect(&self, reference: &str, container: &str, force: bool) -> Result<()> {
        Ok(self.local.disconnect(reference, container, force)?)
    }

    fn network_reload(&self) -> Result<()> {
        Ok(self.local.reload_networks()?)
    }

    fn events(&self, options: &EventsOptions, sink: Sink<'_, Event>) -> Result<()> {
        Ok(self.local.events.read(options, sink)?)
    }

    fn info(&self) -> Result<Info> {
        Ok(self.local.engine_info()?)
    }

    fn version(&self) -> Result<Version> {
        Ok(self.local.engine_version())
    }

    fn disk_usage(&self) -> Result<DiskUsage> {
        Ok(self.local.disk_use()?)
    }
}

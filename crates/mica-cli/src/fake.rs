//! An engine for tests that does nothing but remember what it was asked.

use crate::config::Environment;
use crate::context::{Descriptors, Streams, Terminals};
use crate::dispatch::{self, Surroundings};
use crate::output::ui::Ui;
use crate::testing::Prepared;
use mica_api::engine::{ProgressListener, Sink};
use mica_api::stream::AttachStream;
use mica_api::types::container::{
    ArchivePut, AttachStreams, CommitRequest, ContainerInspect, ContainerSummary, CreateRequest,
    CreateResponse, FilesystemChange, ListOptions, LogEntry, LogsOptions, PathStat, PruneResponse,
    RemoveOptions, RestartResponse, StartOptions, Started, StatsSample, StopOptions, TopResponse,
    UpdateRequest, WaitCondition, WaitResponse,
};
use mica_api::types::event::{Event, EventsOptions};
use mica_api::types::exec::{ExecRequest, ExecStarted};
use mica_api::types::image::{
    ArchiveSource, HistoryEntry, ImageDelete, ImageInspect, ImageListOptions, ImageRemoveOptions,
    ImageSummary, ImageTree, ImportRequest, LoadedImage, LoginRequest, ProgressEvent, PullRequest,
    PulledImage, PushRequest, PushedImage, SearchRequest, SearchResult,
};
use mica_api::types::network::{
    NetworkConnectRequest, NetworkCreateRequest, NetworkCreateResponse, NetworkInspect, NetworkListOptions,
};
use mica_api::types::system::{DiskUsage, Info, Version};
use mica_api::types::volume::{Volume, VolumeCreateRequest, VolumePruneResponse};
use mica_api::{Engine, Error, Result};
use mica_model::frame::{FrameHeader, FrameKind};
use mica_model::{Credential, ErrorKind, Filters};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

/// Answers prepared by a test, and the requests that came.
#[derive(Debug, Clone, Default)]
pub(crate) struct FakeEngine {
    /// Requests in order.
    pub(crate) seen: Arc<Mutex<Vec<String>>>,
    /// Answers to requests about images and the system.
    pub(crate) prepared: Prepared,
    /// Requests to create, whole.
    pub(crate) created: Arc<Mutex<Vec<CreateRequest>>>,
    /// Requests to exec, whole.
    pub(crate) executed: Arc<Mutex<Vec<ExecRequest>>>,
    /// The archive that was written into a container.
    pub(crate) received: Arc<Mutex<Vec<u8>>>,
    /// Images that exist; a container of another is refused.
    pub(crate) images: Vec<String>,
    /// What every request about a container of this name answers.
    pub(crate) failing: Vec<(String, Error)>,
    /// Answer to a start.
    pub(crate) start_failure: Option<Error>,
    /// What an attached program writes, by stream, before it exits.
    pub(crate) output: Vec<(FrameKind, Vec<u8>)>,
    /// Exit code of every program.
    pub(crate) exit_code: u32,
    /// Answer to a list.
    pub(crate) containers: Vec<ContainerSummary>,
    /// Answer to an inspection.
    pub(crate) inspected: Option<ContainerInspect>,
    /// Lines of every log.
    pub(crate) log: Vec<LogEntry>,
    /// Answer to `container_changes`.
    pub(crate) changes: Vec<FilesystemChange>,
    /// Samples of every container.
    pub(crate) samples: Vec<StatsSample>,
    /// What paths in a container are, by path.
    pub(crate) paths: Vec<(String, PathStat)>,
    /// The archive that is read from a container.
    pub(crate) archive: Vec<u8>,
}

/// What a command line did.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Exit code.
    pub(crate) code: u8,
    /// Standard output.
    pub(crate) output: String,
    /// Standard error.
    pub(crate) error: String,
    /// Requests, in order, as `verb operands`.
    pub(crate) requests: Vec<String>,
}

/// Runs `mica` with `arguments`, split at spaces.
pub(crate) fn run(arguments: &str, engine: &FakeEngine) -> Ran {
    let arguments: Vec<_> = arguments.split(' ').filter(|argument| !argument.is_empty()).collect();
    run_in(&arguments, &[], engine)
}

/// Runs `mica` with `arguments` and an environment; its input is empty.
pub(crate) fn run_in(arguments: &[&str], environment: &[(&str, &str)], engine: &FakeEngine) -> Ran {
    let [input, output, error] = [(); 3].map(|()| tempfile::tempfile().unwrap());
    let streams = Streams {
        ui: Ui::to_writers(Box::new(output.try_clone().unwrap()), Box::new(error.try_clone().unwrap())),
        descriptors: Some(Descriptors {
            input: input.into(),
            output: output.try_clone().unwrap().into(),
            error: error.try_clone().unwrap().into(),
        }),
        terminals: Terminals::default(),
    };
    let environment: Environment = environment.iter().copied().collect();
    let argv = std::iter::once("mica").chain(arguments.iter().copied()).map(OsString::from).collect();
    let open = |_: &crate::EngineOptions| -> Result<Box<dyn Engine>> { Ok(Box::new(engine.clone())) };
    let code = dispatch::run(argv, Surroundings { environment, streams }, &open);
    let requests = std::mem::take(&mut *engine.seen.lock().unwrap());
    Ran { code, output: text_of(output), error: text_of(error), requests }
}

fn text_of(mut file: File) -> String {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The id of every container made here.
pub(crate) fn id() -> String {
    "0123456789abcdef".repeat(4)
}

impl FakeEngine {
    /// An engine that has the image `box`.
    pub(crate) fn new() -> Self {
        Self { images: vec!["box".to_owned()], ..Self::default() }
    }

    fn note(&self, what: String) {
        self.seen.lock().unwrap().push(what);
    }

    fn about(&self, verb: &str, reference: &str) -> Result<()> {
        self.note(format!("{verb} {reference}"));
        match self.failing.iter().find(|(name, _)| name == reference) {
            Some((_, error)) => Err(error.clone()),
            None => Ok(()),
        }
    }

    fn stream(&self, terminal: bool) -> AttachStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (output, code) = (self.output.clone(), self.exit_code);
        std::thread::spawn(move || {
            let mut theirs = theirs;
            let mut send = |kind, payload: &[u8]| {
                theirs.write_all(&FrameHeader::new(kind, payload.len()).encode()).unwrap();
                theirs.write_all(payload).unwrap();
            };
            send(FrameKind::Started, &[]);
            output.iter().for_each(|(kind, bytes)| send(*kind, bytes));
            let mut end = code.to_be_bytes().to_vec();
            end.push(0);
            send(FrameKind::Exit, &end);
        });
        AttachStream { socket: ours, terminal }
    }
}

impl Engine for FakeEngine {
    fn container_create(&self, request: &CreateRequest) -> Result<CreateResponse> {
        self.note(format!("create {}", request.config.image));
        self.created.lock().unwrap().push(request.clone());
        if !self.images.contains(&request.config.image) {
            return Err(Error::not_found(format!("No such image: {}", request.config.image)));
        }
        Ok(CreateResponse { id: id(), warnings: Vec::new() })
    }

    fn container_start(&self, reference: &str, options: &StartOptions) -> Result<Started> {
        self.about("start", reference)?;
        if let Some(error) = &self.start_failure {
            return Err(error.clone());
        }
        Ok(Started { stream: options.attach.map(|_| self.stream(false)), warnings: Vec::new() })
    }

    fn container_attach(&self, reference: &str, _: AttachStreams) -> Result<AttachStream> {
        self.about("attach", reference)?;
        Ok(self.stream(false))
    }

    fn container_wait(&self, reference: &str, _: WaitCondition) -> Result<WaitResponse> {
        self.about("wait", reference)?;
        Ok(WaitResponse { status_code: i64::from(self.exit_code) })
    }

    fn container_stop(&self, reference: &str, options: &StopOptions) -> Result<()> {
        self.about("stop", reference)?;
        self.note(format!("with {:?} {:?}", options.signal, options.timeout));
        Ok(())
    }

    fn container_restart(&self, reference: &str, _: &StopOptions) -> Result<()> {
        self.about("restart", reference)
    }

    fn containers_restart(&self) -> Result<RestartResponse> {
        self.note("restart containers".to_owned());
        Ok(RestartResponse::default())
    }

    fn container_kill(&self, reference: &str, signal: &str) -> Result<()> {
        self.about(&format!("kill {signal}"), reference)
    }

    fn container_pause(&self, reference: &str) -> Result<()> {
        self.about("pause", reference)
    }

    fn container_unpause(&self, reference: &str) -> Result<()> {
        self.about("unpause", reference)
    }

    fn container_rename(&self, reference: &str, name: &str) -> Result<()> {
        self.about(&format!("rename to {name}"), reference)
    }

    fn container_remove(&self, reference: &str, options: RemoveOptions) -> Result<()> {
        self.about(if options.force { "remove by force" } else { "remove" }, reference)
    }

    fn container_resize(&self, reference: &str, rows: u16, columns: u16) -> Result<()> {
        self.about(&format!("resize to {rows} {columns}"), reference)
    }

    fn container_list(&self, options: &ListOptions) -> Result<Vec<ContainerSummary>> {
        self.note(format!("list all={} limit={} size={}", options.all, options.limit, options.size));
        Ok(self.containers.clone())
    }

    fn container_inspect(&self, reference: &str, _: bool) -> Result<ContainerInspect> {
        self.about("inspect", reference)?;
        self.inspected.clone().ok_or_else(|| Error::not_found(format!("No such container: {reference}")))
    }

    fn container_logs(
        &self,
        reference: &str,
        options: &LogsOptions,
        sink: Sink<'_, Vec<LogEntry>>,
    ) -> Result<()> {
        self.about("logs", reference)?;
        self.note(format!("follow={} tail={:?}", options.follow, options.tail));
        sink(self.log.clone());
        Ok(())
    }

    fn container_top(&self, reference: &str, arguments: &[String]) -> Result<TopResponse> {
        self.about("top", reference)?;
        self.note(format!("ps {}", arguments.join(" ")));
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        Ok(TopResponse { titles: row(["PID", "CMD"]), processes: vec![row(["7", "sleep 1"])] })
    }

    fn container_stats(&self, reference: &str, _: bool, sink: Sink<'_, StatsSample>) -> Result<()> {
        self.about("stats", reference)?;
        for sample in &self.samples {
            if !sink(sample.clone()) {
                break;
            }
        }
        Ok(())
    }

    fn container_changes(&self, reference: &str) -> Result<Vec<FilesystemChange>> {
        self.about("changes", reference)?;
        Ok(self.changes.clone())
    }

    fn container_update(&self, reference: &str, request: &UpdateRequest) -> Result<Vec<String>> {
        self.about(&format!("update memory={}", request.resources.memory), reference)?;
        Ok(Vec::new())
    }

    fn container_path_stat(&self, reference: &str, path: &str) -> Result<PathStat> {
        self.about(&format!("stat {path}"), reference)?;
        let found = self.paths.iter().find(|(name, _)| name == path);
        found.map(|(_, stat)| stat.clone()).ok_or_else(|| {
            Error::not_found(format!("Could not find the file {path} in container {reference}"))
        })
    }

    fn container_archive_read(&self, reference: &str, path: &str, out: &mut dyn Write) -> Result<PathStat> {
        out.write_all(&self.archive).map_err(|error| Error::internal(error.to_string()))?;
        self.container_path_stat(reference, path)
    }

    fn container_archive_write(
        &self,
        reference: &str,
        put: &ArchivePut,
        archive: &mut dyn Read,
    ) -> Result<()> {
        self.about(&format!("unpack into {}", put.path), reference)?;
        archive
            .read_to_end(&mut self.received.lock().unwrap())
            .map(drop)
            .map_err(|error| Error::internal(error.to_string()))
    }

    fn container_export(&self, reference: &str, out: &mut dyn Write) -> Result<()> {
        self.about("export", reference)?;
        out.write_all(b"archive").map_err(|error| Error::internal(error.to_string()))
    }

    fn container_commit(&self, request: &CommitRequest) -> Result<String> {
        self.about(&format!("commit as {} pause={}", request.reference, request.pause), &request.container)?;
        Ok(format!("sha256:{}", id()))
    }

    fn container_prune(&self, _: &Filters) -> Result<PruneResponse> {
        self.note("prune".to_owned());
        Ok(PruneResponse { deleted: vec![id()], space_reclaimed: 1500 })
    }

    fn exec(&self, request: &ExecRequest) -> Result<ExecStarted> {
        self.about("exec", &request.container)?;
        self.executed.lock().unwrap().push(request.clone());
        let stream = (!request.detach).then(|| self.stream(request.terminal));
        Ok(ExecStarted { id: id(), stream })
    }

    fn image_list(&self, options: &ImageListOptions) -> Result<Vec<ImageSummary>> {
        self.prepared.answer("image_list", &[options])
    }

    fn image_inspect(&self, reference: &str, _platform: &str) -> Result<ImageInspect> {
        self.note(format!("inspect image {reference}"));
        self.prepared
            .answer("image_inspect", &[&reference])
            .map_err(|error| if error.kind == ErrorKind::Internal { absent(reference) } else { error })
    }

    fn image_history(&self, reference: &str, platform: &str) -> Result<Vec<HistoryEntry>> {
        self.prepared.answer("image_history", &[&reference, &platform])
    }

    fn image_tag(&self, source: &str, target: &str) -> Result<()> {
        self.prepared.done("image_tag", &[&source, &target])
    }

    fn image_remove(&self, reference: &str, options: ImageRemoveOptions) -> Result<Vec<ImageDelete>> {
        self.prepared.answer("image_remove", &[&reference, &options])
    }

    fn image_remove_platforms(
        &self,
        reference: &str,
        platforms: &[String],
        options: ImageRemoveOptions,
    ) -> Result<Vec<ImageDelete>> {
        self.prepared.answer("image_remove_platforms", &[&reference, &platforms, &options])
    }

    fn image_save(&self, references: &[String], platform: &str, out: &mut dyn Write) -> Result<()> {
        self.prepared.write("image_save", &[&references, &platform], out)
    }

    fn image_load(
        &self,
        source: ArchiveSource,
        platform: &str,
        _: ProgressListener<'_>,
    ) -> Result<Vec<LoadedImage>> {
        // The number of a descriptor differs from run to run.
        let source = match source {
            ArchiveSource::Path(path) => path.display().to_string(),
            ArchiveSource::Stream(_) => "stream".to_owned(),
        };
        self.prepared.answer("image_load", &[&source, &platform])
    }

    fn image_import(&self, request: ImportRequest) -> Result<String> {
        let ImportRequest { reference, message, changes, platform, .. } = request;
        self.prepared.answer("image_import", &[&reference, &message, &changes, &platform])
    }

    fn image_search(&self, request: &SearchRequest<'_>) -> Result<Vec<SearchResult>> {
        self.prepared.answer("image_search", &[&request.term, &request.limit, &request.filters])
    }

    fn image_pull(
        &self,
        request: &PullRequest<'_>,
        progress: ProgressListener<'_>,
    ) -> Result<Vec<PulledImage>> {
        let PullRequest { reference, platform, all_tags, .. } = request;
        self.note(format!("pull {reference}{}", if *all_tags { " all" } else { "" }));
        let id: String = self.prepared.answer("image_pull", &[reference, platform]).map_err(|error| {
            if error.kind == ErrorKind::Internal {
                return Error::not_found(format!("manifest for {reference} not found"));
            }
            error
        })?;
        progress(ProgressEvent::Note { text: format!("Status: Downloaded newer image for {reference}") });
        Ok(vec![PulledImage { id, name: reference.clone(), is_new: true }])
    }

    fn image_push(&self, request: &PushRequest<'_>, _: ProgressListener<'_>) -> Result<Vec<PushedImage>> {
        let PushRequest { reference, platform, all_tags, .. } = request;
        self.note(format!("push {reference}{}", if *all_tags { " all" } else { "" }));
        let digest = self.prepared.answer("image_push", &[reference, platform])?;
        Ok(vec![PushedImage { name: reference.clone(), digest }])
    }

    fn registry_login(&self, request: &LoginRequest<'_>) -> Result<Credential> {
        let kept: String = self.prepared.answer("registry_login", &[&request.registry])?;
        Ok(if kept.is_empty() { request.credential.clone() } else { Credential::IdentityToken(kept) })
    }

    fn image_prune(&self, filters: &Filters) -> Result<(Vec<ImageDelete>, u64)> {
        self.prepared.answer("image_prune", &[filters])
    }

    fn image_tree(&self, reference: Option<&str>) -> Result<Vec<ImageTree>> {
        self.prepared.answer("image_tree", &[&reference])
    }

    fn volume_create(&self, request: &VolumeCreateRequest) -> Result<Volume> {
        self.prepared.answer("volume_create", &[request])
    }

    fn volume_list(&self, filters: &Filters) -> Result<Vec<Volume>> {
        self.prepared.answer("volume_list", &[filters])
    }

    fn volume_inspect(&self, name: &str) -> Result<Volume> {
        self.prepared.answer("volume_inspect", &[&name]).map_err(|error| {
            if error.kind == ErrorKind::Internal {
                return Error::not_found(format!("get {name}: no such volume"));
            }
            error
        })
    }

    fn volume_remove(&self, name: &str, force: bool) -> Result<()> {
        self.prepared.done("volume_remove", &[&name, &force])
    }

    fn volume_prune(&self, filters: &Filters) -> Result<VolumePruneResponse> {
        self.prepared.answer("volume_prune", &[filters])
    }

    fn network_create(&self, request: &NetworkCreateRequest) -> Result<NetworkCreateResponse> {
        self.prepared.answer("network_create", &[request])
    }

    fn network_list(&self, options: &NetworkListOptions) -> Result<Vec<NetworkInspect>> {
        self.prepared.answer("network_list", &[options])
    }

    fn network_inspect(&self, reference: &str) -> Result<NetworkInspect> {
        self.prepared
            .answer("network_inspect", &[&reference])
            .map_err(|error| if error.kind == ErrorKind::Internal { absent(reference) } else { error })
    }

    fn network_remove(&self, reference: &str) -> Result<()> {
        self.prepared.answer("network_remove", &[&reference])
    }

    fn network_prune(&self, filters: &Filters) -> Result<Vec<String>> {
        self.prepared.answer("network_prune", &[filters])
    }

    fn network_connect(&self, reference: &str, request: &NetworkConnectRequest) -> Result<()> {
        self.prepared.answer("network_connect", &[&reference, request])
    }

    fn network_disconnect(&self, reference: &str, container: &str, force: bool) -> Result<()> {
        self.prepared.answer("network_disconnect", &[&reference, &container, &force])
    }

    fn network_reload(&self) -> Result<()> {
        self.prepared.answer("network_reload", &[])
    }

    fn events(&self, options: &EventsOptions, sink: Sink<'_, Event>) -> Result<()> {
        self.prepared.follow("events", &[options], sink)
    }

    fn info(&self) -> Result<Info> {
        self.prepared.answer("info", &[])
    }

    fn version(&self) -> Result<Version> {
        self.prepared.answer("version", &[])
    }

    fn disk_usage(&self) -> Result<DiskUsage> {
        self.prepared.answer("disk_usage", &[])
    }
}

fn absent(reference: &str) -> Error {
    Error::not_found(format!("No such image: {reference}"))
}

//! From the flags of `run` and `create` to the engine's request.

use crate::args::Matches;
use crate::command::container::definition::making::into_launch;
use crate::command::container::definition::{
    block_io, gpus, health, isolation, life, logging, network, resources, security, sharing, variables,
    volumes,
};
use crate::command::image;
use crate::context::Context;
use crate::proxy;
use crate::report::Failure;
use mica_api::types::container::{ContainerConfig, CreateRequest};
use mica_api::types::host_config::{HostConfig, SHM_SIZE_DEFAULT};

/// When an image is fetched before its container is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pull {
    /// Every time.
    Always,
    /// When it is not there.
    Missing,
    /// Never; its absence is an error.
    Never,
}

/// What was typed to define a container.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The engine's request.
    pub request: CreateRequest,
    /// When to fetch the image.
    pub pull: Pull,
    /// Say nothing while fetching.
    pub is_pull_quiet: bool,
    /// Where to write the id; nowhere if absent.
    pub cid_file: Option<String>,
}

impl Definition {
    /// Reads the flags and operands of `run` or `create`.
    ///
    /// # Errors
    /// Flags that exclude each other, files that cannot be read.
    pub fn from(matches: &Matches, context: &Context<'_>) -> Result<Self, Failure> {
        if image::pull::refuse_content_trust(matches).is_err() {
            return Err(Failure::refused_launch(
                "signatures of Notary are not verified: --disable-content-trust cannot be false",
            ));
        }
        resources::tell_deprecated(matches, context);
        let mut config = config(matches, context).map_err(into_launch)?;
        let mut host_config = host_config(matches)?;
        let networking_config = network::apply(matches, &mut config, &mut host_config)?;
        let mut request = CreateRequest {
            name: matches.text_or_empty("name"),
            platform: matches.text("platform").unwrap_or_else(|| context.config.platform()),
            config,
            host_config,
            networking_config,
        };
        volumes::apply(matches, &mut request.config, &mut request.host_config)?;
        Ok(Self {
            request,
            pull: pull(matches)?,
            is_pull_quiet: matches.on("quiet"),
            cid_file: matches.text("cidfile").filter(|path| !path.is_empty()),
        })
    }
}

fn config(matches: &Matches, context: &Context<'_>) -> Result<ContainerConfig, Failure> {
    let mut operands = matches.operands().into_iter();
    let image = operands.next().unwrap_or_default();
    let command: Vec<_> = operands.collect();
    let streams = matches.list("attach");
    let attaches = |stream: &str, by_default| match streams.as_slice() {
        [] => by_default,
        streams => streams.iter().any(|typed| typed == stream),
    };
    let is_interactive = matches.on("interactive");
    let mut typed = matches.list("env");
    let names: Vec<String> =
        typed.iter().map(|pair| pair.split('=').next().unwrap_or_default().to_owned()).collect();
    let proxies = proxy::variables(&context.file().proxies, |name| names.iter().any(|own| own == name));
    typed.extend(proxies.into_iter().map(|(name, value)| format!("{name}={value}")));
    let environment = variables::environment(&matches.list("env-file"), &typed, &context.config.environment)?;
    let labels = variables::labels(&matches.list("label-file"), &matches.list("label"))?;
    let attach_stdin = attaches("stdin", is_interactive);
    let mut config = ContainerConfig {
        hostname: matches.text_or_empty("hostname"),
        domainname: matches.text_or_empty("domainname"),
        user: matches.text_or_empty("user"),
        attach_stdin,
        attach_stdout: attaches("stdout", true),
        attach_stderr: attaches("stderr", true),
        tty: matches.on("tty"),
        open_stdin: is_interactive,
        stdin_once: is_interactive && attach_stdin,
        env: Some(environment).filter(|environment| !environment.is_empty()),
        cmd: Some(command).filter(|command| !command.is_empty()),
        image,
        working_dir: matches.text_or_empty("workdir"),
        // An empty one takes the image's away, which only a list that is not empty can say.
        entrypoint: matches.text("entrypoint").map(|program| vec![program]),
        labels: Some(labels),
        stop_signal: matches.text("stop-signal").filter(|signal| !signal.is_empty()),
        stop_timeout: matches.number("stop-timeout"),
        ..ContainerConfig::default()
    };
    health::apply(matches, &mut config)?;
    Ok(config)
}

fn host_config(matches: &Matches) -> Result<HostConfig, Failure> {
    let mut resources = resources::from(matches);
    block_io::apply(matches, &mut resources);
    if let Some(swappiness) = resources.memory_swappiness.filter(|value| !(0..=100).contains(value)) {
        let message = format!("invalid value: {swappiness}. Valid memory swappiness range is 0-100");
        return Err(Failure::refused_launch(message));
    }
    let security = security::from(&matches.list("security-opt"))?;
    let system_paths = security.has_open_system_paths.then(Vec::new);
    let mut host = HostConfig {
        container_id_file: matches.text_or_empty("cidfile"),
        log_config: logging::from(matches)?,
        auto_remove: matches.on("rm"),
        readonly_rootfs: matches.on("read-only"),
        shm_size: matches.number("shm-size").filter(|size| *size != 0).unwrap_or(SHM_SIZE_DEFAULT),
        security_opt: Some(security.options).filter(|options| !options.is_empty()),
        masked_paths: system_paths.clone(),
        readonly_paths: system_paths,
        resources,
        ..HostConfig::default()
    };
    isolation::apply(matches, &mut host);
    life::apply(matches, &mut host)?;
    sharing::apply(matches, &mut host);
    gpus::apply(matches, &mut host);
    Ok(host)
}

fn pull(matches: &Matches) -> Result<Pull, Failure> {
    match matches.text("pull").as_deref() {
        Some("always") => Ok(Pull::Always),
        None | Some("missing" | "") => Ok(Pull::Missing),
        Some("never") => Ok(Pull::Never),
        Some(other) => Err(Failure::refused_launch(format!(
            "invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\""
        ))),
    }
}

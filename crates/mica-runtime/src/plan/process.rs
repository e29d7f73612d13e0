//! One process of a container: what to run, as whom, with which rights.

use super::capability::CapabilitySets;
use super::container::PlanError;
use crate::seccomp::Filter;
use oci_spec::runtime::Process;
use serde::{Deserialize, Serialize};

/// A checked OCI `process`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProcessPlan {
    /// Program and arguments; never empty, no NUL in any.
    pub(crate) arguments: Vec<String>,
    /// `KEY=value` pairs, no NUL in any.
    pub(crate) environment: Vec<String>,
    /// Absolute working directory.
    pub(crate) directory: String,
    /// Whether it gets a terminal.
    pub(crate) terminal: bool,
    /// User id when no name is to be looked up.
    pub(crate) uid: u32,
    /// Group id when no name is to be looked up.
    pub(crate) gid: u32,
    /// Supplementary groups.
    pub(crate) groups: Vec<u32>,
    /// File mode creation mask.
    pub(crate) umask: u32,
    /// Capabilities; a document without any gives none.
    pub(crate) capabilities: CapabilitySets,
    /// Resource limits.
    pub(crate) limits: Vec<Limit>,
    /// Whether exec may gain no rights.
    pub(crate) no_new_privileges: bool,
    /// Which system calls it may make; `None` is any.
    pub(crate) filter: Option<Filter>,
    /// How likely the process is killed when memory runs out.
    pub(crate) oom_score_adjust: Option<i32>,
}

/// A resource limit (prlimit(2)).
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Limit {
    /// `RLIMIT_*` number.
    pub(crate) resource: u32,
    /// Limit in force; `u64::MAX` is none.
    pub(crate) soft: u64,
    /// Ceiling; `u64::MAX` is none.
    pub(crate) hard: u64,
}

/// `RLIMIT_*` in the order of their numbers on x86-64 and arm64 (`asm-generic/resource.h`).
const LIMITS: [&str; 16] = [
    "CPU",
    "FSIZE",
    "DATA",
    "STACK",
    "CORE",
    "RSS",
    "NPROC",
    "NOFILE",
    "MEMLOCK",
    "AS",
    "LOCKS",
    "SIGPENDING",
    "MSGQUEUE",
    "NICE",
    "RTPRIO",
    "RTTIME",
];

impl ProcessPlan {
    /// Checks and converts an OCI process.
    pub fn from_oci(process: &Process) -> Result<Self, PlanError> {
        refuse_unsupported(process)?;
        let arguments = process.args().clone().unwrap_or_default();
        if arguments.is_empty() {
            return Err(PlanError::Missing { field: "process.args" });
        }
        let environment = process.env().clone().unwrap_or_default();
        no_nul("process.args", &arguments)?;
        no_nul("process.env", &environment)?;
        let directory = super::container::absolute("process.cwd", process.cwd())?;
        let user = process.user();
        Ok(Self {
            arguments,
            environment,
            directory,
            terminal: process.terminal().unwrap_or(false),
            uid: user.uid(),
            gid: user.gid(),
            groups: user.additional_gids().clone().unwrap_or_default(),
            umask: user.umask().unwrap_or(0o022),
            capabilities: match process.capabilities() {
                Some(sets) => CapabilitySets::from_oci(sets)?,
                None => CapabilitySets::default(),
            },
            limits: process.rlimits().iter().flatten().map(limit).collect::<Result<_, _>>()?,
            no_new_privileges: process.no_new_privileges().unwrap_or(false),
            filter: None,
            oom_score_adjust: process.oom_score_adj(),
        })
    }

    /// Leaves out the capabilities that this process itself could not gain: on a machine whose root is limited, or
    /// whose kernel lacks some, "all of them" means all that there are.
    #[must_use]
    pub fn with_rights_we_hold(mut self) -> Self {
        self.capabilities = self.capabilities.within(super::capability::bounding_set());
        self
    }

    /// Which system calls it may make. A filter may depend on [`Self::bounding_set`], so it comes last.
    #[must_use]
    pub fn with_filter(mut self, filter: Option<Filter>) -> Self {
        self.filter = filter;
        self
    }

    /// The capabilities that it can ever gain, as a mask.
    pub fn bounding_set(&self) -> u64 {
        self.capabilities.bounding
    }

    /// Whether it gets a terminal.
    pub fn has_terminal(&self) -> bool {
        self.terminal
    }
}

fn refuse_unsupported(process: &Process) -> Result<(), PlanError> {
    let fields = [
        ("process.apparmorProfile", process.apparmor_profile().is_some()),
        ("process.selinuxLabel", process.selinux_label().is_some()),
        ("process.ioPriority", process.io_priority().is_some()),
        ("process.scheduler", process.scheduler().is_some()),
        ("process.execCPUAffinity", process.exec_cpu_affinity().is_some()),
    ];
    super::container::refuse_present(&fields)
}

fn limit(document: &oci_spec::runtime::PosixRlimit) -> Result<Limit, PlanError> {
    let name = document.typ().to_string();
    let bare = name.strip_prefix("RLIMIT_").unwrap_or(&name);
    let number = LIMITS
        .iter()
        .position(|known| *known == bare)
        .ok_or_else(|| PlanError::Invalid { field: "process.rlimits", value: name.clone() })?;
    Ok(Limit { resource: number as u32, soft: document.soft(), hard: document.hard() })
}

fn no_nul(field: &'static str, texts: &[String]) -> Result<(), PlanError> {
    match texts.iter().find(|text| text.contains('\0')) {
        Some(text) => Err(PlanError::Invalid { field, value: text.clone() }),
        None => Ok(()),
    }
}

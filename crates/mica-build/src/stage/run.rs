//! `RUN`: the command, its variables and its mounts.

use super::{StageRun, Step};
use crate::cache;
use crate::dockerfile::instruction::{Program, Run, RunNetwork, RunSecurity};
use crate::dockerfile::mount::{Mount, MountKind};
use crate::dockerfile::scope::PROXY_ARGUMENTS;
use crate::dockerfile::{DeviceWish, Instruction};
use crate::plan::PlanProblem;
use crate::solve::{Site, SolveError};
use crate::worker::{Access, CacheMount, Mounted, Network, Origin, RunMount, RunStep, Worker};

/// The argument that keeps the caches of some builds apart from those of others.
const CACHE_ROOM_ARGUMENT: &str = "BUILDKIT_CACHE_MOUNT_NS";

impl StageRun<'_> {
    pub(super) fn run<W: Worker>(
        &mut self,
        site: &Site<'_, W>,
        instruction: &Instruction,
        (run, mounts): (&Run, &[Mount]),
    ) -> Result<(), SolveError<W::Error>> {
        let step = self.run_step(site, instruction, (run, mounts))?;
        let shown = instruction.text.clone();
        let created_by = self.created_by(&step);
        let mut key = cache::of_run(&self.image.root, &step).text(&self.plan.options.run_settings);
        for mount in &step.mounts {
            let (origin, path) = match &mount.what {
                Mounted::Files { origin, path } => (origin, path.as_str()),
                _ => continue,
            };
            if matches!(origin, Origin::Root(_)) {
                continue;
            }
            let digest = site.worker.digest_files(origin, path);
            let failed =
                |source| SolveError::Step { name: shown.clone(), span: Some(instruction.span), source };
            key = key.digest(&digest.map_err(failed)?);
        }
        let root = self.image.root.clone();
        let step_text = Step { span: instruction.span, shown, created_by };
        let ahead = self.copies_ahead();
        self.change(site, step_text, &[key.finish()], |number| {
            if ahead.is_empty() {
                return site.worker.run(&root, &step, number);
            }
            std::thread::scope(|scope| {
                // What is wrong with one of them is told when its turn comes.
                scope.spawn(|| {
                    let open = ahead.iter().take_while(|_| !site.is_cancelled());
                    open.for_each(|copy| drop(site.worker.digest_sources(copy)));
                });
                site.worker.run(&root, &step, number)
            })
        })
    }

    fn run_step<W: Worker>(
        &self,
        site: &Site<'_, W>,
        instruction: &Instruction,
        (run, written): (&Run, &[Mount]),
    ) -> Result<RunStep, SolveError<W::Error>> {
        let config = self.config();
        let with_shell = |text| {
            let mut arguments = config.shell();
            arguments.push(text);
            arguments
        };
        let mut script = None;
        let arguments = match run.program() {
            Program::Exec(words) => words,
            Program::Shell(text) => with_shell(text),
            Program::Script { name, content } => {
                let path = format!("/dev/pipes/{name}");
                script = Some((name, content));
                with_shell(path)
            }
        };
        // One that an `ARG` names is a variable like any other.
        let is_proxy = |name: &str| PROXY_ARGUMENTS.contains(&name) && !self.scope.is_declared(name);
        let seen = self.scope.run_environment().pairs().filter(|(name, _)| !is_proxy(name));
        let environment = seen.map(|(name, value)| format!("{name}={value}")).collect();
        let proxies = self.plan.globals.proxies().map(|(name, value)| format!("{name}={value}"));
        let devices = run.devices.iter().map(|device| {
            DeviceWish::parse(&device.value).map_err(|problem| SolveError::Wrong {
                problem: PlanProblem::Language(problem.into()),
                span: Some(device.span),
            })
        });
        let devices = devices.collect::<Result<Vec<_>, _>>()?;
        let mut mounts = Vec::new();
        for mount in written {
            mounts.push(self.mount(site, instruction, mount)?);
        }
        Ok(RunStep {
            arguments,
            environment,
            proxies: proxies.collect(),
            directory: config.working_dir.clone(),
            user: config.user.clone(),
            mounts,
            network: match run.network.as_ref().map(|network| network.value) {
                None | Some(RunNetwork::Default) => Network::Default,
                Some(RunNetwork::None) => Network::None,
                Some(RunNetwork::Host) => Network::Host,
            },
            is_insecure: run
                .security
                .as_ref()
                .is_some_and(|security| security.value == RunSecurity::Insecure),
            script,
            devices,
        })
    }

    fn mount<W: Worker>(
        &self,
        site: &Site<'_, W>,
        instruction: &Instruction,
        mount: &Mount,
    ) -> Result<RunMount, SolveError<W::Error>> {
        let config = self.config();
        let target = mount.target.as_deref().map(|target| config.absolute(target));
        let access = |mode| Access {
            mode: mount.mode.unwrap_or(mode),
            user: mount.user_id.unwrap_or(0),
            group: mount.group_id.unwrap_or(0),
        };
        let origin = match &mount.from {
            Some(name) => Some(self.origin(site, (name, instruction))?),
            None => None,
        };
        let path = mount.source.clone().unwrap_or_else(|| "/".to_owned());
        let (target, what) = match mount.kind {
            MountKind::Bind => (target, Mounted::Files { origin: origin.unwrap_or(Origin::Context), path }),
            MountKind::Cache => {
                let id = mount.id.clone().unwrap_or_else(|| target.clone().unwrap_or_default());
                let id = match self.plan.options.arguments.get(CACHE_ROOM_ARGUMENT) {
                    Some(room) if !room.is_empty() => format!("{room}/{id}"),
                    _ => id,
                };
                let access = access(0o755);
                (target, Mounted::Cache(CacheMount { id, sharing: mount.sharing, origin, path, access }))
            }
            MountKind::Tmpfs => (target, Mounted::Memory { size_bytes: mount.size_bytes }),
            MountKind::Secret => secret(mount, target, access(0o400)),
            MountKind::Ssh => {
                let id = mount.id.clone().unwrap_or_else(|| "default".to_owned());
                let target = target.or_else(|| Some("/run/buildkit/ssh_agent.0".to_owned()));
                (target, Mounted::Agent { id, access: access(0o600), is_required: mount.required })
            }
        };
        Ok(RunMount { target: target.unwrap_or_default(), what, is_read_only: mount.read_only })
    }

    /// What histories say of a command: its arguments, and those of the build that it saw.
    fn created_by(&self, step: &RunStep) -> String {
        let seen: Vec<String> = self
            .scope
            .arguments()
            .map(|(name, value)| format!("{name}={}", value.unwrap_or_default()))
            .collect();
        let arguments = step.arguments.join(" ");
        match seen.len() {
            0 => format!("RUN {arguments} # buildkit"),
            count => format!("RUN |{count} {} {arguments} # buildkit", seen.join(" ")),
        }
    }
}

/// A secret is a file below `/run/secrets` unless it is only a variable.
fn secret(mount: &Mount, target: Option<String>, access: Access) -> (Option<String>, Mounted) {
    let name_of = |path: &String| path.rsplit('/').next().unwrap_or_default().to_owned();
    let id = mount.id.clone().or_else(|| mount.source.clone()).or_else(|| target.as_ref().map(name_of));
    let id = id.unwrap_or_default();
    let target = match (&target, &mount.variable) {
        (None, Some(_)) => None,
        (None, None) => Some(format!("/run/secrets/{}", name_of(&id))),
        (Some(_), _) => target,
    };
    let variable = mount.variable.clone();
    (target, Mounted::Secret { id, variable, access, is_required: mount.required })
}

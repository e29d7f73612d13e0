//! Kernel settings and limits of the process.

use super::root::{Links, open_inside};
use super::{Chapter, at};
use crate::error::{SetupError, SetupStep};
use crate::plan::ProcessPlan;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, PROC_SUPER_MAGIC, openat};
use rustix::io::Errno;

/// Writes settings through the container's own, still untouched `/proc`.
pub(super) fn sysctls(proc: Option<&OwnedFd>, settings: &[(String, String)]) -> Chapter {
    for (name, value) in settings {
        let failed = |errno| SetupError::new(SetupStep::Sysctl, name.clone(), errno);
        let proc = proc.ok_or_else(|| failed(Errno::NODEV))?;
        // A slash within a name stands for a dot in it, as sysctl(8) has it.
        let path = if name.contains('/') { name.clone() } else { name.replace('.', "/") };
        let file = open_inside(proc.as_fd(), &format!("/sys/{path}"), OFlags::WRONLY, Links::Refuse);
        rustix::io::write(file.map_err(failed)?, value.as_bytes()).map_err(failed)?;
    }
    Ok(())
}

/// Sets limits that only a privileged process can set: of this process, or of the one with `pid`.
pub(crate) fn limits(process: &ProcessPlan, pid: Option<u32>) -> Chapter {
    if let Some(score) = process.oom_score_adjust {
        let failed = |errno| SetupError::new(SetupStep::Limit, "oom_score_adj", errno);
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let path = match pid {
            Some(pid) => format!("/proc/{pid}/oom_score_adj"),
            None => "/proc/self/oom_score_adj".to_owned(),
        };
        let file = openat(CWD, path, flags, Mode::empty()).map_err(failed)?;
        // A container can mount anything there before a further process of it starts.
        if rustix::fs::fstatfs(&file).map_err(failed)?.f_type != PROC_SUPER_MAGIC {
            return Err(failed(Errno::NODEV));
        }
        rustix::io::write(&file, score.to_string().as_bytes()).map_err(failed)?;
    }
    for limit in &process.limits {
        mica_sys::process::limit(pid.unwrap_or(0), limit.resource, limit.soft, limit.hard)
            .map_err(at(SetupStep::Limit, limit.resource.to_string()))?;
    }
    Ok(())
}

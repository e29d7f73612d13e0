//! The last chapter: from our code to the container's program.

use super::credentials::Admin;
use super::root::{Links, Root};
use super::user::{self, Identity};
use super::{Chapter, at, credentials, settings, steward};
use crate::error::{SetupError, SetupStep};
use crate::order::ChildOrder;
use crate::plan::ProcessPlan;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::{Access, AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, makedev, openat};
use rustix::io::Errno;
use rustix::process::{Signal, set_parent_process_death_signal};
use std::convert::Infallible;
use std::ffi::{CStr, CString};

/// The search path of a program whose environment names none (docker's default).
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Who sets the limits of a process: inside a user namespace nobody can raise them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limits {
    ToSet,
    AreSet,
}

/// Takes on everything that the order says and executes its program.
pub(super) fn become_it(
    order: &ChildOrder,
    streams: [Option<OwnedFd>; 3],
    channel: &OwnedFd,
    limits: Limits,
) -> Chapter<Infallible> {
    let process = &order.process;
    let root = Root::current().map_err(at(SetupStep::Directory, "/"))?;
    let identity = user::identify(&root.descriptor, process, order.user.as_deref(), &order.groups)?;
    if order.container.as_ref().is_some_and(|birth| birth.init) {
        steward::stand_before(process, &identity, channel, limits)?;
    }
    rustix::process::setsid().map_err(at(SetupStep::Streams, "session"))?;
    connect(streams, process, &identity)?;
    if limits == Limits::ToSet {
        settings::limits(process, None)?;
    }
    rustix::process::umask(Mode::from_raw_mode(process.umask));
    enter_directory(&root, &process.directory)?;
    drop(root);
    let environment = environment(process, &identity);
    let admin = take_rights(process, &identity, channel)?;
    let path = variable(&environment, "PATH").unwrap_or(PATH_DEFAULT);
    let program = find_program(&process.arguments[0], path)?;
    mica_sys::signal::reset_all();
    mica_sys::process::close_on_exec_from(3).map_err(at(SetupStep::Streams, "close"))?;
    load_filter(process, admin)?;
    execute(&program, &process.arguments, &environment)
}

/// Becomes the user with the rights of the plan, all but the filter.
pub(super) fn take_rights(process: &ProcessPlan, identity: &Identity, channel: &OwnedFd) -> Chapter<Admin> {
    if process.no_new_privileges {
        rustix::thread::set_no_new_privs(true).map_err(at(SetupStep::Credentials, "no new privileges"))?;
    }
    let admin = match &process.filter {
        Some(_) if !process.no_new_privileges => Admin::UntilFiltered,
        _ => Admin::AsPlanned,
    };
    credentials::take(identity, &process.capabilities, admin)?;
    end_with_parent(channel)?;
    Ok(admin)
}

/// After the change of user, which clears it. A monitor that is killed takes its process along, so
/// that nothing runs unwatched. A program that changes its own user clears it again: such a
/// container survives its monitor until the next command that looks at it ends it.
fn end_with_parent(channel: &OwnedFd) -> Chapter {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(at(SetupStep::Credentials, "parent"))?;
    // A monitor that was killed before could send no signal any more, but its end of the channel is gone.
    let mut set = [PollFd::new(channel, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut set, Some(&now)) {
        Ok(ready) if ready > 0 => Err(at(SetupStep::Credentials, "parent")(Errno::SRCH)),
        _ => Ok(()),
    }
}

/// As late as can be: what precedes it needs calls that a filter may forbid.
pub(super) fn load_filter(process: &ProcessPlan, admin: Admin) -> Chapter {
    let Some(filter) = &process.filter else { return Ok(()) };
    mica_sys::seccomp::load(filter.code(), filter.flags()).map_err(at(SetupStep::Filter, ""))?;
    credentials::finish(&process.capabilities, admin)
}

/// Puts the streams on descriptors 0 to 2 and hands them to their user.
fn connect(streams: [Option<OwnedFd>; 3], process: &ProcessPlan, identity: &Identity) -> Chapter {
    let failed = |errno| SetupError::new(SetupStep::Streams, "", errno);
    let [stdin, stdout, stderr] = streams;
    let owner = Some(Uid::from_raw(identity.uid));
    // So that /dev/stdout can be opened again by a user that is not root.
    for stream in [&stdin, &stdout, &stderr].into_iter().flatten() {
        let _ = rustix::fs::fchown(stream, owner, None::<Gid>);
    }
    match stdin.or_else(null) {
        Some(stdin) => rustix::stdio::dup2_stdin(&stdin).map_err(failed)?,
        None => rustix::io::fcntl_setfd(std::io::stdin(), rustix::io::FdFlags::empty()).map_err(failed)?,
    }
    if let Some(stdout) = stdout {
        rustix::stdio::dup2_stdout(&stdout).map_err(failed)?;
    }
    if let Some(stderr) = stderr {
        rustix::stdio::dup2_stderr(&stderr).map_err(failed)?;
    }
    if process.terminal {
        rustix::process::ioctl_tiocsctty(std::io::stdin()).map_err(at(SetupStep::Terminal, "control"))?;
    }
    Ok(())
}

/// The container's own null device, if that is what it has there; else the inherited one stays.
fn null() -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let null = openat(CWD, "/dev/null", flags, Mode::empty()).ok()?;
    let status = rustix::fs::fstat(&null).ok()?;
    let is_null = FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice
        && status.st_rdev == makedev(1, 3);
    is_null.then_some(null)
}

/// Changes to the working directory. Links to open descriptors are not followed: they could lead to
/// the host.
fn enter_directory(root: &Root, directory: &str) -> Chapter {
    let failed = |errno| SetupError::new(SetupStep::Directory, directory, errno);
    let place = root.open(directory, Links::Follow).map_err(failed)?;
    rustix::process::fchdir(&place).map_err(failed)
}

/// The plan's environment with what every process expects.
fn environment(process: &ProcessPlan, identity: &Identity) -> Vec<String> {
    let mut environment = process.environment.clone();
    if variable(&environment, "HOME").is_none() {
        let home = identity.home.as_deref().filter(|home| !home.is_empty() && !home.contains('\0'));
        environment.push(format!("HOME={}", home.unwrap_or("/")));
    }
    if process.terminal && variable(&environment, "TERM").is_none() {
        environment.push("TERM=xterm".to_owned());
    }
    environment
}

fn variable<'a>(environment: &'a [String], name: &str) -> Option<&'a str> {
    environment
        .iter()
        .rev()
        .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
        .map(|pair| pair.1)
}

fn find_program(name: &str, path: &str) -> Chapter<CString> {
    let missing = || SetupError::new(SetupStep::CommandNotFound, name, Errno::NOENT);
    if name.is_empty() {
        return Err(missing());
    }
    let text = |path: &str| CString::new(path).map_err(|_| missing());
    if name.contains('/') {
        let program = text(name)?;
        return match check(&program) {
            Ok(()) => Ok(program),
            Err(errno) => Err(refusal(name, errno)),
        };
    }
    for directory in path.split(':') {
        let directory = if directory.is_empty() { "." } else { directory };
        let program = text(&format!("{directory}/{name}"))?;
        if check(&program).is_ok() {
            return Ok(program);
        }
    }
    Err(missing())
}

/// Whether a file can be a program; the kernel's own refusal of a directory would be less clear.
fn check(program: &CStr) -> Result<(), Errno> {
    let status = rustix::fs::stat(program)?;
    if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    rustix::fs::accessat(CWD, program, Access::EXEC_OK, AtFlags::EACCESS)
}

fn refusal(name: &str, errno: Errno) -> SetupError {
    let step = match errno {
        Errno::NOENT => SetupStep::CommandNotFound,
        _ => SetupStep::CannotExecute,
    };
    SetupError::new(step, name, errno)
}

fn execute(program: &CStr, arguments: &[String], environment: &[String]) -> Chapter<Infallible> {
    let texts = |texts: &[String]| -> Vec<CString> {
        texts.iter().filter_map(|text| CString::new(text.as_str()).ok()).collect()
    };
    let (owned_arguments, owned_environment) = (texts(arguments), texts(environment));
    let arguments: Vec<&CStr> = owned_arguments.iter().map(CString::as_c_str).collect();
    let environment: Vec<&CStr> = owned_environment.iter().map(CString::as_c_str).collect();
    let errno = mica_sys::process::execute(program, &arguments, &environment);
    Err(refusal(&program.to_string_lossy(), errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_searched_as_a_shell_does() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        std::fs::write(directory.path().join("plain"), "").unwrap();
        std::fs::create_dir(directory.path().join("tool")).unwrap();
        let step = |name: &str| find_program(name, path).map_err(|error| (error.step, error.errno));
        assert_eq!(step("nope"), Err((SetupStep::CommandNotFound, Errno::NOENT.raw_os_error())));
        assert_eq!(step("tool"), Err((SetupStep::CommandNotFound, Errno::NOENT.raw_os_error())));
        let direct = |name: &str| step(&format!("{path}/{name}"));
        assert_eq!(direct("nope"), Err((SetupStep::CommandNotFound, Errno::NOENT.raw_os_error())));
        assert_eq!(direct("tool"), Err((SetupStep::CannotExecute, Errno::ISDIR.raw_os_error())));
        assert_eq!(direct("plain"), Err((SetupStep::CannotExecute, Errno::ACCESS.raw_os_error())));
        assert!(find_program("sh", PATH_DEFAULT).is_ok());
    }

    #[test]
    fn the_last_setting_of_a_variable_counts() {
        let environment = ["PATH=/a".to_owned(), "PATH=/b".to_owned(), "PATHS=/c".to_owned()];
        assert_eq!(variable(&environment, "PATH"), Some("/b"));
        assert_eq!(variable(&environment, "HOME"), None);
    }
}

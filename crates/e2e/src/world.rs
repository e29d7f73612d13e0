//! One engine of one's own: a root and a run-time directory that nobody else uses, and the binary pointed at them.

use crate::fixture;
use crate::invocation::Invocation;
use crate::leak;
use crate::output::Output;
use crate::terminal::Terminal;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// Where worlds are made unless `MICA_TEST_DIRECTORY` says otherwise: on a disk, as overlay wants one.
const PARENT_DEFAULT: &str = "/var/tmp";

/// A sealed engine.
#[derive(Debug)]
pub struct World {
    directory: Option<TempDir>,
    program: PathBuf,
    environment: Vec<(OsString, OsString)>,
    containers: RefCell<BTreeSet<String>>,
}

impl World {
    /// A world with nothing in it.
    ///
    /// # Panics
    /// If the disk refuses, or there is no binary to test.
    #[expect(
        clippy::new_without_default,
        reason = "a world takes up disk space, which nobody expects of a default"
    )]
    pub fn new() -> Self {
        enter_own_network();
        let parent = std::env::var_os("MICA_TEST_DIRECTORY").unwrap_or_else(|| PARENT_DEFAULT.into());
        let directory = tempfile::Builder::new()
            .prefix("mica-world-")
            .tempdir_in(parent)
            .expect("a directory for the world");
        let path = directory.path();
        for name in ["root", "run", "home", "tmp"] {
            fs::create_dir(path.join(name)).expect("a directory in the world");
        }
        let pairs: [(&str, OsString); 8] = [
            ("MICA_ROOT", path.join("root").into()),
            ("MICA_RUN", path.join("run").into()),
            ("MICA_CONFIG", path.join("config.toml").into()),
            ("HOME", path.join("home").into()),
            ("TMPDIR", path.join("tmp").into()),
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()),
            ("LC_ALL", "C.UTF-8".into()),
            ("TZ", "UTC".into()),
        ];
        let environment = pairs.into_iter().map(|(name, value)| (name.into(), value)).collect();
        Self {
            directory: Some(directory),
            program: fixture::binary(),
            environment,
            containers: RefCell::default(),
        }
    }

    /// A world with the busybox image in it.
    ///
    /// # Panics
    /// If the image cannot be loaded.
    #[track_caller]
    pub fn with_busybox() -> Self {
        let world = Self::new();
        world.load_busybox();
        world
    }

    /// Loads the busybox image, named `busybox`.
    ///
    /// # Panics
    /// If it cannot be loaded.
    #[track_caller]
    pub fn load_busybox(&self) {
        let archive = fixture::busybox_archive().expect("the busybox image; is `busybox-static` installed?");
        self.mica(["load".into(), "-q".into(), "-i".into(), archive.into_os_string()]).success();
    }

    /// Imports the Debian root, named `debian:minbase`.
    ///
    /// # Panics
    /// If it cannot be imported.
    #[track_caller]
    pub fn import_debian(&self) {
        let root = fixture::debian_root().expect("the Debian root; `cargo xtask test` makes it");
        self.mica(["import".as_ref(), root.as_os_str(), fixture::DEBIAN.as_ref()]).success();
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// If it hangs.
    #[track_caller]
    pub fn mica<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Output {
        self.invoke(arguments).run()
    }

    /// A command with more to be said about it: input, environment, time limit, left running.
    pub fn invoke<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Invocation {
        Invocation::new(&self.program, owned(arguments), &self.environment)
    }

    /// A directory with this Dockerfile in it, in the place of the one before.
    ///
    /// # Panics
    /// If the disk refuses.
    pub fn context(&self, dockerfile: &str) -> PathBuf {
        let directory = self.scratch().join("context");
        fs::create_dir_all(&directory).expect("a directory for the build");
        fs::write(directory.join("Dockerfile"), dockerfile).expect("a Dockerfile");
        directory
    }

    /// A command that another program runs, such as `strace`, which has `leading` arguments of its own.
    pub fn invoke_by<A: AsRef<OsStr>>(
        &self,
        program: &str,
        leading: &[&str],
        arguments: impl IntoIterator<Item = A>,
    ) -> Invocation {
        let mut all = owned(leading);
        all.push(self.program.clone().into());
        all.extend(owned(arguments));
        Invocation::new(Path::new(program), all, &self.environment)
    }

    /// Runs a command on a terminal.
    ///
    /// # Panics
    /// If there is no terminal to be had.
    pub fn terminal<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Terminal {
        let mut environment = self.environment.clone();
        environment.push(("TERM".into(), "xterm".into()));
        Terminal::start(&self.program, owned(arguments), &environment)
    }

    /// Starts a container in the background that lives until it is told to end; returns its id.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    pub fn sleeper(&self, name: &str) -> String {
        // `sleep` as process 1 has no handler for SIGTERM; a shell with a trap ends willingly, once it has set it.
        let script = "trap 'exit 0' TERM; echo ready; sleep 1000 & wait";
        let id = self.mica(["run", "-d", "--name", name, "busybox", "sh", "-c", script]).success().line();
        self.await_log(name, "ready");
        id
    }

    /// Waits until a container has said something.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn await_log(&self, container: &str, part: &str) {
        self.invoke(["logs", "-f", container]).spawn().stdout_until(part, Duration::from_secs(30));
    }

    /// One value of `inspect`.
    ///
    /// # Panics
    /// If there is no such object.
    #[track_caller]
    pub fn inspect(&self, object: &str, template: &str) -> String {
        self.mica(["inspect", "--format", template, object]).success().line()
    }

    /// The directory that holds everything of this world.
    pub fn directory(&self) -> &Path {
        self.directory.as_ref().map_or(Path::new("/nonexistent"), TempDir::path)
    }

    /// A directory that tests may write to.
    pub fn scratch(&self) -> PathBuf {
        self.directory().join("tmp")
    }

    /// The engine's root.
    pub fn root(&self) -> PathBuf {
        self.directory().join("root")
    }

    /// The engine's run-time directory.
    pub fn run_directory(&self) -> PathBuf {
        self.directory().join("run")
    }

    /// Remembers a container, so that its cgroups are looked for at the end; containers that are still listed then are
    /// remembered by themselves.
    pub fn remember(&self, id: &str) {
        self.containers.borrow_mut().insert(id.to_owned());
    }

    /// Removes all containers and checks that nothing of this world is left running or mounted.
    ///
    /// # Panics
    /// If something is. A world that is dropped does the same.
    pub fn close(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(directory) = self.directory.take() else { return };
        let path = directory.path().canonicalize().unwrap_or_else(|_| directory.path().to_path_buf());
        let listed = self.mica(["ps", "-a", "-q", "--no-trunc"]);
        let ids = listed.lines();
        self.containers.borrow_mut().extend(ids.iter().cloned());
        let removed = (!ids.is_empty())
            .then(|| self.mica(["rm".to_owned(), "-f".to_owned(), "-v".to_owned()].into_iter().chain(ids)));
        let left = leak::left_behind(&path, &self.containers.borrow());
        if std::thread::panicking() {
            return;
        }
        listed.success();
        if let Some(output) = removed {
            output.success();
        }
        assert!(left.is_empty(), "left behind:\n{}", left.join("\n"));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.end();
    }
}

thread_local! {
    /// Whether this thread, and so the test, has left the machine's network.
    static HAS_OWN_NETWORK: Cell<bool> = const { Cell::new(false) };
}

/// Gives the test a network namespace of its own: bridges, rules and switches of its engines are seen
/// by nobody else and go with it. Whatever the test starts from this thread is in it too. Without the
/// rights to it no container runs either.
fn enter_own_network() {
    let is_first = !HAS_OWN_NETWORK.replace(true);
    if is_first && mica_sys::network::enter_new().is_ok() {
        mica_sys::network::loopback_up().expect("a loopback link in the test's network");
    }
}

fn owned<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Vec<OsString> {
    arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect()
}

//! The registry that Debian has, on a port of its own, with a password and TLS or without.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The user that a registry with passwords knows.
pub const USER: &str = "somebody";
/// The password of [`USER`].
pub const PASSWORD: &str = "correct-horse-battery";

/// How a registry is set up.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setup {
    /// Asks for a name and a password.
    pub password: bool,
    /// Speaks TLS, with a certificate of its own authority.
    pub tls: bool,
}

/// A running registry, gone with all that it holds when it is dropped.
#[derive(Debug)]
pub struct DockerRegistry {
    process: Option<Child>,
    directory: TempDir,
    address: String,
}

impl DockerRegistry {
    /// Whether the program is installed; says what is skipped if not.
    pub fn is_installed() -> bool {
        let found = Path::new("/usr/bin/docker-registry").is_file();
        if !found {
            eprintln!("skipped: docker-registry is not installed, `cargo xtask test` would install it");
        }
        found
    }

    /// An open registry on 127.0.0.1.
    ///
    /// # Panics
    /// If it does not start.
    pub fn new() -> Self {
        Self::start("127.0.0.1", Setup::default())
    }

    /// A registry on some address of this machine.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(host: &str, setup: Setup) -> Self {
        let directory = tempfile::Builder::new().prefix("mica-registry-").tempdir_in("/var/tmp");
        let directory = directory.expect("a directory for the registry");
        let port =
            TcpListener::bind((host, 0)).expect("a free port").local_addr().expect("an address").port();
        let mut registry = Self { process: None, directory, address: format!("{host}:{port}") };
        if setup.tls {
            registry.make_certificates(host);
        }
        fs::write(registry.path("config.yml"), registry.configuration(setup)).expect("its configuration");
        registry.resume();
        registry
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn configuration(&self, setup: Setup) -> String {
        let path = |name: &str| self.path(name).display().to_string();
        let mut text = format!(
            "version: 0.1\nlog:\n  level: warn\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    \
             rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: {}\n",
            path("data"),
            self.address
        );
        if setup.tls {
            text += &format!(
                "  tls:\n    certificate: {}\n    key: {}\n",
                path("server.crt"),
                path("server.key")
            );
        }
        if setup.password {
            let output = run(Command::new("htpasswd").args(["-Bbn", "-C", "4", USER, PASSWORD]));
            fs::write(self.path("htpasswd"), output).expect("a file of passwords");
            text += &format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", path("htpasswd"));
        }
        text
    }

    fn make_certificates(&self, host: &str) {
        let path = |name: &str| self.path(name).into_os_string();
        let request =
            ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-batch"];
        let openssl = || Command::new("openssl");
        run(openssl()
            .args(request)
            .args(["-x509", "-days", "2", "-subj", "/CN=authority", "-keyout"])
            .arg(path("ca.key"))
            .arg("-out")
            .arg(path("ca.crt")));
        run(openssl()
            .args(request)
            .args(["-subj", "/CN=registry", "-keyout"])
            .arg(path("server.key"))
            .arg("-out")
            .arg(path("server.csr")));
        let extension = format!("subjectAltName=IP:{host}\nbasicConstraints=CA:FALSE\n");
        fs::write(self.path("extension"), extension).expect("a file for openssl");
        run(openssl()
            .args(["x509", "-req", "-days", "2", "-CAcreateserial", "-in"])
            .arg(path("server.csr"))
            .arg("-CA")
            .arg(path("ca.crt"))
            .arg("-CAkey")
            .arg(path("ca.key"))
            .arg("-extfile")
            .arg(path("extension"))
            .arg("-out")
            .arg(path("server.crt")));
    }

    /// The certificate of the authority that vouches for it.
    pub fn authority(&self) -> PathBuf {
        self.path("ca.crt")
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The full name of an image here.
    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    /// Ends it; what it holds stays.
    pub fn pause(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts it (again) and waits until it answers.
    ///
    /// # Panics
    /// If it does not.
    pub fn resume(&mut self) {
        let log = fs::File::create(self.path("log")).expect("a log");
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(self.path("config.yml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn();
        self.process = Some(process.expect("docker-registry"));
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(&self.address).is_err() {
            let log = || fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "docker-registry does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Default for DockerRegistry {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        self.pause();
    }
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).output().expect("a program of Debian");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

//! The registry that Debian has (`docker-registry`), on a port of its own, with what a test wants it to ask for: TLS,
//! certificates, passwords.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// An authority that signs certificates, in a directory of its own.
#[derive(Debug)]
pub struct Authority {
    directory: PathBuf,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate's file.
    pub certificate: PathBuf,
    /// The key's file.
    pub key: PathBuf,
}

impl Authority {
    /// A new one, whose files are in `directory`.
    ///
    /// # Panics
    /// If openssl fails.
    pub fn new(directory: &Path) -> Self {
        fs::create_dir_all(directory).expect("a directory");
        let authority = Self { directory: directory.to_owned() };
        authority.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test \
             -addext keyUsage=critical,keyCertSign -keyout ca.key -out ca.crt",
        );
        authority
    }

    /// Its certificate.
    pub fn certificate(&self) -> PathBuf {
        self.directory.join("ca.crt")
    }

    /// A certificate for an address or name such as `IP:127.0.0.1`, good for so many days; -1 for none.
    ///
    /// # Panics
    /// If openssl fails.
    pub fn issue(&self, name: &str, subject: &str, days: i32) -> Identity {
        fs::write(self.directory.join("extensions"), format!("subjectAltName={subject}\n")).expect("a file");
        self.openssl(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key \
             -out {name}.csr"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days {days} -extfile extensions \
             -out {name}.crt"
        ));
        let file = |ending: &str| self.directory.join(format!("{name}.{ending}"));
        Identity { certificate: file("crt"), key: file("key") }
    }

    fn openssl(&self, words: &str) {
        let output = Command::new("openssl")
            .args(words.split_whitespace())
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .output()
            .expect("openssl");
        assert!(output.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// What the registry asks for.
#[derive(Debug, Clone, Default)]
pub struct Demands {
    /// It speaks TLS with this.
    pub identity: Option<Identity>,
    /// Who comes has a certificate of this authority.
    pub client_authority: Option<PathBuf>,
    /// Who comes is [`USER`] with this password.
    pub password: Option<String>,
}

/// The user that a registry with a password knows.
pub const USER: &str = "user";

/// A running registry; gone when it is dropped.
#[derive(Debug)]
pub struct Distribution {
    process: Option<Child>,
    directory: PathBuf,
    address: String,
}

impl Distribution {
    /// Starts one on an address of this machine; its content is below `directory`. `None` if Debian's package is not
    /// installed.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(directory: &Path, host: &str, demands: &Demands) -> Option<Self> {
        if !Path::new("/usr/bin/docker-registry").exists() {
            eprintln!("skipped: docker-registry is not installed, `cargo xtask test` would install it");
            return None;
        }
        fs::create_dir_all(directory).expect("a directory");
        let socket = TcpListener::bind((host, 0)).expect("a free port");
        let address = socket.local_addr().expect("an address").to_string();
        drop(socket);
        let configuration = configuration(directory, &address, demands);
        fs::write(directory.join("config.yml"), configuration).expect("its configuration");
        let mut registry = Self { process: None, directory: directory.to_owned(), address };
        registry.resume();
        Some(registry)
    }

    /// Ends it; what it holds stays.
    pub fn pause(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.kill());
            drop(process.wait());
        }
    }

    /// Starts it (again) and waits until it answers.
    ///
    /// # Panics
    /// If it does not.
    pub fn resume(&mut self) {
        let log = fs::File::create(self.directory.join("log")).expect("its log");
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(self.directory.join("config.yml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.process = Some(process.expect("docker-registry"));
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(&self.address).is_err() {
            let log = || fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "the registry does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The full name of an image there.
    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }
}

impl Drop for Distribution {
    fn drop(&mut self) {
        self.pause();
    }
}

fn configuration(directory: &Path, address: &str, demands: &Demands) -> String {
    let mut text = format!(
        "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\n\
         http:\n  addr: '{address}'\n",
        directory.join("data").display()
    );
    if let Some(identity) = &demands.identity {
        text += &format!(
            "  tls:\n    certificate: {}\n    key: {}\n",
            identity.certificate.display(),
            identity.key.display()
        );
        if let Some(authority) = &demands.client_authority {
            text += &format!("    clientcas:\n      - {}\n", authority.display());
        }
    }
    if let Some(password) = &demands.password {
        let path = directory.join("passwords");
        let output = Command::new("htpasswd").args(["-Bbn", USER, password]).output().expect("htpasswd");
        fs::write(&path, output.stdout).expect("a file of passwords");
        text += &format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", path.display());
    }
    text
}

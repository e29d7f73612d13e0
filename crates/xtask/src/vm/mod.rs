//! `cargo xtask vm`: the smoke set on cgroup v2 and networks that other kernels lack, in a virtual machine with Debian's kernel and a RAM file system of ours.
//!
//! Works without hardware virtualisation: qemu's own emulation is enough, and is what a build machine usually has.

mod initramfs;

use crate::build::{self, Profile};
use crate::failure::Failure;
use crate::packages;
use crate::test::Tally;
use initramfs::Initramfs;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// The package that depends on Debian's newest kernel for virtual machines.
const KERNEL_PACKAGE: &str = "linux-image-cloud-amd64";

/// The modules that the checks need and that this kernel does not have built in, each after those that it needs.
const MODULES: &[&str] = &[
    "fs/overlayfs/overlay",
    "drivers/block/brd",
    "lib/libcrc32c",
    "net/llc/llc",
    "net/802/stp",
    "net/bridge/bridge",
    "drivers/net/veth",
    "drivers/net/dummy",
    "drivers/net/macvlan",
    "drivers/net/ipvlan/ipvlan",
    "net/ipv4/netfilter/nf_defrag_ipv4",
    "net/ipv6/netfilter/nf_defrag_ipv6",
    "net/netfilter/nfnetlink",
    "net/netfilter/nf_conntrack",
    "net/netfilter/nf_conntrack_netlink",
    "net/netfilter/nf_nat",
    "net/netfilter/nf_tables",
    "net/netfilter/nft_ct",
    "net/netfilter/nft_chain_nat",
    "net/netfilter/nft_nat",
    "net/netfilter/nft_masq",
    "net/netfilter/nft_redir",
    "net/netfilter/nft_fib",
    "net/ipv4/netfilter/nft_fib_ipv4",
    "net/ipv6/netfilter/nft_fib_ipv6",
    "net/netfilter/nft_fib_inet",
    "net/ipv4/udp_tunnel",
    "net/ipv6/ip6_udp_tunnel",
    "net/sctp/sctp",
];

/// The only program on a Debian machine that speaks SCTP without being asked to be installed, with its libraries.
const PERL: [&str; 5] = [
    "usr/bin/perl",
    "lib64/ld-linux-x86-64.so.2",
    "lib/x86_64-linux-gnu/libc.so.6",
    "lib/x86_64-linux-gnu/libm.so.6",
    "lib/x86_64-linux-gnu/libcrypt.so.1",
];

/// How long the machine may take from power-on to power-off.
const LIMIT: Duration = Duration::from_secs(300);

/// What the first process prints after the last check.
const END: &str = "SMOKE END";

/// Boots the machine, shows what it says and counts its checks.
pub(crate) fn run() -> Result<Tally, Failure> {
    packages::install(packages::MACHINE)?;
    let directory = e2e::fixture::directory().join("vm");
    let kernel = kernel(&directory)?;
    let binary = build::mica(Profile::Dev)?;
    let initramfs = directory.join("initramfs.cpio");
    fs::write(&initramfs, root(&kernel, &binary)?).map_err(Failure::file(&initramfs))?;
    let mut machine = Machine::boot(&kernel.image, &initramfs)?;
    let tally = machine.watch()?;
    if tally.failed > 0 {
        println!("vm: {} of {} checks failed", tally.failed, tally.failed + tally.passed);
    }
    Ok(tally)
}

/// A kernel, unpacked and not installed.
struct Kernel {
    image: PathBuf,
    modules: Vec<PathBuf>,
}

/// Fetches the kernel, once.
fn kernel(directory: &Path) -> Result<Kernel, Failure> {
    let unpacked = directory.join("kernel");
    if !unpacked.join("boot").is_dir() {
        // Only what is complete gets the name that is looked for.
        let part = directory.join("part");
        drop(fs::remove_dir_all(&part));
        fs::create_dir_all(part.join("tree")).map_err(Failure::file(&part))?;
        let package = kernel_package()?;
        println!("fetching {package}");
        packages::download(&package, &part)?;
        let archive = entries(&part)
            .into_iter()
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"));
        let archive = archive.ok_or_else(|| missing(&part, "a package"))?;
        build::run(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(part.join("tree")))?;
        fs::rename(part.join("tree"), &unpacked).map_err(Failure::file(&unpacked))?;
        drop(fs::remove_dir_all(&part));
    }
    let boot = unpacked.join("boot");
    let is_image =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"));
    let image = entries(&boot).into_iter().find(is_image).ok_or_else(|| missing(&boot, "a kernel"))?;
    let all_modules = unpacked.join("lib/modules");
    let of_kernel =
        entries(&all_modules).into_iter().next().ok_or_else(|| missing(&all_modules, "modules"))?;
    let path = |module: &&str| of_kernel.join("kernel").join(module).with_extension("ko");
    Ok(Kernel { image, modules: MODULES.iter().map(path).collect() })
}

/// The package with the kernel itself: what the general one depends on.
fn kernel_package() -> Result<String, Failure> {
    let ask =
        || build::capture(Command::new("apt-cache").env("LC_ALL", "C").args(["depends", KERNEL_PACKAGE]));
    let named = |text: &str| {
        let lines = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: ").map(str::to_owned));
        lines.into_iter().find(|name| name.starts_with("linux-image-"))
    };
    if let Some(package) = ask().ok().and_then(|text| named(&text)) {
        return Ok(package);
    }
    packages::update()?;
    named(&ask()?).ok_or_else(|| Failure::Packages {
        packages: KERNEL_PACKAGE.into(),
        reason: "the package lists do not know it; it exists on amd64 only".into(),
    })
}

/// The root file system of the machine.
fn root(kernel: &Kernel, binary: &Path) -> Result<Vec<u8>, Failure> {
    let read = |path: &Path| fs::read(path).map_err(Failure::file(path));
    let fixture = e2e::fixture::busybox_archive()
        .map_err(Failure::file(e2e::fixture::directory().join("busybox.tar")))?;
    let mut archive = Initramfs::default();
    for directory in ["bin", "dev", "fixtures", "modules"] {
        archive.directory(directory);
    }
    archive.program("bin/busybox", &read(Path::new("/bin/busybox"))?);
    archive.program("bin/mica", &read(binary)?);
    archive.program("fixtures/busybox.tar", &read(&fixture)?);
    archive.program("fixtures/perl.tar", &perl()?);
    archive.program("checks.sh", include_bytes!("checks.sh"));
    archive.program("smoke.sh", include_bytes!("smoke.sh"));
    archive.program("networks.sh", include_bytes!("networks.sh"));
    archive.program("init", include_bytes!("init.sh"));
    for (place, module) in kernel.modules.iter().enumerate() {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        // They are loaded in the order of their names.
        archive.program(&format!("modules/{place:02}-{name}"), &read(module)?);
    }
    Ok(archive.finish())
}

/// A root with Perl in it, to be imported.
fn perl() -> Result<Vec<u8>, Failure> {
    let mut tar = e2e::Tarball::new();
    for path in PERL {
        let bytes = fs::read(Path::new("/").join(path)).map_err(Failure::file(path))?;
        tar.add(&e2e::Entry::file(path, bytes).mode(0o755));
    }
    Ok(tar.finish())
}

/// A running machine; it is switched off when it is dropped.
struct Machine {
    emulator: Child,
    lines: Receiver<String>,
}

impl Machine {
    fn boot(kernel: &Path, initramfs: &Path) -> Result<Self, Failure> {
        let mut command = Command::new("qemu-system-x86_64");
        command.args([
            "-accel",
            "tcg",
            "-cpu",
            "max",
            "-m",
            "768",
            "-smp",
            "2",
            "-nographic",
            "-no-reboot",
            "-nic",
            "none",
        ]);
        command.arg("-kernel").arg(kernel).arg("-initrd").arg(initramfs);
        command.args(["-append", "console=ttyS0 quiet loglevel=3 panic=-1"]);
        let mut emulator = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| build::start(&command, source))?;
        let (sender, lines) = channel();
        if let Some(console) = emulator.stdout.take() {
            std::thread::spawn(move || {
                let mut reader = BufReader::new(console);
                let mut line = Vec::new();
                while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                    let text = String::from_utf8_lossy(&line).trim().to_owned();
                    line.clear();
                    if sender.send(text).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Self { emulator, lines })
    }

    /// Counts checks until the last; a machine that stops before or takes too long is a failure.
    fn watch(&mut self) -> Result<Tally, Failure> {
        let deadline = Instant::now() + LIMIT;
        let mut tally = Tally::default();
        let mut tail = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            // The console may put control sequences of the firmware before the first line.
            if line.contains(END) {
                return Ok(tally);
            }
            match (line.starts_with("PASS "), line.starts_with("FAIL ")) {
                (false, false) => tail.push(line),
                (passed, _) => {
                    println!("{line}");
                    tally += Tally::one(passed);
                }
            }
        }
        let last = tail.len().saturating_sub(20);
        let detail = format!(" after {tally}; the console's end:\n{}", tail[last..].join("\n"));
        Err(Failure::Command { command: "the virtual machine".into(), detail })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.emulator.kill());
        drop(self.emulator.wait());
    }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn missing(directory: &Path, what: &str) -> Failure {
    Failure::Document { document: directory.display().to_string(), reason: format!("lacks {what}") }
}

//! Another machine on a wire to the test's own: a network namespace with one link.

use std::process::{Child, Command, Stdio};

/// A machine that the test's host reaches by a link of its own.
#[derive(Debug)]
pub struct Neighbour {
    holder: Child,
    address: String,
}

impl Neighbour {
    /// A machine with the address `10.SUBNET.0.2/24`; the host has `.1` and is its way out.
    ///
    /// # Panics
    /// If it cannot be made, for which the test must be in a network of its own.
    pub fn new(subnet: u8) -> Self {
        // Lives for as long as its input is open.
        let holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo ready; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process in a network of its own");
        let mut neighbour = Self { holder, address: format!("10.{subnet}.0.2") };
        let mut line = [0; 6];
        let output = neighbour.holder.stdout.as_mut().expect("its output");
        std::io::Read::read_exact(output, &mut line).expect("its first line");
        let (near, pid) = (format!("wire{subnet}"), neighbour.holder.id().to_string());
        host(&["ip", "link", "add", &near, "type", "veth", "peer", "name", "wire", "netns", &pid]);
        host(&["ip", "address", "add", &format!("10.{subnet}.0.1/24"), "dev", &near]);
        host(&["ip", "link", "set", &near, "up"]);
        neighbour.succeed(&["ip", "address", "add", &format!("10.{subnet}.0.2/24"), "dev", "wire"]);
        neighbour.succeed(&["ip", "link", "set", "wire", "up"]);
        neighbour.succeed(&["ip", "link", "set", "lo", "up"]);
        neighbour.succeed(&["ip", "route", "add", "default", "via", &format!("10.{subnet}.0.1")]);
        neighbour
    }

    /// Its address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A program on that machine.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &self.holder.id().to_string(), "--"]).args(words);
        command
    }

    /// Runs a program on that machine and gives what it printed; `None` if it failed.
    pub fn run(&self, words: &[&str]) -> Option<String> {
        let output = self.command(words).output().expect("nsenter");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The same for a program that must not fail.
    ///
    /// # Panics
    /// If it does.
    #[track_caller]
    pub fn succeed(&self, words: &[&str]) -> String {
        self.run(words).unwrap_or_else(|| panic!("{words:?} failed on the neighbour"))
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

/// Runs a program on the test's own host.
///
/// # Panics
/// If it fails.
#[track_caller]
pub fn host(words: &[&str]) -> String {
    let output = Command::new(words[0]).args(&words[1..]).output().expect("the program");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

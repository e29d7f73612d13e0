//! Who is called what on a network, as files that every resolver looks into.
//!
//! ```text
//! RUN/network/<network>/
//! ├── member/<container>            line 1: its addresses; line 2: its names, its own first
//! ├── name/<name>/<container>       the same file again (hard links)
//! └── address/<address>             the same file again
//! ```
//!
//! A look-up opens one small file in memory, and what one command writes the next query sees. The
//! last to leave a name removes its directory.

use crate::error::{Error, Result};
use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// A container on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub container: String,
    /// Its addresses there.
    pub addresses: Vec<IpAddr>,
    /// What it is called there, its own name first.
    pub names: Vec<String>,
}

/// The names of one network.
#[derive(Debug, Clone)]
pub struct Names {
    directory: PathBuf,
}

/// How often a name's directory may be removed under us.
const ATTEMPTS: usize = 64;

/// Longest name that is kept: what a directory takes, escapes included.
const NAME_LENGTH_MAX: usize = 255;

impl Names {
    /// Those of the network below the run-time directory.
    pub fn of(run_root: &Path, network: &str) -> Self {
        Self { directory: run_root.join("network").join(network) }
    }

    /// Writes a member down; what it was before is forgotten.
    pub fn add(&self, member: &Member) -> Result<()> {
        self.remove(&member.container);
        let path = self.member_path(&member.container);
        make_parent(&path)?;
        let words = |list: Vec<String>| list.join(" ");
        let addresses = words(member.addresses.iter().map(ToString::to_string).collect());
        let names = words(member.names.iter().map(|name| escaped(name)).collect());
        fs::write(&path, format!("{addresses}\n{names}\n")).map_err(Error::file("write", &path))?;
        for link in self.links(member) {
            link_to(&path, &link)?;
        }
        Ok(())
    }

    /// Forgets a member, where it is one.
    pub fn remove(&self, container: &str) {
        let path = self.member_path(container);
        if let Some(member) = read(&path) {
            for link in self.links(&member) {
                let _ = fs::remove_file(&link);
                if let Some(parent) = link.parent().filter(|parent| !parent.ends_with("address")) {
                    // Fails while somebody else is called so.
                    let _ = fs::remove_dir(parent);
                }
            }
        }
        let _ = fs::remove_file(path);
    }

    /// The ids of all networks of which something is written down.
    pub fn networks(run_root: &Path) -> Vec<String> {
        let Ok(entries) = fs::read_dir(run_root.join("network")) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        // Beside them lies what belongs to containers.
        let is_id = |name: &String| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        names.filter(is_id).collect()
    }

    /// Forgets the whole network.
    pub fn remove_all(&self) {
        let _ = fs::remove_dir_all(&self.directory);
    }

    /// The members called `name`.
    pub fn find(&self, name: &str) -> Vec<Member> {
        let directory = self.directory.join("name").join(escaped(name));
        let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
        let mut members: Vec<Member> = entries.flatten().filter_map(|entry| read(&entry.path())).collect();
        members.sort_by(|a, b| a.container.cmp(&b.container));
        members
    }

    /// The member with this address.
    pub fn find_address(&self, address: IpAddr) -> Option<Member> {
        read(&self.directory.join("address").join(address.to_string()))
    }

    /// The ids of all members.
    pub fn members(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.directory.join("member")) else { return Vec::new() };
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    fn member_path(&self, container: &str) -> PathBuf {
        self.directory.join("member").join(escaped(container))
    }

    fn links(&self, member: &Member) -> Vec<PathBuf> {
        let container = escaped(&member.container);
        let names = member.names.iter().map(|name| escaped(name));
        let names = names.filter(|name| !name.is_empty() && name.len() <= NAME_LENGTH_MAX);
        let addresses = member.addresses.iter().map(ToString::to_string);
        names
            .map(|name| self.directory.join("name").join(name).join(&container))
            .chain(addresses.map(|address| self.directory.join("address").join(address)))
            .collect()
    }
}

fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(Error::file("make directory", parent))
}

fn link_to(member: &Path, link: &Path) -> Result<()> {
    for _ in 0..ATTEMPTS {
        make_parent(link)?;
        match fs::hard_link(member, link) {
            Ok(()) => return Ok(()),
            // Somebody has left the name between our two steps.
            Err(error) if error.kind() == ErrorKind::NotFound && member.exists() => {}
            // One who had the address was killed; or the same name twice.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let _ = fs::remove_file(link);
            }
            Err(error) => return Err(Error::file("write", link)(error)),
        }
    }
    Ok(())
}

/// Reads a member's file, whichever of its names it was opened by.
fn read(path: &Path) -> Option<Member> {
    let text = fs::read_to_string(path).ok()?;
    let mut lines = text.lines();
    let addresses = lines.next()?.split(' ').filter_map(|word| word.parse().ok()).collect();
    let names = lines.next()?.split(' ').filter(|word| !word.is_empty()).map(unescaped).collect();
    let container = path.file_name()?.to_str()?.to_owned();
    Some(Member { container, addresses, names })
}

/// A name as a file may be called: small letters, digits and a few signs; all else as `%` with two
/// digits of its number, so that no name leaves the directory or divides a line.
fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for (index, byte) in name.bytes().map(|byte| byte.to_ascii_lowercase()).enumerate() {
        let is_plain =
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || byte == b'.' && index > 0;
        if is_plain {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02x}"));
        }
    }
    text
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (first, code.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn member(container: &str, address: &str, names: &[&str]) -> Member {
        Member {
            container: container.to_owned(),
            addresses: vec![address.parse().unwrap()],
            names: names.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    #[test]
    fn names_are_found_whatever_their_case_until_their_member_leaves() {
        let directory = tempfile::tempdir().unwrap();
        let names = Names::of(directory.path(), "net");
        names.add(&member("aa", "10.0.0.2", &["web", "www"])).unwrap();
        names.add(&member("bb", "10.0.0.3", &["db", "www"])).unwrap();
        assert_eq!(names.find("WWW").len(), 2);
        assert_eq!(names.find("web")[0].addresses, ["10.0.0.2".parse::<IpAddr>().unwrap()]);
        assert_eq!(names.find_address("10.0.0.3".parse().unwrap()).unwrap().names[0], "db");
        names.remove("aa");
        assert_eq!(names.find("web"), []);
        assert_eq!(names.find("www").len(), 1);
        names.remove("bb");
        assert_eq!(fs::read_dir(directory.path().join("network/net/name")).unwrap().count(), 0);
        assert_eq!(names.members(), Vec::<String>::new());
    }

    #[test]
    fn no_name_leaves_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let names = Names::of(directory.path(), "net");
        names.add(&member("cc", "10.0.0.4", &["../../evil", "..", "a b\nc", ""])).unwrap();
        assert_eq!(names.find("../../evil").len(), 1);
        assert_eq!(names.find("a b\nc").len(), 1);
        assert!(!directory.path().join("evil").exists());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        names.remove("cc");
        assert_eq!(names.find(".."), []);
    }

    proptest! {
        #[test]
        fn escaping_loses_nothing_but_case(name in "\\PC{0,30}") {
            prop_assert_eq!(unescaped(&escaped(&name)), name.to_ascii_lowercase());
            prop_assert!(!escaped(&name).contains(['/', ' ', '\n']) && !escaped(&name).starts_with('.'));
        }
    }
}

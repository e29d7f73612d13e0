//! Who the process is to be, looked up in the container's own `/etc/passwd` and `/etc/group`.

use super::Chapter;
use super::root::{Links, file_type, open_inside};
use crate::error::{SetupError, SetupStep};
use crate::plan::ProcessPlan;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use std::io::Read;

/// Longest database believed; an image could bring one without end.
const DATABASE_LENGTH_MAX: u64 = 4 << 20;

/// Largest id that can be given (docker's bound: those above are not portable).
const ID_MAX: u32 = i32::MAX as u32;

/// Numbers and home of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
    pub(super) home: Option<String>,
}

/// A line of `/etc/passwd` (passwd(5)).
#[derive(Debug, PartialEq, Eq)]
struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// A line of `/etc/group` (group(5)).
#[derive(Debug, PartialEq, Eq)]
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// Finds out who the process is to be. With no `wanted`, the plan's numbers are taken as they are.
pub(super) fn identify(
    root: &OwnedFd,
    process: &ProcessPlan,
    wanted: Option<&str>,
    extra: &[String],
) -> Chapter<Identity> {
    let passwd = read(root, "/etc/passwd")?;
    let needs_groups = wanted.is_some() || !extra.is_empty();
    let group = if needs_groups { read(root, "/etc/group")? } else { String::new() };
    let mut identity = match wanted {
        Some(wanted) => resolve(wanted, &passwd, &group)?,
        None => Identity {
            uid: process.uid,
            gid: process.gid,
            groups: Vec::new(),
            home: accounts(&passwd)
                .find(|account| account.uid == process.uid)
                .map(|account| account.home.to_owned()),
        },
    };
    identity.groups.extend(&process.groups);
    for name in extra {
        identity
            .groups
            .push(find_group(name, &group)?.ok_or_else(|| refused(format!("Unable to find group {name}")))?);
    }
    // Kept in order; a repeated group would only take room.
    let mut seen = std::collections::BTreeSet::new();
    identity.groups.retain(|gid| seen.insert(*gid));
    Ok(identity)
}

fn refused(message: String) -> SetupError {
    SetupError { step: SetupStep::User, subject: message, errno: 0 }
}

fn read(root: &OwnedFd, path: &str) -> Chapter<String> {
    let failed = |errno: Errno| refused(format!("cannot read {path}: {errno}"));
    // A pipe in its place must not hold the start up.
    let file = match open_inside(root.as_fd(), path, OFlags::RDONLY | OFlags::NONBLOCK, Links::Follow) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(String::new()),
        Err(errno) => return Err(failed(errno)),
    };
    if file_type(file.as_fd()).map_err(failed)? != FileType::RegularFile {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    let read = std::fs::File::from(file).take(DATABASE_LENGTH_MAX).read_to_end(&mut bytes);
    read.map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1).unwrap_or("");
        Some(Account { name, uid, gid, home })
    })
}

fn groups(group: &str) -> impl Iterator<Item = Group<'_>> {
    group.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some(Group { name, gid, members: fields.next().unwrap_or("") })
    })
}

fn number(text: &str) -> Chapter<Option<u32>> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(number) if number <= ID_MAX => Ok(Some(number)),
        _ => Err(refused(format!("uids and gids must be in range 0-{ID_MAX}"))),
    }
}

/// Resolves `user`, `user:group`, `uid`, `uid:gid`; empty parts mean root, and the user's own group.
fn resolve(wanted: &str, passwd: &str, group: &str) -> Chapter<Identity> {
    let (user, group_name) = wanted.split_once(':').unwrap_or((wanted, ""));
    let user_number = if user.is_empty() { Some(0) } else { number(user)? };
    // A name that looks like a number is a name first, as with docker.
    let account = accounts(passwd).find(|account| account.name == user || user_number == Some(account.uid));
    let (uid, gid) = match (&account, user_number) {
        (Some(account), _) => (account.uid, account.gid),
        (None, Some(uid)) => (uid, 0),
        (None, None) => {
            return Err(refused(format!("unable to find user {user}: no matching entries in passwd file")));
        }
    };
    let home = account.as_ref().map(|account| account.home.to_owned());
    if !group_name.is_empty() {
        let message =
            || refused(format!("unable to find group {group_name}: no matching entries in group file"));
        let gid = find_group(group_name, group)?.ok_or_else(message)?;
        return Ok(Identity { uid, gid, groups: vec![gid], home });
    }
    let mut memberships = vec![gid];
    if let Some(account) = account {
        let is_member = |group: &Group<'_>| group.members.split(',').any(|member| member == account.name);
        memberships.extend(groups(group).filter(is_member).map(|group| group.gid));
    }
    Ok(Identity { uid, gid, groups: memberships, home })
}

fn find_group(wanted: &str, group: &str) -> Chapter<Option<u32>> {
    let wanted_number = number(wanted)?;
    let found = groups(group).find(|group| group.name == wanted || wanted_number == Some(group.gid));
    Ok(found.map(|group| group.gid).or(wanted_number))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "# comment\nroot:x:0:0:root:/root:/bin/sh\nalice:x:1000:1001::/home/alice:/bin/sh\n\
        broken:x:no:0\n1234:x:77:78::/seven:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,alice\nalice:x:1001:\nvideo:x:44:alice\n";

    fn who(wanted: &str) -> Result<(u32, u32, Vec<u32>), String> {
        let identity = resolve(wanted, PASSWD, GROUP).map_err(|error| error.to_string())?;
        Ok((identity.uid, identity.gid, identity.groups))
    }

    #[test]
    fn the_table_of_docker_holds() {
        let table = [
            ("", (0, 0, vec![0, 10])),
            ("root", (0, 0, vec![0, 10])),
            ("1", (1, 0, vec![0])),
            ("0", (0, 0, vec![0, 10])),
            ("1000", (1000, 1001, vec![1001, 10, 44])),
            ("1:1", (1, 1, vec![1])),
            ("1000:5", (1000, 5, vec![5])),
            ("alice", (1000, 1001, vec![1001, 10, 44])),
            ("alice:wheel", (1000, 10, vec![10])),
            (":5", (0, 5, vec![5])),
        ];
        for (wanted, expected) in table {
            assert_eq!(who(wanted), Ok(expected), "{wanted}");
        }
        assert_eq!(who("1234"), Ok((77, 78, vec![78])), "a name that looks like a number");
    }

    #[test]
    fn unknown_names_and_large_numbers_are_refused() {
        assert_eq!(who("foo"), Err("unable to find user foo: no matching entries in passwd file".to_owned()));
        assert_eq!(
            who("0:foo"),
            Err("unable to find group foo: no matching entries in group file".to_owned())
        );
        assert_eq!(who("4294967296"), Err("uids and gids must be in range 0-2147483647".to_owned()));
        assert_eq!(who("2147483648"), Err("uids and gids must be in range 0-2147483647".to_owned()));
    }

    proptest::proptest! {
        #[test]
        fn hostile_databases_do_not_break_the_search(passwd in ".{0,200}", group in ".{0,200}", wanted in ".{0,20}") {
            let _ = resolve(&wanted, &passwd, &group);
        }
    }
}

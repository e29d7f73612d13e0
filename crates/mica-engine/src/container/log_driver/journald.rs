//! The journal of systemd.

use super::{ATTRIBUTES, Kind, Options, Target};
use crate::error::Result;
use mica_runtime::{JournaldPlan, LogDriver};

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// The driver.
pub(super) const KIND: Kind = Kind {
    name: "journald",
    options: &ATTRIBUTES,
    unknown: |option| format!("unknown log opt '{option}' for journald log driver"),
    plan,
    readable: None,
};

fn plan(_: &Options, target: &Target<'_>) -> Result<Option<LogDriver>> {
    let identity = target.identity;
    let own = [
        ("CONTAINER_ID", &identity.id[..identity.id.len().min(12)]),
        ("CONTAINER_ID_FULL", &identity.id),
        ("CONTAINER_NAME", &identity.name),
        ("CONTAINER_TAG", &identity.tag),
        ("IMAGE_NAME", &identity.image),
        ("SYSLOG_IDENTIFIER", &identity.tag),
    ];
    let mut fields: Vec<(String, String)> =
        own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let chosen = identity.attributes.iter().map(|(name, value)| (field_name(name), value.clone()));
    fields.extend(chosen.filter(|(name, _)| !name.is_empty()));
    Ok(Some(LogDriver::Journald(JournaldPlan { socket: SOCKET.into(), fields, overflow: target.overflow })))
}

/// The journal knows capital letters, digits and underscores, which are not the first.
fn field_name(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    let legal = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '_' };
    upper.chars().map(legal).collect::<String>().trim_start_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_those_of_the_journal() {
        assert_eq!(field_name("com.example/role-1"), "COM_EXAMPLE_ROLE_1");
        assert_eq!(field_name("__HIDDEN"), "HIDDEN");
    }
}

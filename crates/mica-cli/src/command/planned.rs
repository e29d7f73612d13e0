//! Commands of docker that a later version brings: known by name, refused with a reason.

/// A command that does not exist yet.
#[derive(Debug, Clone, Copy)]
pub struct PlannedCommand {
    /// Its words.
    pub path: &'static str,
    /// What brings it, in words.
    pub awaits: &'static str,
}

const BUILDS: &str = "a later version of builds";
const ENGINE_API: &str = "the Engine API";

const fn planned(path: &'static str, awaits: &'static str) -> PlannedCommand {
    PlannedCommand { path, awaits }
}

/// All of them; a noun stands for all its verbs.
pub const COMMANDS: &[PlannedCommand] = &[
    planned("builder", BUILDS),
    planned("buildx", BUILDS),
    planned("context", ENGINE_API),
    planned("system dial-stdio", ENGINE_API),
    planned("compose", "compose"),
];

/// A command of docker that mica is not going to have.
#[derive(Debug, Clone, Copy)]
pub struct ExcludedCommand {
    /// Its words.
    pub path: &'static str,
    /// Why not.
    pub reason: &'static str,
}

const SWARM: &str = "it runs containers on one machine, without swarm clusters";
const PLUGINS: &str = "it has no engine plugins";
const DESKTOP: &str = "its builds are not looked at with Docker Desktop";
const TRUST: &str = "it does not sign images with Notary";

const fn excluded_command(path: &'static str, reason: &'static str) -> ExcludedCommand {
    ExcludedCommand { path, reason }
}

/// All of them; a noun stands for all its verbs.
pub const EXCLUDED: &[ExcludedCommand] = &[
    excluded_command("config", SWARM),
    excluded_command("node", SWARM),
    excluded_command("secret", SWARM),
    excluded_command("service", SWARM),
    excluded_command("stack", SWARM),
    excluded_command("swarm", SWARM),
    excluded_command("plugin", PLUGINS),
    excluded_command("trust", TRUST),
    excluded_command("volume update", SWARM),
    excluded_command("buildx history export", DESKTOP),
    excluded_command("buildx history import", DESKTOP),
    excluded_command("buildx history open", DESKTOP),
    excluded_command("buildx history trace", "its builds make no OpenTelemetry traces"),
    excluded_command("checkpoint", "it cannot freeze containers to disk"),
];

/// The excluded command that `path` names, by itself or by its noun.
pub fn excluded(path: &str) -> Option<&'static ExcludedCommand> {
    let noun = path.split(' ').next().unwrap_or_default();
    EXCLUDED.iter().find(|command| command.path == path || command.path == noun)
}

/// The planned command that `path` names, by itself or by its noun.
pub fn find(path: &str) -> Option<&'static PlannedCommand> {
    let noun = path.split(' ').next().unwrap_or_default();
    COMMANDS.iter().find(|command| command.path == path || command.path == noun)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_both_planned_and_there() {
        for planned in COMMANDS {
            assert!(crate::command::find(planned.path).is_none(), "{}", planned.path);
        }
        for excluded in EXCLUDED {
            assert!(crate::command::noun(excluded.path).is_none(), "{}", excluded.path);
            // A verb may be excluded whose noun is planned.
            assert!(COMMANDS.iter().all(|planned| planned.path != excluded.path), "{}", excluded.path);
        }
        assert!(find("context create").is_some());
        assert!(find("image ls").is_none());
    }
}

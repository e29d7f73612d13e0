//! Compares docker's command line with ours: works, differs (how), waits (for what), will not come (why), or is missing.

use super::definition::{self, Definition};
use super::facts::{self, Facts};

/// What became of a command or flag of docker's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It does what docker's does.
    Works,
    /// It exists and does something else, told in words.
    Differs(String),
    /// A later version brings it; what does.
    Waits(String),
    /// It will not come; why.
    Excluded(String),
    /// Nobody has said anything about it.
    Missing,
}

/// A command of docker's with what became of it and of its flags.
#[derive(Debug)]
pub(super) struct Row {
    /// Its full name.
    pub name: String,
    /// What became of it.
    pub verdict: Verdict,
    /// Its flags, each with what became of it.
    pub flags: Vec<(facts::Flag, Verdict)>,
    /// Flags of ours that docker lacks.
    pub beyond: Vec<String>,
}

/// Judges every command that is not merely a group of others.
pub(super) fn judge(facts: &Facts, ours: &Definition) -> Vec<Row> {
    facts
        .commands
        .iter()
        .filter(|command| !command.is_group)
        .map(|command| row(command, facts, ours))
        .collect()
}

/// Commands of ours that docker lacks.
pub(super) fn beyond(facts: &Facts, ours: &Definition) -> Vec<String> {
    let known = |path: &String| {
        facts.commands.iter().any(|command| command.name == *path || command.aliases.contains(path))
    };
    let own = ours.commands.iter().filter(|command| !command.paths.iter().any(known));
    own.filter_map(|command| command.paths.first().cloned()).collect()
}

fn row(theirs: &facts::Command, facts: &Facts, ours: &Definition) -> Row {
    let mut names = vec![theirs.name.as_str()];
    names.extend(theirs.aliases.iter().map(String::as_str));
    let excluded = definition::by_noun(&ours.excluded, &names).cloned().map(Verdict::Excluded);
    let waits = || definition::by_noun(&ours.planned, &names).cloned().map(Verdict::Waits);
    let Some(command) = ours.find(&names) else {
        let verdict = excluded.or_else(waits).unwrap_or(Verdict::Missing);
        let flags = theirs.flags.iter().map(|flag| (flag.clone(), verdict.clone())).collect();
        return Row { name: theirs.name.clone(), verdict, flags, beyond: Vec::new() };
    };
    let told = |flag: &str| facts.differences.get(&(theirs.name.clone(), flag.to_owned())).cloned();
    let lacking: Vec<&str> =
        names.into_iter().filter(|name| !command.paths.iter().any(|path| path == name)).collect();
    let verdict = match told("") {
        Some(how) => Verdict::Differs(how),
        None if lacking.is_empty() => Verdict::Works,
        None => Verdict::Differs(format!("not also spelled `{}`", lacking.join("`, `"))),
    };
    let judged = theirs.flags.iter().map(|flag| (flag.clone(), judge_flag(flag, command, told(&flag.name))));
    let own = command.flags.keys().filter(|name| !theirs.flags.iter().any(|flag| flag.name == **name));
    Row { name: theirs.name.clone(), verdict, flags: judged.collect(), beyond: own.cloned().collect() }
}

fn judge_flag(theirs: &facts::Flag, command: &definition::Command, told: Option<String>) -> Verdict {
    // Both programs answer to it everywhere without defining it anywhere.
    if theirs.name == "help" && !command.flags.contains_key("help") {
        return Verdict::Works;
    }
    let Some(ours) = command.flags.get(&theirs.name) else {
        return told.map_or(Verdict::Missing, Verdict::Differs);
    };
    if let Some(awaits) = &ours.awaits {
        return Verdict::Waits(awaits.clone());
    }
    if let Some(how) = told {
        return Verdict::Differs(how);
    }
    match (ours.is_switch, theirs.kind == "bool") {
        (true, false) => return Verdict::Differs("takes no value".into()),
        (false, true) => return Verdict::Differs("takes a value".into()),
        _ => {}
    }
    if ours.short == theirs.short || theirs.short.is_empty() {
        return Verdict::Works;
    }
    Verdict::Differs(format!("has no short form `-{}`", theirs.short))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let flag = |name: &str, short: &str, kind: &str| facts::Flag {
            name: name.into(),
            short: short.into(),
            kind: kind.into(),
            is_hidden: false,
        };
        let command = |name: &str, alias: &str, flags| facts::Command {
            name: name.into(),
            aliases: [alias].into_iter().filter(|alias| !alias.is_empty()).map(str::to_owned).collect(),
            is_group: false,
            flags,
        };
        let run = vec![flag("detach", "d", "bool"), flag("volume", "v", "list"), flag("gone", "", "bool")];
        Facts {
            commands: vec![command("container run", "run", run), command("network create", "", vec![])],
            ..Facts::default()
        }
    }

    fn ours() -> Definition {
        Definition::parse(
            r#"{"global_flags": [], "excluded": [], "planned": [{"path": "network", "awaits": "networks"}],
                "commands": [{"paths": ["run", "container run"], "hidden": false, "flags": [
                    {"name": "--detach", "short": "-d", "type": "bool", "status": "supported"},
                    {"name": "--volume", "short": "-v", "type": "string", "status": "planned", "awaits": "volumes"},
                    {"name": "--own", "type": "bool", "status": "supported"}]}]}"#,
        )
        .unwrap()
    }

    #[test]
    fn each_flag_gets_its_verdict() {
        let rows = judge(&facts(), &ours());
        let verdicts: Vec<&Verdict> = rows[0].flags.iter().map(|(_, verdict)| verdict).collect();
        assert_eq!(verdicts, [&Verdict::Works, &Verdict::Waits("volumes".into()), &Verdict::Missing]);
        assert_eq!(rows[0].verdict, Verdict::Works);
        assert_eq!(rows[0].beyond, ["own"]);
    }

    #[test]
    fn a_noun_stands_for_its_verbs() {
        assert_eq!(judge(&facts(), &ours())[1].verdict, Verdict::Waits("networks".into()));
    }

    #[test]
    fn what_is_written_by_hand_wins() {
        let mut facts = facts();
        facts.differences.insert(("container run".into(), "detach".into()), "prints more".into());
        assert_eq!(judge(&facts, &ours())[0].flags[0].1, Verdict::Differs("prints more".into()));
    }
}

//! What stands before the command, and what names it.

use super::program_name;
use crate::fake::{FakeEngine, Ran, run, run_in};
use std::ffi::OsStr;

fn ran(arguments: &str) -> Ran {
    run(arguments, &FakeEngine::new())
}

#[test]
fn a_link_named_docker_speaks_as_docker() {
    for (argument, name) in
        [("/usr/bin/docker", "docker"), ("mica", "mica"), ("./other", "mica"), ("", "mica")]
    {
        assert_eq!(program_name(Some(OsStr::new(argument))), name);
    }
    assert_eq!(program_name(None), "mica");
}

#[test]
fn options_before_the_command_take_all_of_pflags_forms() {
    for arguments in [
        "--root /a ps -q",
        "--root=/a ps -q",
        "-D=false ps -q",
        "-lwarn ps -q",
        "-l warn ps -q",
        "-H= ps -q",
        "-- ps -q",
    ] {
        let ran = ran(arguments);
        let is_known = !ran.error.contains("flag");
        assert!(is_known && ran.error.is_empty() && ran.code == 0, "{arguments}: {}", ran.error);
    }
    for (arguments, words) in [
        ("--foo ps", "unknown flag: --foo\n\nUsage:  mica [OPTIONS] COMMAND [ARG...]\n"),
        ("-xD ps", "unknown shorthand flag: 'x' in -xD\n"),
        ("--root", "flag needs an argument: --root\n"),
        ("-H", "flag needs an argument: 'H' in -H\n"),
        ("-D=maybe ps", "invalid argument \"maybe\" for \"-D, --debug\" flag: strconv.ParseBool"),
        ("container --foo", "unknown flag: --foo\n\nUsage:  mica container\n"),
    ] {
        let ran = ran(arguments);
        assert!(ran.error.starts_with(words) && ran.code == 125, "{arguments}: {}", ran.error);
    }
}

#[test]
fn an_engine_elsewhere_is_refused_only_where_one_is_needed() {
    let ran = run("-H tcp://other:2375 ps", &FakeEngine::new());
    assert_eq!(ran.code, 1);
    assert!(
        ran.error
            .starts_with("engines elsewhere are not supported yet: --host is \"tcp://other:2375\"\nhint: ")
    );
    let help = run_in(&["ps", "--help"], &[("DOCKER_HOST", "tcp://other:2375")], &FakeEngine::new());
    assert_eq!((help.code, help.requests.len()), (0, 0));
    let refused = run_in(&["ps"], &[("DOCKER_HOST", "tcp://other:2375")], &FakeEngine::new());
    assert_eq!((refused.code, refused.requests.len()), (1, 0));
}

#[test]
fn logging_levels_choose_what_is_told() {
    assert_eq!(ran("-l soon ps").error, "Unable to parse logging level: soon\n");
    let told = ran("-D ps -q").error;
    assert!(told.starts_with("debug: engine at /var/lib/mica and /run/mica\ndebug: mica ps took "), "{told}");
    assert_eq!(ran("ps -q").error, "");
}

#[test]
fn both_spellings_and_help_lead_to_the_same_command() {
    let help = ran("container rm --help").output;
    assert!(
        help.starts_with(
            "Usage:  mica container rm [OPTIONS] CONTAINER [CONTAINER...]\n\nRemove one or more"
        )
    );
    assert!(help.contains("\nAliases:\n  mica container rm, mica container remove, mica rm\n"));
    assert_eq!(ran("help container rm").output, help);
    assert_eq!(ran("container rm -h").output, help);
    assert!(ran("run -h host box").requests.contains(&"create box".to_owned()));
}

#[test]
fn lists_of_commands_are_grouped_as_dockers() {
    let root = ran("").output;
    for part in [
        "\nCommon Commands:\n  run         Create and run",
        "\nManagement Commands:\n  builder     Manage",
        "\n  container   Manage",
        "\nCommands:\n  attach ",
    ] {
        assert!(root.contains(part), "{part}");
    }
    assert_eq!(ran("--help").output, root);
    let noun = ran("container").output;
    assert!(noun.contains("\n  ls          List containers\n") && noun.contains("\n  inspect "));
    let unknown = ran("container frobnicate");
    assert!(
        unknown.error.starts_with("mica: unknown command: mica container frobnicate\n"),
        "{}",
        unknown.error
    );
}

proptest::proptest! {
    /// Whatever is typed after a command is understood or refused in words.
    #[test]
    fn no_arguments_make_the_parser_panic(
        index in 0..200_usize,
        arguments in proptest::collection::vec("(-{0,2}[a-z=]{0,8}|[ -~]{0,6}|\\PC{0,4})", 0..6),
    ) {
        let commands: Vec<_> = crate::command::all().collect();
        let command = commands[index % commands.len()];
        if let Err(failure) = super::parse(command, &arguments) {
            proptest::prop_assert_eq!(failure.code(), 125);
            proptest::prop_assert!(!failure.to_string().is_empty());
        }
    }

    /// Nor does what stands before it, with the words that name it.
    #[test]
    fn no_global_options_make_the_dispatcher_panic(
        options in proptest::collection::vec("-{1,2}[DHlcv=a-z]{0,6}", 0..4),
        word in "[a-z]{0,6}",
    ) {
        let arguments: Vec<&str> = options.iter().map(String::as_str).chain([word.as_str(), "--help"]).collect();
        let ran = run_in(&arguments, &[], &FakeEngine::new());
        proptest::prop_assert!(matches!(ran.code, 0 | 1 | 125), "{}", ran.code);
    }
}

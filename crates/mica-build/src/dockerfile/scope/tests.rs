//! What each instruction sees of `ARG`, `ENV` and what was given.

use super::super::parse::parse;
use super::*;

fn inputs(given: &[(&str, &str)]) -> Inputs {
    let platform = |architecture: &str| PlatformArguments {
        os: "linux".into(),
        architecture: architecture.into(),
        ..PlatformArguments::default()
    };
    Inputs {
        given: given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        build_platform: platform("amd64"),
        target_platform: platform("arm64"),
        target: None,
    }
}

/// Expands a stage and tells what the last instruction, a `USER`, has become.
fn user(source: &str, given: &[(&str, &str)]) -> String {
    let file = parse(source).unwrap();
    let globals = Globals::new(&file, &inputs(given)).unwrap();
    let mut scope = globals.stage(Environment::from_texts(["PATH=/bin", "base=yes"]));
    let last =
        file.stages[0].instructions.iter().map(|instruction| scope.expand(instruction).unwrap()).last();
    match last.unwrap().kind {
        Kind::User(word) => word.value,
        other => panic!("{other:?}"),
    }
}

#[test]
fn global_arguments_are_seen_by_from_and_asked_for_by_stages() {
    let source = "ARG a=1\nARG b=\"$a-2\" c\nFROM image:$b AS one\nARG b\nUSER $a/$b/$c/$base";
    let file = parse(source).unwrap();
    let globals = Globals::new(&file, &inputs(&[])).unwrap();
    assert_eq!(globals.base(&file.stages[0]).unwrap(), "image:1-2");
    assert_eq!(user(source, &[]), "/1-2//yes");
    assert_eq!(user(source, &[("b", "given")]), "/given//yes");
}

#[test]
fn given_arguments_win_over_defaults_and_later_definitions_over_earlier() {
    assert_eq!(user("FROM x\nARG a=1\nUSER $a", &[("a", "2")]), "2");
    assert_eq!(user("FROM x\nARG a=1\nENV a=3\nUSER $a", &[("a", "2")]), "3");
    assert_eq!(user("FROM x\nENV a=3\nARG a=1\nUSER $a", &[]), "1");
    assert_eq!(user("FROM x\nENV a=3\nARG a\nUSER $a", &[]), "3");
    assert_eq!(user("FROM x\nUSER $a\nUSER $a", &[("a", "2")]), "");
}

#[test]
fn one_instruction_sees_what_was_set_before_it() {
    assert_eq!(user("FROM x\nENV a=1\nENV a=2 b=$a\nUSER $b", &[]), "1");
    // Arguments of one line are defined one after the other.
    assert_eq!(user("FROM x\nARG a=1 b=$a\nUSER $b", &[]), "1");
    assert_eq!(user("FROM x\nENV a  b \"c\"  d\nUSER $a", &[]), "b c  d");
}

#[test]
fn platforms_are_arguments_and_can_be_given() {
    assert_eq!(
        user("FROM x\nARG TARGETPLATFORM BUILDARCH\nUSER $TARGETPLATFORM:$BUILDARCH", &[]),
        "linux/arm64:amd64"
    );
    assert_eq!(user("FROM x\nUSER a$TARGETARCH", &[]), "a");
    assert_eq!(user("FROM x\nARG TARGETARCH\nUSER $TARGETARCH", &[("TARGETARCH", "z")]), "z");
    assert_eq!(user("FROM x\nARG TARGETSTAGE\nUSER $TARGETSTAGE", &[]), "default");
    let file = parse("FROM --platform=$BUILDPLATFORM x").unwrap();
    let globals = Globals::new(&file, &inputs(&[])).unwrap();
    assert_eq!(globals.platform(&file.stages[0]).unwrap().as_deref(), Some("linux/amd64"));
}

#[test]
fn arguments_reach_run_but_not_the_image() {
    let file = parse("FROM x\nARG a=1 BUILDKIT_SBOM_SCAN_STAGE=true\nENV b=2").unwrap();
    let globals = Globals::new(&file, &inputs(&[("http_proxy", "p"), ("HTTPS_PROXY", "")])).unwrap();
    let mut scope = globals.stage(Environment::default());
    file.stages[0].instructions.iter().for_each(|instruction| drop(scope.expand(instruction).unwrap()));
    assert_eq!(scope.run_environment().texts(), ["a=1", "b=2"]);
    assert_eq!(scope.image_environment().texts(), ["b=2"]);
    assert_eq!(globals.proxies().collect::<Vec<_>>(), [("http_proxy", "p")]);
}

#[test]
fn references_are_known_before_anything_is_built() {
    let source = "ARG from=one\nFROM x\nARG from\nARG to=two\nCOPY --from=$from a b\nCOPY c d\n\
        RUN --mount=type=bind,from=$to,target=/x --mount=type=cache,target=/y true";
    let file = parse(source).unwrap();
    let globals = Globals::new(&file, &inputs(&[])).unwrap();
    let references = globals.references(&file.stages[0]).unwrap();
    assert_eq!(references.iter().map(|word| word.value.as_str()).collect::<Vec<_>>(), ["one", "two"]);
}

#[test]
fn mounts_are_resolved_with_the_variables_of_the_stage() {
    let file = parse(
        "FROM x\nARG id=a,b\nRUN --mount=type=cache,id=$id,'\"target=/x,y\"',sharing=locked,uid=7 true",
    )
    .unwrap();
    let globals = Globals::new(&file, &inputs(&[])).unwrap();
    let mut scope = globals.stage(Environment::default());
    let [argument, run] = file.stages[0].instructions.as_slice() else { panic!() };
    scope.expand(argument).unwrap();
    let Kind::Run(run) = &run.kind else { panic!() };
    let mount = scope.mounts(run).unwrap().remove(0);
    // A value is expanded after the fields are separated.
    assert_eq!(
        (mount.id.as_deref(), mount.target.as_deref(), mount.user_id),
        (Some("a,b"), Some("/x,y"), Some(7))
    );
}

#[test]
fn undefined_variables_are_remembered_unless_they_are_declared() {
    let file = parse("ARG z=$q\nFROM x\nARG a\nUSER $a$b").unwrap();
    let globals = Globals::new(&file, &inputs(&[])).unwrap();
    assert_eq!(globals.undefined[0].0, "q");
    let mut scope = globals.stage(Environment::default());
    file.stages[0].instructions.iter().for_each(|instruction| drop(scope.expand(instruction).unwrap()));
    assert_eq!(scope.undefined.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn arguments_that_nobody_asks_for_are_told() {
    let file = parse("ARG a\nFROM x\nARG b").unwrap();
    let given = [("a", ""), ("b", ""), ("c", ""), ("HTTP_PROXY", ""), ("BUILDKIT_INLINE_CACHE", "1")];
    assert_eq!(Globals::new(&file, &inputs(&given)).unwrap().unconsumed(&file), ["c"]);
}

#[test]
fn heredocs_of_copies_are_expanded_unless_their_word_is_quoted() {
    let file = parse("FROM x\nARG a=1\nCOPY <<e <<'f' /d/\n'$a'\ne\n$a\nf\nEXPOSE $a 80/$nobody").unwrap();
    let globals = Globals::new(&file, &inputs(&[("a", "1 2")])).unwrap();
    let mut scope = globals.stage(Environment::default());
    let expanded: Vec<_> = file.stages[0]
        .instructions
        .iter()
        .map(|instruction| scope.expand(instruction).unwrap().kind)
        .collect();
    let Kind::Copy(copy) = &expanded[1] else { panic!() };
    let contents: Vec<_> = copy.transfer.files.iter().map(|file| file.content.value.as_str()).collect();
    assert_eq!(contents, ["'1 2'\n", "$a\n"]);
    let Kind::Expose(ports) = &expanded[2] else { panic!() };
    assert_eq!(ports.iter().map(|word| word.value.as_str()).collect::<Vec<_>>(), ["1", "2", "80/"]);
}

#[test]
fn a_base_that_comes_to_nothing_is_an_error_at_its_place() {
    let file = parse("ARG a\nFROM $a").unwrap();
    let error = Globals::new(&file, &inputs(&[])).unwrap().base(&file.stages[0]).unwrap_err();
    assert_eq!(error.to_string(), "dockerfile parse error on line 2: base name ($a) should not be blank");
}

#[test]
fn values_that_are_made_of_values_have_an_end() {
    let grow = |count: usize| {
        let lines: String = (0..count).map(|number| format!("ENV E{}=v$E{number}\n", number + 1)).collect();
        let file = parse(&format!("FROM image\n{lines}")).unwrap();
        let globals = Globals::new(&file, &inputs(&[])).unwrap();
        let mut scope = globals.stage(Environment::default());
        let mut instructions = file.stages[0].instructions.iter();
        instructions
            .find_map(|instruction| scope.expand(instruction).err())
            .map(|error| error.problem.to_string())
    };
    assert_eq!(grow(2_000), None);
    assert!(grow(20_000).unwrap().contains("more than 64 MiB"));
}

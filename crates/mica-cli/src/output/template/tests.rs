//! What docker's client printed for the same templates.

use super::*;
use serde_json::{Value as Json, json};

fn document() -> Json {
    json!({
        "Name": "default",
        "Id": "abc",
        "Empty": {},
        "HostConfig": {"Dns": ["9.9.9.9"], "CpuShares": 7},
        "LogConfig": {"Type": "json-file", "Config": {}},
        "Metadata": {},
        "Endpoints": {"docker": {"Host": "unix:///run/x.sock", "SkipTLSVerify": false}},
        "Config": {"Labels": {"a": "b"}, "Empty": null},
        "State": {"Running": true, "Restarts": 0},
        "Nothing": {"Labels": null, "Binds": null, "Init": null},
        "List": [1, 2.5, "x", null, true],
    })
}

fn run(source: &str) -> String {
    let document = document();
    let result = Template::parse(source)
        .and_then(|template| template.execute(&Value::data(&document), Mode::Data(Missing::Error)));
    result.unwrap_or_else(|error| error.to_string().replace("template parsing error: template: ", "! "))
}

fn check(cases: &[(&str, &str)]) {
    for (source, expected) in cases {
        assert_eq!(run(source), *expected, "{source}");
    }
}

#[test]
fn complaints_about_the_source() {
    check(&[
        ("{{", "! :1: unclosed action"),
        ("{{.X", "! :1: unclosed action"),
        ("\n\n{{foo}}", "! :3: function \"foo\" not defined"),
        ("{{if}}", "! :1: missing value for if"),
        ("{{range}}", "! :1: missing value for range"),
        ("{{}}", "! :1: missing value for command"),
        ("{{end}}", "! :1: unexpected {{end}}"),
        ("{{else}}", "! :1: unexpected {{else}}"),
        ("{{if .Name}}", "! :1: unexpected EOF"),
        ("{{\"a}}", "! :1: unterminated quoted string"),
        ("{{ $x }}", "! :1: undefined variable \"$x\""),
        ("{{1 | 2}}", "! :1: non executable command in pipeline stage 2"),
        ("{{break}}", "! :1: {{break}} outside {{range}}"),
        ("{{(}}", "! :1: unclosed left paren"),
        ("{{)}}", "! :1: unexpected right paren"),
        ("{{/* x}}", "! :1: unclosed comment"),
        ("{{'ab'}}", "! :1: malformed character constant: 'ab'"),
        ("{{09}}", "! :1: integer overflow: \"09\""),
        ("{{.Name..X}}", "! :1: unexpected <.> in operand"),
        ("{{!}}", "! :1: unexpected \"!\" in command"),
        ("{{block \"x\"}}", "! :1: missing value for block clause"),
        ("{{if 1}}a{{else with 3}}c{{end}}", "! :1: unexpected <with> in input"),
    ]);
}

#[test]
fn complaints_about_the_data() {
    check(&[
        ("{{.Foo}}", "! :1:2: executing \"\" at <.Foo>: map has no entry for key \"Foo\""),
        ("{{.Metadata.Foo}}", "<no value>"),
        ("{{.Config.Foo.X}}", "! :1:9: executing \"\" at <.Config.Foo.X>: map has no entry for key \"Foo\""),
        ("{{.LogConfig.Config.Foo}}", "<no value>"),
        ("{{.Name.X}}", "! :1:7: executing \"\" at <.Name.X>: can't evaluate field X in type string"),
        ("{{$.Foo}}", "! :1:3: executing \"\" at <$.Foo>: map has no entry for key \"Foo\""),
        (
            "{{index .Endpoints 3}}",
            "! :1:2: executing \"\" at <index .Endpoints 3>: error calling index: value has type int; should be string",
        ),
        (
            "{{index .Name 99}}",
            "! :1:2: executing \"\" at <index .Name 99>: error calling index: index out of range: 99",
        ),
        ("{{len 3}}", "! :1:2: executing \"\" at <len 3>: error calling len: len of type int"),
        (
            "{{eq 1 \"a\"}}",
            "! :1:2: executing \"\" at <eq 1 \"a\">: error calling eq: incompatible types for comparison",
        ),
        (
            "{{lt .Metadata 1}}",
            "! :1:2: executing \"\" at <lt .Metadata 1>: error calling lt: invalid type for comparison",
        ),
        ("{{lower 3}}", "! :1:8: executing \"\" at <3>: expected string; found 3"),
        ("{{upper}}", "! :1:2: executing \"\" at <upper>: wrong number of args for upper: want 1 got 0"),
        ("{{and}}", "! :1:2: executing \"\" at <and>: wrong number of args for and: want at least 1 got 0"),
        ("{{template \"x\"}}", "! :1:11: executing \"\" at <{{template \"x\"}}>: template \"x\" not defined"),
        ("{{\"x\" \"y\"}}", "! :1:2: executing \"\" at <\"x\">: can't give argument to non-function \"x\""),
        ("{{nil}}", "! :1:2: executing \"\" at <nil>: nil is not a command"),
        (
            "{{slice \"abc\" 2 1}}",
            "! :1:2: executing \"\" at <slice \"abc\" 2 1>: error calling slice: invalid slice index: 2 > 1",
        ),
        ("{{call 3}}", "! :1:2: executing \"\" at <call 3>: error calling call: non-function 3 of type int"),
        (
            "{{.Name 3}}",
            "! :1:2: executing \"\" at <.Name>: Name has arguments but cannot be invoked as function",
        ),
        (
            "{{\"a\" | .Name}}",
            "! :1:8: executing \"\" at <.Name>: Name has arguments but cannot be invoked as function",
        ),
        ("{{range .Name}}{{end}}", "! :1:8: executing \"\" at <.Name>: range can't iterate over default"),
        (
            "{{join .Name \",\"}}",
            "! :1:7: executing \"\" at <.Name>: wrong type for value; expected []string; got string",
        ),
        (
            "{{define \"r\"}}{{template \"r\"}}{{end}}{{template \"r\"}}",
            "! :1:25: executing \"r\" at <{{template \"r\"}}>: exceeded maximum template depth (200)",
        ),
    ]);
}

#[test]
fn what_is_null_or_left_out() {
    check(&[
        ("{{.Nothing.Labels}} {{.Nothing.Binds}} {{.Nothing.Init}}", "map[] [] <nil>"),
        ("{{index .Nothing.Labels \"a\"}}|{{len .Nothing.Binds}}|{{json .Nothing.Binds}}", "|0|null"),
        ("{{range .List}}{{.}},{{end}}", "1,2.5,x,<nil>,true,"),
        ("{{.State.Health}}{{if .State.Health}}{{.State.Health.Status}}{{else}} none{{end}}", "<nil> none"),
        (
            "{{.State.Health.Status}}",
            "! :1:8: executing \"\" at <.State.Health.Status>: map has no entry for key \"Health\"",
        ),
    ]);
}

#[test]
fn fields_that_documents_leave_out_have_dockers_empty_values() {
    check(&[
        ("{{.Config.Cmd}}{{.Config.User}}{{.Config.ExposedPorts}}{{.Config.Healthcheck}}", "[]map[]<nil>"),
        (
            "{{.Empty.Labels.foo}}|{{.Empty.Driver}}|{{.Empty.Name}}|{{.Empty.IPRange}}{{.Empty.AuxAddress}}",
            "<no value>|||map[]",
        ),
    ]);
}

#[test]
fn fields_have_the_names_of_dockers_programs_too() {
    check(&[
        ("{{.ID}} {{.Id}} {{.HostConfig.DNS}}{{.HostConfig.CPUShares}}", "abc abc [9.9.9.9]7"),
        ("{{.Config.Labels.ID}}", "<no value>"),
        ("{{index .Config.Labels \"ID\"}}", ""),
    ]);
}

#[test]
fn actions() {
    check(&[
        ("{{.Endpoints.docker.Host}}", "unix:///run/x.sock"),
        ("{{.Endpoints.docker.SkipTLSVerify}}", "false"),
        ("{{(index .Endpoints \"docker\").Host}}", "unix:///run/x.sock"),
        ("{{.List}}", "[1 2.5 x <nil> true]"),
        ("{{.Endpoints}}", "map[docker:map[Host:unix:///run/x.sock SkipTLSVerify:false]]"),
        ("{{json .Endpoints}}", "{\"docker\":{\"Host\":\"unix:///run/x.sock\",\"SkipTLSVerify\":false}}"),
        ("{{index .Config.Labels \"a\"}}{{index .Config.Labels \"z\"}}", "b"),
        ("{{with .Metadata.foo}}a{{else}}b{{end}}", "b"),
        ("{{with 0}}a{{else with 3}}c{{.}}{{end}}", "c3"),
        ("{{if 0}}a{{else if 2}}b{{else}}c{{end}}", "b"),
        ("{{range .Endpoints}}{{.Host}}{{end}}", "unix:///run/x.sock"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}}{{end}}", "a=b"),
        ("{{range 2}}{{.}}{{else}}n{{end}}{{range 0}}{{else}}n{{end}}", "01n"),
        ("{{range $i, $c := split \"a,b\" \",\"}}{{$i}}={{$c}};{{end}}", "0=a;1=b;"),
        ("{{range 5}}{{if eq . 1}}{{continue}}{{end}}{{if eq . 3}}{{break}}{{end}}{{.}}{{end}}", "02"),
        ("{{define \"t\"}}<{{.}}>{{end}}{{template \"t\" 3}}{{block \"b\" 4}}[{{.}}]{{end}}", "<3>[4]"),
        ("{{$x := 1}}{{$x = 2}}{{$x}}{{if true}}{{$x = 5}}{{end}}{{$x}}", "25"),
        ("a  {{- 1 -}}  b {{- /* c */ -}} d", "a1bd"),
        ("{{`raw`}}{{\"\\u00e9\\x41\\n\"}}", "raw\u{e9}A\n"),
        (
            "{{1.0}} {{1e3}} {{0x10}} {{1_000}} {{'a'}} {{2.5}} {{1e21}} {{-3}} {{+3}} {{.5}} {{0b11}} {{0o17}} {{017}}",
            "1 1000 16 1000 97 2.5 1e+21 -3 3 0.5 3 15 15",
        ),
    ]);
}

#[test]
fn functions() {
    check(&[
        ("{{print 1 2 \"a\" \"b\" 3 1.5 true nil}}", "1 2ab3 1.5 true <nil>"),
        ("{{println \"a\" 1}}x", "a 1\nx"),
        (
            "{{printf \"%d %q %s %v %x %t %z %5.2f|%-6s|\" 1 \"a\" 3 \"q\" \"zz\" true 4 1.5 \"ab\"}}",
            "1 \"a\" %!s(int=3) q 7a7a true %!z(int=4)  1.50|ab    |",
        ),
        (
            "{{printf \"%d\" \"x\"}} {{printf \"%s\"}} {{printf \"%d\" 1 2}} {{printf \"%\"}}",
            "%!d(string=x) %!s(MISSING) 1%!(EXTRA int=2) %!(NOVERB)",
        ),
        (
            "{{printf \"%5q|%-5d|%05d|%+d|%x|%X|%o|%b|%c|%U|%e|%g|%t\" \"a\" 1 2 3 255 255 8 5 65 66 1.5 1e21 true}}",
            "  \"a\"|1    |00002|+3|ff|FF|10|101|A|U+0042|1.500000e+00|1e+21|true",
        ),
        (
            "{{printf \"%s %v %q\" (split \"a,b\" \",\") (split \"a,b\" \",\") (split \"a,b\" \",\")}}",
            "[a b] [a b] [\"a\" \"b\"]",
        ),
        ("{{1 | printf \"%d-%d\" 2}}{{\"a\" | upper | printf \"%s!\"}}", "2-1A!"),
        (
            "{{html \"<a&\\\"'>\"}} {{js \"a'b<\\n\"}} {{urlquery \"a b&c\"}}",
            "&lt;a&amp;&#34;&#39;&gt; a\\'b\\u003C\\u000A a+b%26c",
        ),
        ("{{and 1 0 \"x\"}}{{or 0 \"\" \"y\"}}{{not 0}}", "0ytrue"),
        (
            "{{eq 1 2 3 1}}{{ne 1 2}}{{le 1 1}}{{ge 2 1}}{{eq .Name nil}}{{eq nil nil}}",
            "truetruetruetruefalsetrue",
        ),
        (
            "{{title \"hello wORLD\"}} {{pad \"a\" 1 2}}|{{pad \"\" 1 2}}|{{truncate \"abcdef\" 3}}",
            "Hello WORLD  a  ||abc",
        ),
        (
            "{{len .Endpoints}} {{len \"h\u{e9}llo\"}} {{index \"abc\" 1}} {{slice \"abcdef\" 1 3}}",
            "1 6 98 bc",
        ),
        (
            "{{split \"a,b\" \",\"}}{{json (split \"a,b\" \",\")}}{{join (split \"a,b\" \",\") \"-\"}}",
            "[a b][\"a\",\"b\"]a-b",
        ),
        ("{{json \"<>&\"}}", "\"<>&\""),
    ]);
}

#[test]
fn nesting_is_bounded() {
    assert_eq!(run(&format!("{{{{{}1}}}}", "(".repeat(5000))), "! :1: nested too deeply");
    assert_eq!(run(&"{{if 1}}".repeat(5000)), "! :1: nested too deeply");
    assert_eq!(run(&format!("{{{{if 1}}}}{}", "{{else if 1}}".repeat(5000))), "! :1: nested too deeply");
}

proptest::proptest! {
    #[test]
    fn never_panics(source in ".*") {
        run(&source);
        run(&format!("{{{{{source}}}}}"));
    }

    #[test]
    fn never_panics_on_likely_words(words in proptest::collection::vec(
        proptest::sample::select(vec![
            "{{", "}}", "{{-", " -}}", " ", ".", ".Name", "$", "$x", ":=", "=", "|", "(", ")", "if ", "else", "end",
            "range ", "with ", "define ", "\"a\"", "template ", "block ", "printf ", "\"%*.3d\"", "3", "1e9", "index ",
            "slice ", ".List", ",", "break", "continue", "eq ", "/*", "*/", "nil", "'", "`", "\n",
        ]),
        0..24,
    )) {
        run(&words.concat());
    }
}

//! Files in, builds out.

use super::*;

fn read(text: &str, variables: &[(&str, &str)]) -> Result<Bake, BakeError> {
    let name = if text.starts_with('{') { "docker-bake.json" } else { "docker-bake.hcl" };
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let settings = Settings { variables, local_platform: "linux/amd64".to_owned(), ..Settings::default() };
    Bake::read(&[BakeFile { name: name.to_owned(), text: text.to_owned() }], &settings)
}

fn resolve(text: &str, names: &[&str]) -> Result<Vec<Target>, BakeError> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    read(text, &[])?.resolve(&names, &[]).map(|plan| plan.targets)
}

fn tags(text: &str, variables: &[(&str, &str)]) -> String {
    let plan = read(text, variables).unwrap().resolve(&[], &[]).unwrap();
    plan.targets.iter().map(|target| target.list("tags").join(" ")).collect::<Vec<_>>().join("; ")
}

#[test]
fn targets_groups_and_defaults() {
    let text = r#"
        group "default" { targets = ["app", "all"] }
        group "all" { targets = ["db", "app"] }
        target "app" { tags = ["app:1"] }
        target "db" {
          context = "db"
          dockerfile = "Db.Dockerfile"
          args = { A = 1, B = true, C = null }
          no-cache = true
          cache-from = [{ type = "registry", ref = "x/y" }, "z"]
        }
    "#;
    let targets = resolve(text, &[]).unwrap();
    let names: Vec<_> = targets.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(names, ["app", "db"]);
    assert_eq!((targets[0].text("context"), targets[0].text("dockerfile")), (Some("."), Some("Dockerfile")));
    assert_eq!(targets[1].list("cache-from"), ["type=registry,ref=x/y", "z"]);
    let arguments: Vec<_> =
        targets[1].map("args").iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(
        (arguments, targets[1].truth("no-cache")),
        (vec!["A=1".to_owned(), "B=true".to_owned()], Some(true))
    );
    let error = resolve(text, &["ap"]).unwrap_err();
    assert_eq!(error.to_string(), "failed to find target ap, did you mean app?");
}

#[test]
fn inheritance_merges_maps_and_appends_or_replaces_lists() {
    let text = r#"
        target "base" {
          args = { a = "1", b = "1" }
          tags = ["base"]
          secret = ["id=x"]
        }
        target "other" { args = { b = "2" } }
        target "default" {
          inherits = ["base", "other"]
          args = { c = "3" }
          tags = ["own"]
          secret = ["id=y"]
        }
        target "circle" { inherits = ["circle"] }
    "#;
    let target = resolve(text, &[]).unwrap().remove(0);
    let arguments: Vec<_> = target.map("args").values().cloned().collect();
    assert_eq!(arguments, ["1", "2", "3"]);
    assert_eq!(
        (target.list("tags"), target.list("secret")),
        (&["own".to_owned()][..], &["id=x".to_owned(), "id=y".to_owned()][..])
    );
    assert_eq!(resolve(text, &["circle"]).unwrap_err(), BakeError::Circle { name: "circle".into() });
}

#[test]
fn variables_come_from_defaults_the_environment_and_each_other() {
    let text = r#"
        REPO = "r/${NAME}"
        variable "NAME" { default = "app" }
        variable "COUNT" { default = 1 }
        variable "DEBUG" { default = false }
        variable "UNSET" {}
        target "default" {
          tags = ["${REPO}:${COUNT + 1}", DEBUG ? "debug" : "release", UNSET == null ? "unset" : UNSET]
        }
    "#;
    assert_eq!(tags(text, &[]), "r/app:2 release unset");
    let given = [("NAME", "x"), ("COUNT", "4"), ("DEBUG", "true"), ("UNSET", "set"), ("REPO", "no")];
    assert_eq!(tags(text, &given), "r/x:5 debug set");
    let error = read(text, &[("COUNT", "many")]).unwrap_err().to_string();
    assert_eq!(error, "docker-bake.hcl:4:9: variable COUNT: expected a number, not many");
    let error = read("a = b\nb = a", &[]).unwrap_err().to_string();
    assert!(error.starts_with("docker-bake.hcl:1:1: variable a: "), "{error}");
}

#[test]
fn validations_refuse_values() {
    let text = r#"
        variable "V" {
          default = "1"
          validation {
            condition = V != ""
            error_message = "V must not be empty"
          }
        }
        target "default" { tags = [V] }
    "#;
    assert_eq!(tags(text, &[("V", "2")]), "2");
    let error = read(text, &[("V", "")]).unwrap_err();
    assert_eq!(error.to_string(), "docker-bake.hcl:2:9: variable V: V must not be empty");
}

#[test]
fn a_matrix_makes_a_target_of_each_combination() {
    let text = r#"
        group "default" { targets = ["build"] }
        target "build" {
          name = "app-${os}-${replace(item.v, ".", "-")}"
          matrix = { os = ["a", "b"], item = [{ v = "1.0" }, { v = "2" }] }
          tags = ["${os}:${item.v}"]
        }
    "#;
    assert_eq!(tags(text, &[]), "a:1.0; a:2; b:1.0; b:2");
    assert_eq!(resolve(text, &["app-b-2"]).unwrap().len(), 1);
    let unnamed = "target \"x\" { matrix = { a = [1] } }";
    let error = resolve(unnamed, &["x"]).unwrap_err().to_string();
    assert_eq!(error, "docker-bake.hcl:1:14: target x: a matrix needs a name");
}

#[test]
fn functions_of_the_file_and_of_docker() {
    let text = r#"
        variable "N" { default = "n" }
        function "tag" {
          params = [name, version]
          result = "${N}/${name}:${version}"
        }
        function "tags" {
          params = [name]
          variadic_params = versions
          result = [for v in versions : tag(name, upper(v))]
        }
        target "default" {
          tags = concat(tags("x", "a", "b"), [format("%s-%03d", "y", 7), "${tag("z", 1 + 6 / 3)}", "%{ for v in ["p", "q"] }${v}/%{ endfor }%{ if true }t%{ else }f%{ endif }"])
        }
    "#;
    assert_eq!(tags(text, &[]), "n/x:A n/x:B y-007 n/z:3 p/q/t");
    let circle = "function \"f\" {\n params = [x]\n result = f(x)\n}\ntarget \"default\" { tags = [f(1)] }";
    assert!(resolve(circle, &[]).unwrap_err().to_string().contains("calls itself"));
}

#[test]
fn targets_refer_to_each_other_and_need_each_other() {
    let text = r#"
        target "default" {
          tags = ["${target.base.tags[0]}-more"]
          contexts = { base = "target:base" }
        }
        target "base" { tags = ["b"] }
    "#;
    assert_eq!(tags(text, &[]), "b; b-more");
}

#[test]
fn json_files_say_the_same() {
    let text = r#"{
        "variable": {"V": {"default": "1"}},
        "group": {"default": {"targets": ["app"]}},
        "target": {"app": {"tags": ["x:${V}"], "args": {"A": "${upper("b")}"}}}
    }"#;
    assert_eq!(tags(&text.replace("\"b\"", "V"), &[("V", "2")]), "x:2");
    assert!(matches!(read("{", &[]), Err(BakeError::Syntax { .. })));
}

#[test]
fn overrides_change_targets_by_name_or_pattern() {
    let text = "target \"default\" { tags = [\"a\"] }\ntarget \"other\" {}";
    let bake = read(text, &[]).unwrap();
    let set = |changes: &[&str]| {
        let changes: Vec<_> = changes.iter().map(|change| Override::parse(change).unwrap()).collect();
        bake.resolve(&[], &changes).unwrap().targets.remove(0)
    };
    assert_eq!(set(&["*.tags=b"]).list("tags"), ["b"]);
    assert_eq!(set(&["def*.tags+=b"]).list("tags"), ["a", "b"]);
    assert_eq!(set(&["default.args.X.Y=1=2"]).map("args").get("X.Y").map(String::as_str), Some("1=2"));
    assert_eq!(set(&["other.tags=b", "*.no-cache=true"]).truth("no-cache"), Some(true));
    assert_eq!(set(&["*.push=true"]).list("output"), ["type=registry"]);
    for wrong in ["tags=b", "x.tags", "x.tgas=b", "x.args=b", ".tags=b"] {
        assert!(Override::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_is_printed_is_what_is_built() {
    let text = "target \"app\" { tags = [\"a\"] }";
    let plan = read(text, &[]).unwrap().resolve(&["app".to_owned()], &[]).unwrap();
    let expected = r#"{"group":{"default":{"targets":["app"]}},"target":{"app":{"context":".","dockerfile":"Dockerfile","tags":["a"]}}}"#;
    assert_eq!(plan.document().to_string(), expected);
}

#[test]
fn mistakes_are_told_with_their_place() {
    let fails = |text: &str| resolve(text, &["x"]).unwrap_err().to_string();
    assert_eq!(
        fails("target \"x\" { tgas = [] }"),
        "docker-bake.hcl:1:14: target x: unknown attribute \"tgas\", did you mean tags?"
    );
    assert_eq!(
        fails("\ntarget \"x\" {\n  tags = \"a\"\n}"),
        "docker-bake.hcl:3:3: target x.tags: expected a list of texts, not \"a\""
    );
    assert!(fails("target \"x\" { context = nothing }").contains(":1:14: target x.context: "));
    assert!(fails("a = 1\ntarget \"x\" {{").starts_with("docker-bake.hcl:2:"));
    assert!(fails("target \"x y\" {}").contains("invalid name"));
    assert!(fails("trget \"x\" {}").contains("unexpected block"));
    assert!(fails(&format!("a = {}1{}", "(".repeat(200), ")".repeat(200))).contains("nested deeper"));
    for expression in [
        "1 / 0",
        "1 % 0",
        "divide(1, 0)",
        "9223372036854775807 + 1",
        "1e308 * 10",
        "1e999",
        "-(-9223372036854775807 - 1)",
    ] {
        // An error or a number, but never the end of the program.
        let _ = resolve(&format!("target \"x\" {{ context = \"${{{expression}}}\" }}"), &["x"]);
    }
}

//! `mica search`, against registries that can be searched, that have a catalog, and that have neither.

use e2e::registry::Answer;
use e2e::{Registry, World};
use serde_json::json;

#[test]
#[ignore = "needs root"]
fn privileged_search_shows_dockers_columns_sorted_by_stars() {
    let world = World::new();
    let registry = Registry::new();
    let results = json!({"num_results": 2, "results": [
        {"name": "team/few", "description": "long ".repeat(20), "star_count": 2, "is_official": false},
        {"name": "many", "description": "two\nlines \u{1b}[2J", "star_count": 70, "is_official": true},
    ]});
    registry.put("GET /v1/search", Answer::new("application/json", results.to_string()));
    let term = registry.name("team app");
    let lines = world.mica(["search", &term]).success().lines();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&lines[0]), ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]);
    assert!(lines[1].starts_with("many") && lines[1].contains("two lines") && lines[1].ends_with("[OK]"));
    assert!(!lines[1].contains('\u{1b}') && lines[2].contains('…'));
    let asked = registry.asked();
    assert_eq!(asked[0].query, "q=team%20app&n=25");
    world.mica(["search", "--no-trunc", "--filter", "stars=3", &term]).success().stdout_lacks("few");
    world
        .mica(["search", "-f", "is-official=false", "--format", "{{.Name}}:{{.StarCount}}", &term])
        .stdout_is("team/few:2\n");
    world.mica(["search", "--limit", "7", &term]).success();
    assert!(registry.asked().last().unwrap().query.ends_with("n=7"));
    world.mica(["search", "--limit", "101", &term]).code(1).stderr_contains("outside the range of [1, 100]");
    world
        .mica(["search", "--filter", "colour=red", &term])
        .code(1)
        .stderr_contains("invalid filter 'colour'");
    world.mica(["search", &format!("https://{term}")]).code(1).stderr_contains("should not have a scheme");
    world.mica(["search"]).code(1).stderr_contains("requires 1 argument");
}

#[test]
#[ignore = "needs root"]
fn privileged_search_falls_back_to_the_catalog_and_says_when_there_is_none() {
    let world = World::new();
    let registry = Registry::new();
    let first = Answer::new("application/json", json!({"repositories": ["team/app", "other"]}).to_string());
    let next = first.clone().header("Link", "</v2/_catalog?n=1000&last=other>; rel=\"next\"");
    let last = Answer::new("application/json", json!({"repositories": ["zoo/app"]}).to_string());
    registry.put_all("GET /v2/_catalog", [next, last]);
    let term = registry.name("app");
    world.mica(["search", "--format", "{{.Name}}", &term]).success().stdout_is("team/app\nzoo/app\n");
    registry.put("GET /v2/_catalog", Answer::status(404));
    world
        .mica(["search", &term])
        .code(1)
        .stderr_contains("offers neither the search of version 1 nor a catalog");
    registry.put("GET /v2/_catalog", Answer::status(401).header("WWW-Authenticate", "Basic realm=\"r\""));
    world.mica(["search", &term]).code(1).stderr_contains("unauthorized");
}

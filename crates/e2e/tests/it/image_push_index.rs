//! `mica push` of images that came under an index: the index arrives as it was, with all that it leads to.

use e2e::registry::{Answer, INDEX_TYPE, MANIFEST_TYPE, Registry, architecture};
use e2e::{DockerRegistry, Entry, Output, Tarball, World};
use serde_json::{Value, json};

/// An index of an image for this machine, one for another, and a note on how they were built.
struct Published {
    index: String,
    own: String,
    other: String,
    note: String,
}

fn describe(digest: &str, size: usize, platform: &Value) -> Value {
    json!({"mediaType": MANIFEST_TYPE, "digest": digest, "size": size, "platform": platform})
}

fn publish(registry: &Registry, path: &str) -> Published {
    let image =
        |tag: &str| registry.publish(path, tag, &[Tarball::new().with(Entry::file("file", tag)).finish()]);
    let (own, other) = (image("own"), image("other"));
    let note = json!({"_type": "https://in-toto.io/Statement/v0.1"}).to_string().into_bytes();
    let empty = registry.put_blob(path, b"{}");
    let note_digest = registry.put_blob(path, &note);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": empty, "size": 2},
        "layers": [{"mediaType": "application/vnd.in-toto+json", "digest": note_digest, "size": note.len()}],
    });
    let note = registry.put_manifest(path, "note", MANIFEST_TYPE, &manifest);
    let size = |manifest: &Value| manifest.to_string().len();
    let mut attestation =
        describe(&note, size(&manifest), &json!({"os": "unknown", "architecture": "unknown"}));
    attestation["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX_TYPE,
        "manifests": [
            describe(&other.digest, size(&other.manifest), &json!({"os": "linux", "architecture": "s390x"})),
            describe(&own.digest, size(&own.manifest), &json!({"os": "linux", "architecture": architecture()})),
            attestation,
        ],
    });
    let index = registry.put_manifest(path, "all", INDEX_TYPE, &index);
    Published { index, own: own.digest, other: other.digest, note }
}

/// An index that was pulled, on its way from one registry to another one.
struct Passage {
    world: World,
    source: Registry,
    published: Published,
    /// What it was pulled by.
    origin: String,
    registry: DockerRegistry,
}

impl Passage {
    /// `None` where Debian's registry is not installed.
    fn begin() -> Option<Self> {
        if !DockerRegistry::is_installed() {
            return None;
        }
        let (world, source) = (World::new(), Registry::new());
        let published = publish(&source, "from/here");
        let (origin, registry) = (source.name("from/here:all"), DockerRegistry::new());
        world.mica(["pull", "-q", &origin]).success();
        Some(Self { world, source, published, origin, registry })
    }
}

fn digest_of(pushed: &Output) -> String {
    let text = pushed.stdout();
    text.rsplit("digest: ").next().unwrap().split(' ').next().unwrap().to_owned()
}

#[test]
#[ignore = "needs root"]
fn privileged_a_pulled_index_is_pushed_on_whole_with_its_digest() {
    let Some(Passage { world, source: _source, published, origin, registry }) = Passage::begin() else {
        return;
    };
    let name = registry.name("to/there:v1");
    world.mica(["tag", &origin, &name]).success();
    let pushed = world.mica(["push", &name]).success().clone();
    pushed.stdout_contains(": Pushed\n");
    assert_eq!(digest_of(&pushed), published.index);
    assert!(world.inspect(&name, "{{json .RepoDigests}}").contains(&published.index));
    // Everything below it is there, too.
    let reader = World::new();
    reader.mica(["pull", &name]).success().stdout_contains(&published.index);
    for digest in [&published.own, &published.other, &published.note] {
        reader.mica(["manifest", "inspect", &registry.name(&format!("to/there@{digest}"))]).success();
    }
    // Again, nothing is sent; in another repository of the registry it is taken over.
    world.mica(["push", &name]).success().stdout_contains("Layer already exists");
    let neighbour = registry.name("to/neighbour:v1");
    reader.mica(["pull", "-q", &name]).success();
    reader.mica(["tag", &name, &neighbour]).success();
    let mounted = reader.mica(["push", &neighbour]).success().clone();
    mounted.stdout_contains("Mounted from to/there").stdout_lacks(": Pushed");
    assert_eq!(digest_of(&mounted), published.index);
}

#[test]
#[ignore = "needs root"]
fn privileged_one_platform_of_an_index_is_pushed_alone() {
    let Some(Passage { world, source: _source, published, origin, registry }) = Passage::begin() else {
        return;
    };
    for (platform, digest) in
        [("linux/s390x", &published.other), (&*format!("linux/{}", architecture()), &published.own)]
    {
        let name = registry.name(&format!("one:{}", platform.replace('/', "-")));
        world.mica(["tag", &origin, &name]).success();
        let pushed = world.mica(["push", "--platform", platform, &name]).success().clone();
        assert_eq!(&digest_of(&pushed), digest);
    }
    let name = registry.name("one:none");
    world.mica(["tag", &origin, &name]).success();
    world.mica(["push", "--platform", "linux/riscv64", &name]).code(1).stderr_contains("linux/riscv64");
}

#[test]
#[ignore = "needs root"]
fn privileged_without_its_source_the_image_goes_alone_and_that_is_said() {
    let Some(Passage { world, source, published, origin, registry }) = Passage::begin() else { return };
    let name = registry.name("to/there:v1");
    world.mica(["tag", &origin, &name]).success();
    source.put(&format!("GET /v2/from/here/manifests/{}", published.other), Answer::status(404));
    let pushed = world.mica(["push", &name]).success().clone();
    pushed
        .stdout_contains("only the available single-platform image is pushed")
        .stdout_contains(&published.index);
    assert_eq!(digest_of(&pushed), published.own);
    // Nor is something else taken for it.
    let lie = Answer::new(MANIFEST_TYPE, "{}");
    source.put(&format!("GET /v2/from/here/manifests/{}", published.other), lie);
    let other = registry.name("to/other:v1");
    world.mica(["tag", &origin, &other]).success();
    assert_eq!(digest_of(world.mica(["push", &other]).success()), published.own);
    // A pull of the single image makes the name one of a single image.
    world.mica(["pull", "-q", &source.name("from/here:own")]).success();
    let single = registry.name("to/single:v1");
    world.mica(["tag", &source.name("from/here:own"), &single]).success();
    let pushed = world.mica(["push", &single]).success().clone();
    pushed.stdout_lacks("single-platform");
    assert_eq!(digest_of(&pushed), published.own);
}

#[test]
#[ignore = "needs root"]
fn privileged_an_image_that_is_compressed_anew_goes_without_its_index_and_that_is_said() {
    let Some(Passage { world, source: _source, published, origin, registry }) = Passage::begin() else {
        return;
    };
    let name = registry.name("to/there:zstd");
    world.mica(["tag", &origin, &name]).success();
    let pushed = world.mica(["push", "--compression-format", "zstd", &name]).success().clone();
    pushed.stdout_contains(&format!(
        "Only the single-platform image is compressed anew and pushed; the index was {}",
        published.index
    ));
    assert!(![&published.index, &published.own].contains(&&digest_of(&pushed)), "{pushed:?}");
    let other = World::new();
    other.mica(["pull", "-q", &name]).success();
    assert_eq!(other.inspect(&name, "{{.Id}}"), world.inspect(&origin, "{{.Id}}"));
    // Asked for nothing of the kind, it goes with its index.
    let whole = registry.name("to/there:whole");
    world.mica(["tag", &origin, &whole]).success();
    assert_eq!(digest_of(world.mica(["push", &whole]).success()), published.index);
}

#[test]
#[ignore = "needs root"]
fn privileged_an_index_that_leads_nowhere_or_for_ever_is_not_pushed_on() {
    if !DockerRegistry::is_installed() {
        return;
    }
    let world = World::new();
    let source = Registry::new();
    let own = source.publish("deep", "own", &[Tarball::new().with(Entry::file("f", "f")).finish()]);
    let platform = json!({"os": "linux", "architecture": architecture()});
    let size = own.manifest.to_string().len();
    let mut listed = describe("sha256:0", 0, &platform);
    let mut below = (own.digest.clone(), size, MANIFEST_TYPE);
    for number in 0..6 {
        listed["digest"] = below.0.clone().into();
        listed["size"] = below.1.into();
        listed["mediaType"] = below.2.into();
        let mut first = describe(&own.digest, size, &platform);
        first["annotations"] = json!({"depth": number.to_string()});
        let index = json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [first, listed]});
        let digest = source.put_manifest("deep", &format!("d{number}"), INDEX_TYPE, &index);
        below = (digest, index.to_string().len(), INDEX_TYPE);
    }
    let registry = DockerRegistry::new();
    let origin = source.name("deep:d5");
    world.mica(["pull", "-q", &origin]).success();
    let name = registry.name("deep:v1");
    world.mica(["tag", &origin, &name]).success();
    world.mica(["push", &name]).code(1).stderr_contains("indexes lead too deep or to too much");
    world.mica(["manifest", "inspect", &name]).code(1);
}

//! What is typed after `--mount`, and what becomes of it.

use super::*;
use proptest::prelude::*;

fn parsed(typed: &str) -> Result<Mount, String> {
    parse(typed, Path::new("/here/now")).map_err(|error| error.message)
}

#[test]
fn the_usual_forms() {
    let mount = parsed("type=bind,src=/a,dst=/b,ro").unwrap();
    assert_eq!((mount.kind.as_str(), mount.source.as_str(), mount.target.as_str()), ("bind", "/a", "/b"));
    assert!(mount.read_only);
    assert_eq!(parsed("source=v,destination=/b").unwrap().kind, "volume");
    assert!(!parsed("src=v,dst=/b,readonly=false").unwrap().read_only);
    assert!(parsed("SRC=v,DST=/b,READONLY=1").unwrap().read_only);
    let memory = parsed("type=tmpfs,dst=/t,tmpfs-size=64k,tmpfs-mode=1770").unwrap();
    assert_eq!(memory.tmpfs_options, Some(TmpfsOptions { size_bytes: 65536, mode: 0o1770 }));
    let image = parsed("type=image,src=busybox,dst=/i,image-subpath=bin").unwrap();
    assert_eq!(image.image_options, Some(ImageOptions { subpath: "bin".to_owned() }));
}

#[test]
fn sources_with_a_dot_are_relative() {
    for (typed, expected) in [
        ("./x", "/here/now/x"),
        (".", "/here/now"),
        ("../x/.", "/here/x"),
        (".x", ".x"),
        ("/a/../b", "/a/../b"),
    ] {
        assert_eq!(parsed(&format!("type=bind,src={typed},dst=/b")).unwrap().source, expected);
    }
}

#[test]
fn quotes_hold_commas_together() {
    let mount = parsed("type=volume,dst=/d,\"volume-opt=o=addr=1.2.3.4,rw\",volume-opt=type=nfs").unwrap();
    let driver = mount.volume_options.unwrap().driver_config.unwrap();
    assert_eq!(driver.options.unwrap()["o"], "addr=1.2.3.4,rw");
    assert_eq!(parsed("\"src=/a,\"\"b\",dst=/d").unwrap().source, "/a,\"b");
    for (typed, words) in [
        ("src=a\"b,dst=/d", "column 6: bare \" in non-quoted field"),
        ("\"src=a", "extraneous or missing \" in quoted-field"),
        ("\"src=a\"b,dst=/d", "extraneous or missing \" in quoted-field"),
    ] {
        let told = parsed(typed).unwrap_err();
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn binds_tell_how_far_they_reach() {
    let options = |typed: &str| parsed(&format!("type=bind,src=/a,dst=/b,{typed}")).unwrap().bind_options;
    assert_eq!(options("bind-recursive=enabled"), Some(BindOptions::default()));
    assert!(options("bind-recursive=disabled").unwrap().non_recursive);
    assert!(options("bind-nonrecursive").unwrap().non_recursive);
    assert!(options("ro,bind-recursive=writable").unwrap().read_only_non_recursive);
    assert!(
        options("ro,bind-recursive=readonly,bind-propagation=rprivate").unwrap().read_only_force_recursive
    );
    assert!(options("bind-create-src").unwrap().create_mountpoint);
}

#[test]
fn nonsense_is_refused_in_dockers_words() {
    for (typed, words) in [
        ("", "value is empty"),
        ("type=bind,src", "invalid field 'src' must be a key=value pair"),
        ("src=,dst=/b", "invalid value for 'src': value is empty"),
        ("src=a, dst=/b", "option should not have whitespace"),
        ("src=a,dst= /b", "value should not have whitespace"),
        ("ro=maybe,dst=/b", "invalid value for 'ro': invalid boolean value: maybe"),
        ("colour=red", "unexpected key 'colour' in 'colour=red'"),
        ("type=tmpfs,dst=/t,tmpfs-size=many", "invalid value for tmpfs-size: many"),
        ("type=tmpfs,dst=/t,tmpfs-mode=9", "invalid value for tmpfs-mode: 9"),
        ("type=bind,src=/a,dst=/b,volume-nocopy", "cannot mix 'volume-*' options with mount type 'bind'"),
        ("src=a,dst=/b,bind-nonrecursive", "cannot mix 'bind-*' options with mount type 'volume'"),
        ("type=bind,src=/a,dst=/b,bind-recursive=maybe", "invalid value for bind-recursive: maybe"),
        ("type=bind,src=/a,dst=/b,bind-recursive=writable", "requires 'readonly'"),
        ("type=bind,src=/a,dst=/b,ro,bind-recursive=readonly", "requires 'bind-propagation=rprivate'"),
    ] {
        let told = parsed(typed).unwrap_err();
        assert!(told.contains(words), "{typed}: {told}");
    }
}

proptest! {
    #[test]
    fn whatever_is_typed_is_answered(typed in "\\PC{0,60}") {
        let _ = parsed(&typed);
    }

    #[test]
    fn a_quoted_field_comes_back_as_it_was(value in "[^\\s\"]([^\"\n]{0,20}[^\\s\"])?") {
        let quoted = format!("\"dst={}\"", value.replace('"', "\"\""));
        prop_assert_eq!(parsed(&quoted).unwrap().target, value);
    }
}

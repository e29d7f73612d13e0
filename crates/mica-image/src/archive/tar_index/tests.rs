//! Tests of the table, with archives made in memory.

use super::*;
use crate::archive::fixture::{self, Tar};
use proptest::prelude::*;

fn read(bytes: &[u8]) -> Result<TarIndex> {
    TarIndex::read(&fixture::section(bytes))
}

fn found(bytes: &[u8], name: &str) -> Option<Vec<u8>> {
    let (offset, size) = read(bytes).unwrap().find(name).unwrap()?;
    let mut content = vec![0; usize::try_from(size).unwrap()];
    fixture::section(bytes).read_at(&mut content, offset).unwrap();
    Some(content)
}

#[test]
fn finds_files_under_any_spelling_and_the_last_of_a_name() {
    let bytes = Tar::new().file("./a/b", b"old").file("c", b"c").file("a//b", b"new").finish();
    assert_eq!(found(&bytes, "a/b").unwrap(), b"new");
    assert_eq!(found(&bytes, "./c").unwrap(), b"c");
    assert_eq!(found(&bytes, "a"), None);
}

#[test]
fn follows_links_within_the_table_only() {
    let bytes = Tar::new()
        .file("one/layer.tar", b"x")
        .link(b'2', "two/layer.tar", "../one/layer.tar")
        .link(b'1', "hard", "two/layer.tar")
        .link(b'2', "loop", "loop")
        .link(b'2', "absolute", "/etc/passwd")
        .link(b'2', "outside", "../../etc/passwd")
        .link(b'2', "dangling", "nowhere")
        .finish();
    assert_eq!(found(&bytes, "two/layer.tar").unwrap(), b"x");
    assert_eq!(found(&bytes, "hard").unwrap(), b"x");
    let index = read(&bytes).unwrap();
    for name in ["loop", "absolute", "outside", "../x"] {
        assert!(matches!(index.find(name), Err(Error::EntryOutside { .. })), "{name}");
    }
    assert_eq!(index.find("dangling").unwrap(), None);
}

#[test]
fn tar_19_the_extended_size_wins() {
    // The header says 0 bytes, the extended one 512: the bytes look like a header of their own.
    let smuggled = Tar::new().file("smuggled", b"").finish();
    let bytes =
        Tar::new().pax(&[("size", "512")]).raw_header("outer", b'0', 0).raw(&smuggled[..512]).finish();
    let index = read(&bytes).unwrap();
    assert_eq!(index.find("smuggled").unwrap(), None);
    assert_eq!(index.find("outer").unwrap().unwrap().1, 512);
}

#[test]
fn tar_20_long_names_count_and_are_checked() {
    let long = format!("{}/end", "d/".repeat(100));
    let bytes = Tar::new().pax(&[("path", &long)]).file("short", b"x").finish();
    assert_eq!(found(&bytes, &long).unwrap(), b"x");
    let bytes = Tar::new().long_name(b'L', &long).file("short", b"y").file("next", b"z").finish();
    assert_eq!(found(&bytes, &long).unwrap(), b"y");
    assert_eq!(found(&bytes, "next").unwrap(), b"z");
    for bytes in [
        Tar::new().pax(&[("path", "../../evil")]).file("short", b"x").finish(),
        Tar::new().long_name(b'L', "../evil").file("short", b"x").finish(),
        Tar::new().file("a/../../evil", b"x").finish(),
        Tar::new().pax(&[("path", "a\0b")]).file("short", b"x").finish(),
    ] {
        assert!(matches!(read(&bytes), Err(Error::Tar { .. })));
    }
    let bytes = Tar::new().global(&[("path", "elsewhere")]).file("name", b"x").finish();
    assert_eq!(found(&bytes, "name").unwrap(), b"x");
}

#[test]
fn tar_21_giant_claims_are_errors_before_anything_is_allocated() {
    for kind in [b'x', b'g', b'L', b'K', b'0', b'V'] {
        let bytes = Tar::new().raw_header("giant", kind, 8 << 30).finish();
        assert!(matches!(read(&bytes), Err(Error::Tar { .. })), "{}", char::from(kind));
    }
}

#[test]
fn tar_22_damage_is_an_error() {
    let sound = Tar::new().file("a", &[7; 1000]).finish();
    for length in [1, 511, 513, 1024, 1511] {
        assert!(read(&sound[..length]).is_err(), "{length}");
    }
    let mut bad_sum = sound.clone();
    bad_sum[0] ^= 1;
    assert!(read(&bad_sum).is_err());
    for size in [
        &b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"[..],
        b"\x80\0\0\0\x80\0\0\0\0\0\0\0",
        b"9",
        b"-1",
    ] {
        let bytes = Tar::new().header_with_size_field("a", b'0', size).finish();
        assert!(read(&bytes).is_err(), "{size:?}");
    }
    for size in ["-1", "9223372036854775808", "x", ""] {
        let bytes = Tar::new().pax(&[("size", size)]).file("a", b"").finish();
        assert!(read(&bytes).is_err(), "{size:?}");
    }
    let bytes = Tar::new().pax(&[("size", "9223372036854775807")]).file("a", b"").finish();
    assert!(read(&bytes).is_err());
}

#[test]
fn tar_23_the_end_may_be_missing_and_junk_after_it_is_hidden() {
    let sound = Tar::new().file("a", b"x").finish();
    let unended = &sound[..1024];
    assert_eq!(found(unended, "a").unwrap(), b"x");
    let hidden = Tar::new().file("hidden", b"x").finish();
    let both = [sound.as_slice(), &hidden].concat();
    assert_eq!(found(&both, "hidden"), None);
    assert!(read(b"").unwrap().entries.is_empty());
}

#[test]
fn tar_17_and_18_sparse_files_are_refused() {
    for bytes in [
        Tar::new().raw_header("s", b'S', 0).finish(),
        Tar::new()
            .pax(&[("GNU.sparse.major", "1"), ("GNU.sparse.realsize", "9223372036854775807")])
            .file("s", b"")
            .finish(),
    ] {
        assert!(matches!(read(&bytes), Err(Error::Tar { reason, .. }) if reason.contains("sparse")));
    }
}

#[test]
fn tar_33_unknown_kinds_keep_the_stream_in_step() {
    for kind in [b'V', b'M', b'D', b's', b'Z'] {
        let bytes = Tar::new().raw_header("odd", kind, 700).raw(&[b'?'; 700]).file("next", b"x").finish();
        assert_eq!(found(&bytes, "next").unwrap(), b"x", "{}", char::from(kind));
    }
    for kind in [b'1', b'2', b'3', b'4', b'5', b'6'] {
        let bytes = Tar::new().raw_header("odd", kind, 700).file("next", b"x").finish();
        assert_eq!(found(&bytes, "next").unwrap(), b"x", "{}", char::from(kind));
    }
    let bytes = Tar::new().raw_header("old-directory/", 0, 0).file("next", b"x").finish();
    assert_eq!(found(&bytes, "next").unwrap(), b"x");
}

#[test]
fn tar_27_repeated_names_take_no_memory() {
    let header = Tar::new().file("a", b"").finish()[..512].to_vec();
    let bytes = header.repeat(ENTRY_COUNT_MAX + 1);
    assert_eq!(read(&bytes).unwrap().entries.len(), 1);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = read(&bytes);
    }

    #[test]
    fn damaged_archives_never_panic(place in 0usize..3000, value in any::<u8>()) {
        let mut bytes = Tar::new().pax(&[("path", "long")]).file("a", b"x").long_name(b'L', "b").file("c", b"y").finish();
        let place = place % bytes.len();
        bytes[place] = value;
        if let Ok(index) = read(&bytes) {
            let _ = index.find("long");
        }
    }
}

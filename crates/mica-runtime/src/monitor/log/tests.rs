//! The suite that every driver passes, and how lines are cut.

use super::file::compress_file;
use super::*;
use crate::{JournaldPlan, LogFilePlan, Overflow, SyslogAddress, SyslogFormat, SyslogPlan};
use std::fs;
use std::io::Read;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

const TIME: Timestamp = Timestamp::from_nanoseconds(1_500_000_000_120_000_000);

/// A driver at work, and how to see what it has recorded.
struct Recorder {
    plan: LogDriver,
    /// The texts of all entries, in order.
    texts: Box<dyn FnMut() -> Vec<Vec<u8>>>,
}

fn file(path: PathBuf) -> LogFilePlan {
    LogFilePlan { path, max_size_bytes: None, max_file_count: 1, compress: false }
}

fn json(directory: &Path) -> Recorder {
    let path = directory.join("json");
    let plan = LogDriver::JsonFile { file: file(path.clone()), attributes: String::new() };
    Recorder { plan, texts: Box::new(move || json_texts(&path)) }
}

fn json_texts(path: &Path) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(path).unwrap();
    let entries = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let texts = entries.map(|entry| entry["log"].as_str().unwrap().to_owned());
    texts.map(|text| text.trim_end_matches('\n').as_bytes().to_vec()).collect()
}

fn local(directory: &Path) -> Recorder {
    let path = directory.join("local");
    let plan = LogDriver::Local { file: file(path.clone()) };
    let texts = move || {
        let bytes = fs::read(&path).unwrap();
        let mut rest = bytes.as_slice();
        let mut texts = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (entry, after) = after.split_at(u32::from_be_bytes(*length) as usize);
            let (again, after) = after.split_first_chunk::<4>().unwrap();
            assert_eq!(length, again);
            texts.push(protobuf_text(entry));
            rest = after;
        }
        texts
    };
    Recorder { plan, texts: Box::new(texts) }
}

/// Field 3 of an entry whose other fields have one byte of length.
fn protobuf_text(entry: &[u8]) -> Vec<u8> {
    let after_stream = &entry[2 + usize::from(entry[1])..];
    let after_time =
        &after_stream[1 + after_stream[1..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1..];
    assert_eq!(after_time[0], 0x1a);
    let size = after_time[1..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let number = |index: usize, byte: u8| usize::from(byte & 0x7f) << (7 * index);
    let length: usize =
        after_time[1..=size].iter().enumerate().map(|(index, byte)| number(index, *byte)).sum();
    after_time[1 + size..][..length].to_vec()
}

fn syslog_plan(address: SyslogAddress, format: SyslogFormat) -> SyslogPlan {
    SyslogPlan { address, format, facility: 3, tag: "web".to_owned(), overflow: Overflow::Wait }
}

fn syslog_datagrams(directory: &Path) -> Recorder {
    let path = directory.join("datagrams");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let plan = LogDriver::Syslog(syslog_plan(SyslogAddress::UnixDatagram(path), SyslogFormat::Unix));
    let texts = move || datagrams(&socket).iter().map(|message| after_tag(message)).collect();
    Recorder { plan, texts: Box::new(texts) }
}

/// What follows `web[PID]: `, without the line end.
fn after_tag(message: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(message);
    let start = text.find("]: ").expect("a process id") + 3;
    message[start..].strip_suffix(b"\n").expect("a line end").to_vec()
}

fn datagrams(socket: &UnixDatagram) -> Vec<Vec<u8>> {
    let mut buffer = vec![0; 1 << 20];
    let mut messages = Vec::new();
    while let Ok(length) = socket.recv(&mut buffer) {
        messages.push(buffer[..length].to_vec());
    }
    messages
}

fn syslog_stream(directory: &Path) -> Recorder {
    let path = directory.join("stream");
    let listener = UnixListener::bind(&path).unwrap();
    let plan = LogDriver::Syslog(syslog_plan(SyslogAddress::UnixStream(path), SyslogFormat::Rfc3164));
    let texts = move || {
        let mut all = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut all).unwrap();
        all.split_inclusive(|byte| *byte == b'\n').map(after_tag).collect()
    };
    Recorder { plan, texts: Box::new(texts) }
}

fn journald(directory: &Path) -> Recorder {
    let path = directory.join("journal");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let fields = vec![("CONTAINER_NAME".to_owned(), "web".to_owned())];
    let plan = LogDriver::Journald(JournaldPlan { socket: path, fields, overflow: Overflow::Wait });
    let texts = move || {
        let messages = datagrams(&socket);
        let message = |datagram: &Vec<u8>| {
            let text = String::from_utf8_lossy(datagram);
            assert!(text.ends_with("CONTAINER_NAME=web\n"), "{text}");
            let text = text.split("MESSAGE=").nth(1).expect("a message").split('\n').next();
            text.unwrap_or_default().as_bytes().to_vec()
        };
        messages.iter().map(message).collect()
    };
    Recorder { plan, texts: Box::new(texts) }
}

const ALL: [fn(&Path) -> Recorder; 5] = [json, local, syslog_datagrams, syslog_stream, journald];

/// What each driver has recorded of `pieces`.
fn recorded(pieces: &[&[u8]]) -> Vec<Vec<Vec<u8>>> {
    let record = |make: &fn(&Path) -> Recorder| {
        let directory = tempfile::tempdir().unwrap();
        let mut recorder = make(directory.path());
        let mut log = Log::open(&LogPlan { drivers: vec![recorder.plan] }).unwrap();
        for piece in pieces {
            log.record(FrameKind::Stdout, piece, TIME);
        }
        log.finish(TIME);
        log.settle();
        assert_eq!((log.is_full(), log.backlog().count()), (false, 0));
        drop(log);
        (recorder.texts)()
    };
    ALL.iter().map(record).collect()
}

#[test]
fn every_driver_records_lines_in_order_and_the_last_without_its_end() {
    for texts in recorded(&[b"one\ntw", b"o\n", b"rest"]) {
        assert_eq!(texts, [b"one".to_vec(), b"two".to_vec(), b"rest".to_vec()]);
    }
}

#[test]
fn every_driver_gets_long_lines_cut_where_docker_cuts_them() {
    for length in [16383, 16384, 16385, 65536] {
        let mut line = vec![b'x'; length];
        line.push(b'\n');
        let pieces: Vec<&[u8]> = line.chunks(50_000).collect();
        for texts in recorded(&pieces) {
            assert_eq!(texts.len(), length.div_ceil(PIECE_LENGTH_MAX), "{length}");
            assert!(texts.iter().rev().skip(1).all(|text| text.len() == PIECE_LENGTH_MAX));
            assert_eq!(texts.concat().len(), length);
        }
    }
}

#[test]
fn every_driver_takes_what_is_no_text() {
    for texts in recorded(&[b"a\0b\r\n"]) {
        assert_eq!(texts[0].first(), Some(&b'a'));
        assert_eq!(texts[0].last(), Some(&b'\r'));
    }
}

#[test]
fn a_full_file_makes_room_for_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let file =
        LogFilePlan { path: path("log"), max_size_bytes: Some(10), max_file_count: 3, compress: false };
    let plan = LogDriver::JsonFile { file, attributes: String::new() };
    let mut log = Log::open(&LogPlan { drivers: vec![plan] }).unwrap();
    for line in [b"1\n", b"2\n", b"3\n", b"4\n"] {
        log.record(FrameKind::Stdout, line, TIME);
    }
    assert_eq!(json_texts(&path("log")), [b"4"]);
    assert_eq!(json_texts(&path("log.1")), [b"3"]);
    assert_eq!(json_texts(&path("log.2")), [b"2"]);
    assert!(!path("log.3").exists());
}

#[test]
fn a_compressed_file_takes_the_place_of_the_plain_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.1");
    fs::write(&path, "text\n".repeat(1000)).unwrap();
    compress_file(&path).unwrap();
    assert!(!path.exists());
    let compressed = fs::File::open(directory.path().join("log.1.gz")).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(compressed).read_to_string(&mut text).unwrap();
    assert_eq!(text, "text\n".repeat(1000));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn pieces_of_one_line_share_an_id_and_count_from_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let plan = JournaldPlan { socket: path, fields: Vec::new(), overflow: Overflow::Wait };
    let mut log = Log::open(&LogPlan { drivers: vec![LogDriver::Journald(plan)] }).unwrap();
    log.record(FrameKind::Stderr, &[vec![b'x'; 40_000], b"\nshort\n".to_vec()].concat(), TIME);
    let messages: Vec<String> =
        datagrams(&socket).iter().map(|message| String::from_utf8_lossy(message).into_owned()).collect();
    let field = |message: &String, name: &str| {
        let line = message.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).map(str::to_owned);
        line.unwrap_or_default()
    };
    let column = |name: &str| messages.iter().map(|message| field(message, name)).collect::<Vec<_>>();
    assert_eq!(column("CONTAINER_PARTIAL_ORDINAL"), ["1", "2", "3", ""]);
    assert_eq!(column("CONTAINER_PARTIAL_LAST"), ["false", "false", "true", ""]);
    assert_eq!(column("CONTAINER_PARTIAL_MESSAGE"), ["true", "true", "", ""]);
    assert_eq!(column("PRIORITY"), ["3", "3", "3", "3"]);
    let ids = column("CONTAINER_PARTIAL_ID");
    assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[0].len() == 64 && ids[3].is_empty(), "{ids:?}");
}

#[test]
fn syslog_messages_have_the_form_that_was_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let formats = [
        (SyslogFormat::Unix, "<30>Jul 14 XX:40:00 web[PID]: hi\n"),
        (SyslogFormat::Rfc3164, "<30>Jul 14 XX:40:00 HOST web[PID]: hi\n"),
        (SyslogFormat::Rfc5424, "<30>1 2017-07-14TXX:40:00ZZZ HOST web PID web - hi\n"),
        (SyslogFormat::Rfc5424Micro, "<30>1 2017-07-14TXX:40:00.120000ZZZ HOST web PID web - hi\n"),
    ];
    for (number, (format, expected)) in formats.into_iter().enumerate() {
        let path = directory.path().join(number.to_string());
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let plan = syslog_plan(SyslogAddress::UnixDatagram(path), format);
        let mut log = Log::open(&LogPlan { drivers: vec![LogDriver::Syslog(plan)] }).unwrap();
        log.record(FrameKind::Stdout, b"hi\n", TIME);
        let message = String::from_utf8(datagrams(&socket).concat()).unwrap();
        let zoned = jiff::Timestamp::from_nanosecond(i128::from(TIME.nanoseconds())).unwrap();
        let zoned = zoned.to_zoned(jiff::tz::TimeZone::system());
        let expected = expected
            .replace("XX", &zoned.strftime("%H").to_string())
            .replace("ZZZ", &zoned.strftime("%:z").to_string())
            .replace("PID", &std::process::id().to_string())
            .replace("HOST", &rustix::system::uname().nodename().to_string_lossy());
        assert_eq!(message, expected);
    }
}

/// A syslog behind a connection that nobody reads from.
fn stalled(directory: &Path, overflow: Overflow) -> (Log, UnixListener) {
    let path = directory.join("stalled");
    let listener = UnixListener::bind(&path).unwrap();
    let mut plan = syslog_plan(SyslogAddress::UnixStream(path), SyslogFormat::Unix);
    plan.overflow = overflow;
    let log = Log::open(&LogPlan { drivers: vec![LogDriver::Syslog(plan)] }).unwrap();
    (log, listener)
}

#[test]
fn a_receiver_that_does_not_read_makes_the_output_wait_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (mut log, listener) = stalled(directory.path(), Overflow::Wait);
    let mut lines = 0;
    while !log.is_full() {
        log.record(FrameKind::Stdout, &[b'x'; 1000], TIME);
        log.record(FrameKind::Stdout, b"\n", TIME);
        lines += 1;
        assert!(lines < 100_000, "it is never full");
    }
    assert_eq!(log.backlog().count(), 1);
    let (mut peer, _): (UnixStream, _) = listener.accept().unwrap();
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).unwrap();
        all.iter().filter(|byte| **byte == b'\n').count()
    });
    log.settle();
    drop(log);
    assert_eq!(reader.join().unwrap(), lines);
}

#[test]
fn without_blocking_what_finds_no_room_is_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let (mut log, listener) = stalled(directory.path(), Overflow::Discard { max_bytes: 10_000 });
    for number in 0..100_000 {
        log.record(FrameKind::Stdout, format!("{number:01000}\n").as_bytes(), TIME);
        assert!(!log.is_full());
    }
    let (mut peer, _): (UnixStream, _) = listener.accept().unwrap();
    let reader = std::thread::spawn(move || {
        let mut all = String::new();
        peer.read_to_string(&mut all).unwrap();
        all.lines().map(|line| line[line.len() - 1000..].parse::<usize>().unwrap()).collect::<Vec<_>>()
    });
    log.settle();
    drop(log);
    let seen = reader.join().unwrap();
    assert!(seen.len() < 100_000 && seen.is_sorted() && seen.starts_with(&[0, 1, 2]));
}

#[test]
fn a_receiver_that_went_away_holds_nobody_up() {
    let directory = tempfile::tempdir().unwrap();
    let (mut log, listener) = stalled(directory.path(), Overflow::Wait);
    drop(listener);
    for _ in 0..1000 {
        log.record(FrameKind::Stdout, &[b'x'; 1000], TIME);
        log.record(FrameKind::Stdout, b"\n", TIME);
        assert!(!log.is_full());
    }
    let path = directory.path().join("missing");
    let plan = syslog_plan(SyslogAddress::UnixStream(path), SyslogFormat::Unix);
    let absent = Log::open(&LogPlan { drivers: vec![LogDriver::Syslog(plan)] });
    assert!(absent.unwrap_err().to_string().starts_with("failed to initialize logging driver: dial unix"));
}

//! A registry that says what it is told to, true or not, and remembers what it was asked.

use crate::image_archive::digest;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// The media type of the manifests that [`Registry::publish`] writes.
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an index.
pub const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// What is answered to a request.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Headers, besides the length.
    pub headers: Vec<(String, String)>,
    /// What follows.
    pub body: Vec<u8>,
    /// How it is sent.
    pub manner: Manner,
}

/// How an answer is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As it should be; parts are sent where parts are asked for.
    Honest,
    /// Whole, whatever part is asked for.
    WithoutRanges,
    /// The connection breaks after so many bytes, always.
    DropAfter(usize),
    /// The connection breaks after so many bytes, once.
    DropOnce(usize),
    /// The head, then nothing, for as long as the other side waits.
    Silent,
    /// Zeros without end, and without a word about their number.
    Endless,
    /// A head without end.
    EndlessHead,
    /// Another part than was asked for, under the name of the right one.
    WrongRange,
    /// The body byte by byte, twenty in a second.
    Trickle,
    /// The head so.
    TrickleHead,
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Method and path, without the query.
    pub what: String,
    /// The query.
    pub query: String,
    /// Headers, the names in lower case.
    pub headers: BTreeMap<String, String>,
}

/// A registry on a port of its own, gone when it is dropped.
#[derive(Debug)]
pub struct Registry {
    address: String,
    state: Arc<State>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    answers: Mutex<BTreeMap<String, Vec<Answer>>>,
    asked: Mutex<Vec<Asked>>,
    is_over: AtomicBool,
    held: Mutex<bool>,
    released: Condvar,
}

/// What [`Registry::publish`] made.
#[derive(Debug, Clone)]
pub struct Published {
    /// The manifest, to be changed and put in place again.
    pub manifest: Value,
    /// The digest of the config, which is the image id.
    pub config: String,
    /// Digests of the layers.
    pub layers: Vec<String>,
    /// The digest of the manifest.
    pub digest: String,
}

/// This machine's architecture as images call it.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl Answer {
    /// An ordinary answer with a body of some type.
    pub fn new(media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("Content-Type".to_owned(), media_type.to_owned())];
        Self { status: 200, headers, body: body.into(), manner: Manner::Honest }
    }

    /// An answer of some status without a body.
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), manner: Manner::Honest }
    }

    /// The same with a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The same, sent in another manner.
    #[must_use]
    pub const fn manner(mut self, manner: Manner) -> Self {
        self.manner = manner;
        self
    }
}

impl Registry {
    /// A registry with nothing in it, on 127.0.0.1.
    ///
    /// # Panics
    /// If no port is free.
    #[expect(clippy::new_without_default, reason = "it takes a port, which nobody expects of a default")]
    pub fn new() -> Self {
        Self::at("127.0.0.1")
    }

    /// The same on another address of this machine.
    ///
    /// # Panics
    /// If no port is free.
    pub fn at(host: &str) -> Self {
        let socket = TcpListener::bind((host, 0)).expect("a free port");
        let address = socket.local_addr().expect("an address").to_string();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let listener = std::thread::spawn(move || {
            for stream in socket.incoming().flatten() {
                if shared.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let state = Arc::clone(&shared);
                // Whoever breaks a connection off is free to.
                std::thread::spawn(move || drop(serve(&stream, &state)));
            }
        });
        let registry = Self { address, state, listener: Some(listener) };
        registry.put("GET /v2/", Answer::new("application/json", "{}"));
        registry
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The full name of an image here.
    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    /// Answers a request, `GET /v2/…`, always so. A `HEAD` is answered like its `GET` unless it has an answer of
    /// its own.
    pub fn put(&self, what: &str, answer: Answer) {
        self.put_all(what, [answer]);
    }

    /// Answers a request so at first, and from then on as the last says.
    pub fn put_all(&self, what: &str, answers: impl IntoIterator<Item = Answer>) {
        let mut answers: Vec<Answer> = answers.into_iter().collect();
        answers.reverse();
        self.state.answers.lock().expect("answers").insert(what.to_owned(), answers);
    }

    /// Puts a blob in place; answers its digest.
    pub fn put_blob(&self, path: &str, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        self.put(&format!("GET /v2/{path}/blobs/{digest}"), Answer::new("application/octet-stream", bytes));
        digest
    }

    /// Puts a manifest in place by tag and by digest; answers the digest.
    pub fn put_manifest(&self, path: &str, tag: &str, media_type: &str, document: &Value) -> String {
        let bytes = document.to_string().into_bytes();
        let digest = digest(&bytes);
        for name in [tag, &digest] {
            let answer =
                Answer::new(media_type, bytes.clone()).header("Docker-Content-Digest", digest.clone());
            self.put(&format!("GET /v2/{path}/manifests/{name}"), answer);
        }
        digest
    }

    /// Publishes an image honestly; `layers` are tar streams, sent as they are.
    pub fn publish(&self, path: &str, tag: &str, layers: &[Vec<u8>]) -> Published {
        let diff_ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
        self.publish_stored(path, tag, layers, &diff_ids)
    }

    /// Publishes an image whose layers are stored in another form than their diffIDs say.
    pub fn publish_stored(
        &self,
        path: &str,
        tag: &str,
        stored: &[Vec<u8>],
        diff_ids: &[String],
    ) -> Published {
        let config = json!({
            "architecture": architecture(), "os": "linux", "created": "2024-01-02T03:04:05Z",
            "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config_bytes = config.to_string().into_bytes();
        let config_digest = self.put_blob(path, &config_bytes);
        let digests: Vec<String> = stored.iter().map(|layer| self.put_blob(path, layer)).collect();
        let describe = |(digest, layer): (&String, &Vec<u8>)| {
            let media_type = match layer.first() {
                Some(0x1f) => "application/vnd.oci.image.layer.v1.tar+gzip",
                Some(0x28) => "application/vnd.oci.image.layer.v1.tar+zstd",
                _ => "application/vnd.oci.image.layer.v1.tar",
            };
            json!({"mediaType": media_type, "digest": digest, "size": layer.len()})
        };
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST_TYPE,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config_digest, "size": config_bytes.len(),
            },
            "layers": digests.iter().zip(stored).map(describe).collect::<Vec<Value>>(),
        });
        let digest = self.put_manifest(path, tag, MANIFEST_TYPE, &manifest);
        Published { manifest, config: config_digest, layers: digests, digest }
    }

    /// All that was asked so far, except whether this is a registry.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().expect("requests").clone()
    }

    /// How often something was asked whose method and path begin so.
    pub fn count(&self, what: &str) -> usize {
        self.asked().iter().filter(|asked| asked.what.starts_with(what)).count()
    }

    /// Makes silent answers wait until [`Registry::release`].
    pub fn hold(&self) {
        *self.state.held.lock().expect("the gate") = true;
    }

    /// Lets those that are silent end.
    pub fn release(&self) {
        *self.state.held.lock().expect("the gate") = false;
        self.state.released.notify_all();
    }

    /// Waits until something has been asked whose method and path begin so.
    ///
    /// # Panics
    /// If that does not happen within a minute.
    #[track_caller]
    pub fn await_request(&self, what: &str) {
        for _ in 0..6000 {
            if self.count(what) > 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("nobody has asked for {what}: {:?}", self.asked());
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Relaxed);
        self.release();
        // The listener looks up when somebody comes.
        drop(TcpStream::connect(&self.address));
        if let Some(listener) = self.listener.take() {
            drop(listener.join());
        }
    }
}

fn serve(stream: &TcpStream, state: &State) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        // Somebody tries TLS.
        return (&*stream).write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nno TLS here\n");
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let asked = Asked { what: format!("{method} {path}"), query: query.to_owned(), headers };
    let answer = choose(state, &asked, method, path);
    state.asked.lock().expect("requests").push(asked.clone());
    send(stream, state, &answer, &asked, method == "HEAD")
}

fn choose(state: &State, asked: &Asked, method: &str, path: &str) -> Answer {
    let mut answers = state.answers.lock().expect("answers");
    let own = if answers.contains_key(&asked.what) || method != "HEAD" {
        asked.what.clone()
    } else {
        format!("GET {path}")
    };
    let Some(list) = answers.get_mut(&own) else {
        let text = r#"{"errors":[{"code":"NAME_UNKNOWN","message":"not here"}]}"#;
        return Answer { status: 404, ..Answer::new("application/json", text) };
    };
    let answer = if list.len() > 1 && method != "HEAD" { list.pop() } else { list.last().cloned() };
    let answer = answer.unwrap_or_else(|| Answer::status(500));
    if let Manner::DropOnce(_) = answer.manner
        && method != "HEAD"
    {
        *list = vec![Answer { manner: Manner::Honest, ..answer.clone() }];
    }
    answer
}

fn send(
    mut stream: &TcpStream,
    state: &State,
    answer: &Answer,
    asked: &Asked,
    is_head: bool,
) -> std::io::Result<()> {
    let start = asked
        .headers
        .get("range")
        .and_then(|range| range.strip_prefix("bytes=")?.trim_end_matches('-').parse::<usize>().ok());
    let (mut status, mut body, mut range) = (answer.status, answer.body.as_slice(), None);
    if let Some(start) = start.filter(|start| *start < body.len() && answer.manner != Manner::WithoutRanges) {
        let named = if answer.manner == Manner::WrongRange { 0 } else { start };
        range = Some(format!("bytes {named}-{}/{}", body.len() - 1, body.len()));
        (status, body) = (206, &body[start..]);
    }
    let mut head = format!("HTTP/1.1 {status} As told\r\nConnection: close\r\n");
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if let Some(range) = range {
        head += &format!("Content-Range: {range}\r\n");
    }
    if answer.manner != Manner::Endless {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    if answer.manner == Manner::EndlessHead {
        stream.write_all(head.as_bytes())?;
        loop {
            stream.write_all(b"X-More: and more and more and more\r\n")?;
        }
    }
    if answer.manner == Manner::TrickleHead {
        trickle(stream, state, head.as_bytes())?;
    } else {
        stream.write_all(head.as_bytes())?;
    }
    stream.write_all(b"\r\n")?;
    if is_head {
        return Ok(());
    }
    match answer.manner {
        Manner::DropAfter(count) | Manner::DropOnce(count) => {
            stream.write_all(&body[..count.min(body.len())])
        }
        Manner::Silent => {
            let mut held = state.held.lock().expect("the gate");
            while *held {
                held = state.released.wait(held).expect("the gate");
            }
            drop(held);
            // Nothing more is sent until the other side goes.
            stream.read_to_end(&mut Vec::new()).map(drop)
        }
        Manner::Endless => loop {
            stream.write_all(&[0; 1 << 16])?;
        },
        Manner::Trickle => trickle(stream, state, body),
        _ => stream.write_all(body),
    }
}

fn trickle(mut stream: &TcpStream, state: &State, bytes: &[u8]) -> std::io::Result<()> {
    for byte in bytes {
        if state.is_over.load(Ordering::Relaxed) {
            break;
        }
        stream.write_all(&[*byte])?;
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

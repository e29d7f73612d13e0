//! Somebody between us and a registry who passes requests on, and meddles with those that he is told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

/// What is done to a request instead of passing it on and its answer back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meddling {
    /// It is answered with a status; nobody else hears of it.
    Status(u16),
    /// The connection breaks before anybody has heard of it.
    Drop,
    /// The registry does what was asked; the connection breaks before its answer comes.
    LoseAnswer,
    /// The registry is told half of the body, and then nothing more.
    HalfBody,
    /// The answer says another place to go on.
    Location(String),
    /// The answer comes when [`Meddler::release`] is called.
    Hold,
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// `PATCH /v2/…`, without the query.
    pub what: String,
    /// The whole head.
    pub head: String,
    /// The length of the body.
    pub length: usize,
}

#[derive(Debug, Default)]
struct State {
    target: String,
    rules: Mutex<Vec<(String, Meddling)>>,
    seen: Mutex<Vec<Seen>>,
    is_over: AtomicBool,
    released: Mutex<bool>,
    bell: Condvar,
}

/// A meddler on a port of his own.
#[derive(Debug)]
pub struct Meddler {
    address: String,
    state: Arc<State>,
    listener: Option<JoinHandle<()>>,
}

impl Meddler {
    /// Somebody before the registry at `target`.
    ///
    /// # Panics
    /// If no port is free.
    pub fn before(target: &str) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("an address").to_string();
        let state = Arc::new(State { target: target.to_owned(), ..State::default() });
        let shared = Arc::clone(&state);
        let listener = std::thread::spawn(move || {
            for stream in socket.incoming().flatten() {
                if shared.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let state = Arc::clone(&shared);
                std::thread::spawn(move || drop(serve(&stream, &state)));
            }
        });
        Self { address, state, listener: Some(listener) }
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The full name of an image behind it.
    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    /// Meddles with the next request that begins so; said twice, with the next two.
    pub fn meddle(&self, what: &str, meddling: Meddling) {
        self.state.rules.lock().expect("rules").push((what.to_owned(), meddling));
    }

    /// All that was asked.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().expect("requests").clone()
    }

    /// How many requests begin so.
    pub fn count(&self, what: &str) -> usize {
        self.seen().iter().filter(|seen| seen.what.starts_with(what)).count()
    }

    /// Lets those answers go that are held back.
    pub fn release(&self) {
        *self.state.released.lock().expect("the gate") = true;
        self.state.bell.notify_all();
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Relaxed);
        self.release();
        drop(TcpStream::connect(&self.address));
        if let Some(listener) = self.listener.take() {
            drop(listener.join());
        }
    }
}

fn serve(stream: &TcpStream, state: &State) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    reader.read_line(&mut head)?;
    if !head.contains(" HTTP/1.1") {
        // Somebody tries TLS.
        return (&*stream).write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nno TLS here\n");
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "connection" => continue,
            _ => {}
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let what = head.split(" HTTP/").next().unwrap_or_default().split('?').next().unwrap_or_default();
    let what = what.to_owned();
    state.seen.lock().expect("requests").push(Seen { what: what.clone(), head: head.clone(), length });
    let meddling = {
        let mut rules = state.rules.lock().expect("rules");
        let found = rules.iter().position(|(begin, _)| what.starts_with(begin.as_str()));
        found.map(|index| rules.remove(index).1)
    };
    meddle(stream, state, &head, &body, meddling)
}

fn meddle(
    mut stream: &TcpStream,
    state: &State,
    head: &str,
    body: &[u8],
    meddling: Option<Meddling>,
) -> std::io::Result<()> {
    let sent = match meddling {
        Some(Meddling::Drop) => return Ok(()),
        Some(Meddling::Status(status)) => {
            let challenge = if status == 401 { "WWW-Authenticate: Basic realm=\"r\"\r\n" } else { "" };
            let rest = "Content-Length: 0\r\nConnection: close";
            let answer = format!("HTTP/1.1 {status} Told\r\n{challenge}{rest}\r\n\r\n");
            return stream.write_all(answer.as_bytes());
        }
        Some(Meddling::HalfBody) => &body[..body.len() / 2],
        _ => body,
    };
    let mut upstream = TcpStream::connect(&state.target)?;
    upstream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())?;
    upstream.write_all(sent)?;
    if meddling == Some(Meddling::HalfBody) {
        upstream.shutdown(std::net::Shutdown::Write)?;
    }
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer)?;
    match meddling {
        Some(Meddling::LoseAnswer | Meddling::HalfBody) => Ok(()),
        Some(Meddling::Location(place)) => {
            let text = String::from_utf8_lossy(&answer);
            let lines: Vec<String> = text
                .split("\r\n")
                .map(|line| match line.to_ascii_lowercase().starts_with("location:") {
                    true => format!("Location: {place}"),
                    false => line.to_owned(),
                })
                .collect();
            stream.write_all(lines.join("\r\n").as_bytes())
        }
        Some(Meddling::Hold) => {
            let mut released = state.released.lock().expect("the gate");
            while !*released {
                released = state.bell.wait(released).expect("the gate");
            }
            drop(released);
            stream.write_all(&answer)
        }
        _ => stream.write_all(&answer),
    }
}

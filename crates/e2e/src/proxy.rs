//! A proxy that lets everything through by `CONNECT` and remembers whereto.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// The proxy; its threads end with the test's process.
#[derive(Debug)]
pub struct Proxy {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// A proxy on a port of its own.
    ///
    /// # Panics
    /// If no port is free.
    #[expect(clippy::new_without_default, reason = "it takes a port, which nobody expects of a default")]
    pub fn new() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("an address").to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heads = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in socket.incoming().flatten() {
                let heads = Arc::clone(&heads);
                thread::spawn(move || drop(tunnel(stream, &heads)));
            }
        });
        Self { address, asked }
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The heads of all requests so far.
    ///
    /// # Panics
    /// If a thread of the proxy has.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("the list").clone()
    }
}

fn tunnel(client: TcpStream, heads: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head)? > 0 {}
    let target = head.split_whitespace().nth(1).unwrap_or_default().to_owned();
    heads.lock().expect("the list").push(head);
    let server = TcpStream::connect(target)?;
    (&client).write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
    let (mut to_server, mut to_client) = (server.try_clone()?, client);
    let back = thread::spawn(move || {
        let _ = std::io::copy(&mut &server, &mut to_client);
        to_client.shutdown(std::net::Shutdown::Both)
    });
    let _ = std::io::copy(&mut reader, &mut to_server);
    let _ = to_server.shutdown(std::net::Shutdown::Write);
    drop(back.join());
    Ok(())
}

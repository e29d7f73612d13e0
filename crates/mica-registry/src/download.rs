//! One file of the web, from wherever it is: no registry, no credentials, but the same care.

use crate::endpoint::stranger;
use crate::error::{Error, Refusal, Result};
use crate::repository::Registries;
use crate::session::join;
use crate::wire::{Answer, Order, Wire};
use mica_model::Proxies;
use std::io::Read;

/// How often somebody may send us on.
const REDIRECTS_MAX: usize = 10;

/// A file on its way.
pub struct Download {
    /// What the other side knows it by, to ask whether it has changed; may be empty.
    pub entity_tag: String,
    /// When it was changed, in the words of the web; may be empty.
    pub last_modified: String,
    /// What it says it is, without parameters; may be empty.
    pub media_type: String,
    body: Box<dyn Read + Send>,
    /// How many bytes were promised.
    length: Option<u64>,
    address: String,
    came: u64,
}

impl std::fmt::Debug for Download {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Download").field("length", &self.length).finish_non_exhaustive()
    }
}

impl Registries {
    /// Begins to download a file. With what it was known by another time: nothing, if it is still the same.
    ///
    /// # Errors
    /// It is not there, or nobody can be reached.
    pub fn download(
        &self,
        address: &str,
        known: Option<&str>,
        proxies: &Proxies,
    ) -> Result<Option<Download>> {
        let rest = address.split_once("://").map_or("", |(_, rest)| rest);
        // Who is led on from here is led by a stranger, who may not lead everywhere.
        let endpoint = stranger(rest.split(['/', '?', '#']).next().unwrap_or_default());
        let wire = Wire::new(&endpoint, self.settings(), self.roots(), proxies);
        let mut target = address.to_owned();
        for _ in 0..=REDIRECTS_MAX {
            let answer = ask(&wire, &target, known)?;
            match answer.status().as_u16() {
                301 | 302 | 303 | 307 | 308 => target = next(&target, &answer)?,
                304 if known.is_some() => return Ok(None),
                200 => return Ok(Some(Download::new(answer, &target))),
                status => {
                    let refusal = Refusal { status, code: String::new(), message: String::new() };
                    let address = crate::error::without_query(&target).to_owned();
                    return Err(Error::Refused { method: "GET", address, refusal });
                }
            }
        }
        Err(Error::protocol(address, "too many redirects"))
    }
}

fn ask(wire: &Wire, address: &str, known: Option<&str>) -> Result<Answer> {
    let mut order = Order::new("GET", address.to_owned()).header("accept", "*/*");
    if let Some(known) = known {
        order = order.header("if-none-match", known);
    }
    wire.send(&mut order, &[])
}

/// Where an answer sends us: to the web only, and never out of TLS.
fn next(from: &str, answer: &Answer) -> Result<String> {
    let location = answer.headers().get("location").and_then(|value| value.to_str().ok());
    let location = location.ok_or_else(|| Error::protocol(from, "a redirect to nowhere"))?;
    let target = join(from, location);
    let is_safe = target.starts_with("https://");
    if !is_safe && (from.starts_with("https://") || !target.starts_with("http://")) {
        return Err(Error::protocol(from, "refusing a redirect that leaves TLS or the web"));
    }
    Ok(target.split('#').next().unwrap_or_default().to_owned())
}

impl Download {
    fn new(answer: Answer, address: &str) -> Self {
        let header = |name: &str| {
            let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let media_type = header("content-type");
        Self {
            entity_tag: header("etag"),
            last_modified: header("last-modified"),
            media_type: media_type.split(';').next().unwrap_or_default().trim().to_owned(),
            length: answer.body().content_length(),
            body: Box::new(answer.into_body().into_reader()),
            address: crate::error::without_query(address).to_owned(),
            came: 0,
        }
    }

    /// Reads on; nothing means the whole file has come.
    ///
    /// # Errors
    /// The connection breaks before the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let broken = |error: &std::io::Error| Error::Transport {
            method: "GET",
            address: self.address.clone(),
            source: crate::wire::io_error(error),
        };
        let count = self.body.read(buffer).map_err(|error| broken(&error))?;
        self.came += count as u64;
        match self.length {
            Some(length) if count == 0 && self.came != length => {
                Err(Error::Size { what: self.address.clone(), expected: length, actual: self.came })
            }
            _ => Ok(count),
        }
    }
}

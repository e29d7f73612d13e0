//! Layers on their way from a registry into the store: downloaded, compared, uncompressed, hashed and
//! unpacked in one stream each, many at once.
//!
//! Of the compressed bytes only what an interrupted pull would need is kept, until the image is whole.
//! A layer that another process is fetching is waited for, with nothing held that the other could
//! be waiting for: what is whole by then is registered first, so that the other finds it.

use crate::Local;
use crate::error::{Error, Result};
use crate::image::origin::LayerBlob;
use crate::image::register::{Fresh, Job, NewRecord, unpack_all};
use crate::lock;
use mica_api::types::image::ProgressEvent;
use mica_image::{Claim, LayerReader, Promise, WindowLimit};
use mica_model::Digest;
use mica_registry::{BlobReader, Repository};
use mica_snapshot::IngestedLayer;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};

/// How many layers come at once; each takes a few MiB of memory.
const AT_ONCE: usize = 4;
/// Progress is told once for this many bytes.
const REPORT_EVERY_BYTES: u64 = 512 << 10;

/// Where the layers of an image come from.
pub(crate) struct Source<'a> {
    pub(crate) repository: &'a Repository<'a>,
    /// Base first, as many as the image has diffIDs.
    pub(crate) layers: &'a [LayerBlob],
    pub(crate) progress: &'a (dyn Fn(ProgressEvent) + Sync),
}

/// Blobs that are ours to fetch.
type Claims = HashMap<Digest, Claim>;

impl Local {
    /// Fetches what is missing of an image and records it.
    pub(crate) fn add_fetched(&self, image: NewRecord, source: &Source<'_>) -> Result<()> {
        let images = [image];
        // What is registered before its image is recorded is not to be swept away.
        let _lock = lock::shared(&self.disk.image_lock())?;
        let is_keeping = self.config()?.registry.keep_compressed_blobs;
        let mut fresh = Fresh::new();
        self.tell_what_is_here(&images, source)?;
        loop {
            let jobs = self.missing(&images, &fresh)?;
            let (mut claims, others) = self.claim(&jobs, source)?;
            // Whoever had a claim until a moment ago has registered what he fetched before he let go of it.
            let mut ours = self.missing(&images, &fresh)?;
            ours.retain(|job| !others.contains(&source.layers[job.layer].digest));
            for (digest, claim) in std::mem::take(&mut claims) {
                if ours.iter().any(|job| source.layers[job.layer].digest == digest) {
                    claims.insert(digest, claim);
                } else {
                    claim.discard()?;
                }
            }
            let is_over = AtomicBool::new(false);
            let unpack = |job: Job| {
                let unpacked = self.fetch(job, source, &claims, &is_over);
                is_over.fetch_or(unpacked.is_err(), Ordering::Relaxed);
                unpacked
            };
            fresh.extend(unpack_all(&ours, AT_ONCE, &unpack)?);
            let Some(other) = others.first() else {
                // The bytes are of no use any more, but the files keep their names, and with them whoever
                // waits, until the layers can be found.
                for (digest, claim) in &claims {
                    if is_keeping { claim.keep(&self.blobs, digest)? } else { claim.clear()? }
                }
                let is_recorded = self.record(&images, &mut fresh)?;
                claims.values().try_for_each(Claim::discard)?;
                if is_recorded {
                    return Ok(());
                }
                continue;
            };
            if is_keeping {
                claims.iter().try_for_each(|(digest, claim)| claim.keep(&self.blobs, digest))?;
            }
            self.park(&mut fresh)?;
            claims.values().try_for_each(Claim::discard)?;
            drop(claims);
            self.blobs.wait_for(other)?;
        }
    }

    fn tell_what_is_here(&self, images: &[NewRecord], source: &Source<'_>) -> Result<()> {
        let missing = self.missing(images, &Fresh::new())?;
        for (number, layer) in source.layers.iter().enumerate() {
            let part = layer.digest.short();
            if missing.iter().any(|job| job.layer == number) {
                let text = "Pulling fs layer".to_owned();
                (source.progress)(ProgressEvent::Status { part, text });
            } else {
                (source.progress)(ProgressEvent::End { part, outcome: "Already exists".to_owned() });
            }
        }
        Ok(())
    }

    /// Claims the blobs of some jobs; answers those that others are fetching, too.
    fn claim(&self, jobs: &[Job], source: &Source<'_>) -> Result<(Claims, Vec<Digest>)> {
        let (mut claims, mut others) = (Claims::new(), Vec::new());
        for job in jobs {
            let LayerBlob { digest, .. } = &source.layers[job.layer];
            if claims.contains_key(digest) || others.contains(digest) {
                continue;
            }
            match self.blobs.claim(digest)? {
                Some(claim) => drop(claims.insert(*digest, claim)),
                None => {
                    let text = "Waiting".to_owned();
                    (source.progress)(ProgressEvent::Status { part: digest.short(), text });
                    others.push(*digest);
                }
            }
        }
        Ok((claims, others))
    }

    /// Registers what is whole and stands alone, so that other processes find it.
    fn park(&self, fresh: &mut Fresh) -> Result<()> {
        let alone: Vec<Digest> =
            fresh.iter().filter(|(_, layer)| !layer.has_debts()).map(|(chain, _)| *chain).collect();
        if alone.is_empty() {
            return Ok(());
        }
        self.layers.sync()?;
        for chain in alone {
            if let Some(layer) = fresh.remove(&chain) {
                layer.register(None)?;
            }
        }
        Ok(())
    }

    /// Fetches and unpacks one layer. If what was kept of an earlier attempt turns out to be wrong,
    /// everything is fetched anew.
    fn fetch(
        &self,
        job: Job,
        source: &Source<'_>,
        claims: &Claims,
        is_over: &AtomicBool,
    ) -> Result<IngestedLayer> {
        let blob = &source.layers[job.layer];
        // The same blob twice in an image is rare, small, and fetched twice.
        let is_first = source.layers.iter().position(|layer| layer.digest == blob.digest) == Some(job.layer);
        let claim = claims.get(&blob.digest).filter(|_| is_first);
        let kept = match claim {
            Some(claim) => claim.size()?.min(blob.size),
            None => 0,
        };
        // Fetched once and kept, it need not come again.
        let mut stored = match kept {
            0 => self.blobs.open_sound(&blob.digest, blob.size)?,
            _ => None,
        };
        let mut attempt = |kept| {
            let is_broken = AtomicBool::new(false);
            let stream = Stream {
                source,
                blob,
                claim,
                kept,
                position: 0,
                stored: stored.take(),
                remote: None,
                unreported: 0,
                is_complete: false,
                is_over,
                is_broken: &is_broken,
            };
            let unpacked = self.unpack_stream(stream, blob);
            (unpacked, is_broken.into_inner())
        };
        let (mut unpacked, mut is_broken) = attempt(kept);
        if unpacked.is_err() && !is_broken && kept > 0 {
            claim.map_or(Ok(()), Claim::clear)?;
            (unpacked, is_broken) = attempt(0);
        }
        // A mirror may have sent it; the registry itself is believed to know better.
        if unpacked.is_err() && !is_broken && source.repository.leave_mirrors() {
            claim.map_or(Ok(()), Claim::clear)?;
            (unpacked, is_broken) = attempt(0);
        }
        // What came is gone on with next time, unless it is what was wrong.
        if unpacked.is_err() && !is_broken {
            claim.map_or(Ok(()), Claim::clear)?;
        }
        unpacked.map_err(|error| Error::Layer {
            digest: blob.digest,
            repository: source.repository.name().to_owned(),
            source: Box::new(error),
        })
    }

    fn unpack_stream(&self, stream: Stream<'_>, blob: &LayerBlob) -> Result<IngestedLayer> {
        let progress = stream.source.progress;
        let part = blob.digest.short();
        progress(ProgressEvent::Begin { part: part.clone(), total: Some(blob.size) });
        let promise = Promise { digest: blob.digest, size: blob.size };
        let reader = LayerReader::new(stream, Some(promise), &blob.diff_id, WindowLimit::Network)?;
        let unpacked = self.unpack(reader)?;
        if *unpacked.diff_id() != blob.diff_id {
            return Err(mica_snapshot::Error::DigestMismatch {
                expected: blob.diff_id,
                actual: *unpacked.diff_id(),
            }
            .into());
        }
        progress(ProgressEvent::End { part, outcome: "Pull complete".to_owned() });
        Ok(unpacked)
    }
}

/// The bytes of a blob: those that are kept here, then those that the registry sends, which are kept.
struct Stream<'a> {
    source: &'a Source<'a>,
    blob: &'a LayerBlob,
    claim: Option<&'a Claim>,
    kept: u64,
    position: u64,
    /// The whole blob, if it is kept here.
    stored: Option<File>,
    remote: Option<BlobReader<'a>>,
    unreported: u64,
    /// That all has come was told.
    is_complete: bool,
    /// Another layer of the image has failed.
    is_over: &'a AtomicBool,
    /// It was the way here that failed, not what came.
    is_broken: &'a AtomicBool,
}

impl Stream<'_> {
    fn report(&mut self) {
        let bytes = std::mem::take(&mut self.unreported);
        if bytes > 0 {
            (self.source.progress)(ProgressEvent::Advance { part: self.blob.digest.short(), bytes });
        }
    }

    fn read_remote(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.remote.is_none() {
            let opened = self.source.repository.blob(self.blob.digest, self.blob.size, self.position);
            self.remote = Some(opened.map_err(io::Error::other)?);
        }
        match &mut self.remote {
            Some(remote) => remote.read(buffer),
            None => Ok(0),
        }
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_over.load(Ordering::Relaxed) {
            self.is_broken.store(true, Ordering::Relaxed);
            return Err(io::Error::other("another layer of the image has failed"));
        }
        let count = match self.claim {
            Some(claim) if self.position < self.kept => {
                let left = usize::try_from(self.kept - self.position).unwrap_or(usize::MAX);
                let length = buffer.len().min(left);
                claim.read_at(&mut buffer[..length], self.position)?
            }
            _ if self.stored.is_some() => self.stored.as_mut().map_or(Ok(0), |file| file.read(buffer))?,
            claim => {
                let count = self
                    .read_remote(buffer)
                    .inspect_err(|_| self.is_broken.store(true, Ordering::Relaxed))?;
                if let Some(claim) = claim {
                    claim.write_at(&buffer[..count], self.position)?;
                }
                count
            }
        };
        self.position += count as u64;
        self.unreported += count as u64;
        if self.unreported >= REPORT_EVERY_BYTES || count == 0 {
            self.report();
        }
        if count == 0 && !buffer.is_empty() && !std::mem::replace(&mut self.is_complete, true) {
            for text in ["Verifying Checksum", "Download complete"] {
                let part = self.blob.digest.short();
                (self.source.progress)(ProgressEvent::Status { part, text: text.to_owned() });
            }
        }
        Ok(count)
    }
}

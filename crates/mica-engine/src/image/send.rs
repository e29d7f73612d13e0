//! Layers on their way to a registry, some at once: asked for first, taken over from a neighbouring repository
//! where that is possible, handed on from where they came, or compressed from their files.

use crate::Local;
use crate::error::{Error, Result};
use crate::image::origin::{self, LayerBlob};
use crate::image::record::LayerRecord;
use crate::image::registries::refused;
use mica_api::types::image::ProgressEvent;
use mica_image::{DigestReader, Document, PackWriter, Packers, Packing};
use mica_model::{Digest, Reference, RegistryAccess};
use mica_registry::{Begun, Purpose, Repository, Upload};
use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// How many layers go at once.
pub(crate) const AT_ONCE: usize = 4;
/// How many of those that are compressed here, which takes all processors and more memory.
pub(crate) const PACKED_AT_ONCE: usize = 2;
/// How often a blob is begun anew after the registry has lost what it had of it.
const BEGINNINGS: u32 = 5;
/// Progress is told once for this many bytes.
const REPORT_EVERY_BYTES: u64 = 512 << 10;

/// What is sent to one repository.
pub(crate) struct Outbox<'a> {
    pub(crate) local: &'a Local,
    pub(crate) name: &'a Reference,
    pub(crate) repository: &'a Repository<'a>,
    pub(crate) access: &'a RegistryAccess<'a>,
    pub(crate) packing: Packing,
    pub(crate) packers: OnceLock<Packers>,
    pub(crate) progress: &'a (dyn Fn(ProgressEvent) + Sync),
}

/// Writes the tar archive of a layer.
pub(crate) type WriteTar<'a> = &'a (dyn Fn(&mut dyn Write) -> Result<()> + Sync);

/// What a registry says to a blob.
enum Wish<'a> {
    /// It has it now.
    Met,
    /// It wants it, and may have begun to take it.
    Open(Option<Upload<'a>>),
}

impl<'a> Outbox<'a> {
    pub(crate) fn tell(&self, event: ProgressEvent) {
        (self.progress)(event);
    }

    fn denied(&self, error: mica_registry::Error) -> Error {
        refused("push", self.name, error)
    }

    /// Sends something small that is in memory, unless it is there.
    pub(crate) fn send_document(&self, document: &Document) -> Result<()> {
        let digest = document.digest();
        let sent = || -> mica_registry::Result<()> {
            if self.repository.has_blob(digest)? {
                return Ok(());
            }
            match self.repository.mount_or_begin(digest, None)? {
                Begun::Mounted => Ok(()),
                Begun::Upload(mut upload) => {
                    upload.push(document.bytes())?;
                    upload.finish(digest)
                }
            }
        };
        self.persist(&|| sent().map_err(|error| self.denied(error)))
    }

    /// Sees to it that the registry has a layer as it came from `source`; `false` if it is gone there.
    pub(crate) fn send_known(&self, blob: &LayerBlob, source: &str) -> Result<bool> {
        self.persist(&|| self.hand_on(blob, source))
    }

    fn hand_on(&self, blob: &LayerBlob, source: &str) -> Result<bool> {
        let Wish::Open(mut begun) = self.wish(blob)? else { return Ok(true) };
        let known = origin::blobs_of(&self.local.database(), &blob.diff_id)?;
        let others = known.iter().filter(|(other, _)| other.digest == blob.digest);
        let others = others.map(|(_, repository)| repository.as_str());
        let mut reasons = Vec::new();
        for source in std::iter::once(source).chain(others.filter(|other| *other != source)) {
            let upload = self.upload(begun.take(), &blob.digest)?;
            match self.relay(upload, blob, source)? {
                None => {
                    self.tell(ended(&blob.diff_id, "Pushed"));
                    return Ok(true);
                }
                Some(reason) => reasons.push(format!("{source}: {reason}")),
            }
        }
        self.tell(note(format!(
            "{}: not to be had any more as it came, compressed anew, which gives the image another digest ({})",
            blob.diff_id.short(),
            reasons.join("; ")
        )));
        Ok(false)
    }

    /// Hands a blob on; answers why that is impossible, if it is the source that fails.
    fn relay(&self, mut upload: Upload<'_>, blob: &LayerBlob, source: &str) -> Result<Option<String>> {
        let name = Reference::parse_normalized(source).map_err(|error| Error::invalid(error.to_string()))?;
        let repository = self.local.registries()?.repository(&name, Purpose::Pull, self.access)?;
        let reader: Box<dyn Read + '_> = match self.local.blobs.open_sound(&blob.digest, blob.size)? {
            Some(kept) => Box::new(kept),
            None => match repository.blob(blob.digest, blob.size, 0) {
                Ok(reader) => Box::new(reader),
                Err(error) => return Ok(Some(error.to_string())),
            },
        };
        let part = blob.diff_id.short();
        self.tell(ProgressEvent::Begin { part: part.clone(), total: Some(blob.size) });
        let told = |bytes| self.tell(ProgressEvent::Advance { part: part.clone(), bytes });
        let mut reader = DigestReader::new(reader);
        match upload.push_all(&mut reader, &told) {
            Err(mica_registry::Error::Source { source }) => return Ok(Some(source.to_string())),
            other => other.map_err(|error| self.denied(error))?,
        }
        let actual = reader.digest();
        if actual != blob.digest {
            return Ok(Some(format!("it has digest {actual} there, not {}", blob.digest)));
        }
        upload.finish(&blob.digest).map_err(|error| self.denied(error))?;
        Ok(None)
    }

    fn mount_or_begin(&self, digest: &Digest, from: Option<&str>) -> Result<Begun<'a>> {
        self.repository.mount_or_begin(digest, from).map_err(|error| self.denied(error))
    }

    /// Sends a layer as the registry has it already, or compressed here; `is_anew` says that nothing but the
    /// chosen manner of compression will do.
    pub(crate) fn send_anew(&self, layer: &LayerRecord, is_anew: bool) -> Result<LayerBlob> {
        self.persist(&|| self.compress(layer, is_anew))
    }

    fn compress(&self, layer: &LayerRecord, is_anew: bool) -> Result<LayerBlob> {
        let known = match is_anew {
            true => Vec::new(),
            false => origin::blobs_of(&self.local.database(), &layer.diff_id)?,
        };
        let mut asked = HashSet::new();
        let mut begun = None;
        for (blob, _) in known {
            if asked.insert(blob.digest) {
                match self.wish(&blob)? {
                    Wish::Met => return Ok(blob),
                    Wish::Open(open) => begun = open.or(begun),
                }
            }
        }
        let upload = self.upload(begun, &layer.diff_id)?;
        let total = self.local.layers.record(&layer.key())?.archive_size;
        let write = |out: &mut dyn Write| Ok(self.local.layers.write_tar(&layer.key(), out)?);
        let blob = self.pack(&layer.diff_id, Some(total), upload, &write)?;
        // At once, so that of a push that is killed the next one sends only what was not finished.
        self.local
            .database()
            .write(|transaction| blob.insert(transaction, &origin::repository(self.name)))?;
        Ok(blob)
    }

    /// Sends a layer compressed here, whose tar archive `write` writes.
    pub(crate) fn send_written(
        &self,
        diff_id: &Digest,
        total: Option<u64>,
        write: WriteTar<'_>,
    ) -> Result<LayerBlob> {
        self.persist(&|| self.pack(diff_id, total, self.upload(None, diff_id)?, write))
    }

    fn pack(
        &self,
        diff_id: &Digest,
        total: Option<u64>,
        upload: Upload<'_>,
        write: WriteTar<'_>,
    ) -> Result<LayerBlob> {
        let mut sink = Sink { upload, failure: None };
        let written = self.write_layer(diff_id, total, write, &mut sink);
        if let Some(error) = sink.failure {
            return Err(self.denied(error));
        }
        let (digest, size) = written?;
        sink.upload.finish(&digest).map_err(|error| self.denied(error))?;
        self.tell(ended(diff_id, "Pushed"));
        let media_type = self.packing.layer_media_type().to_owned();
        Ok(LayerBlob { diff_id: *diff_id, digest, size, media_type })
    }

    /// Asks whether the registry has a blob or can take it over from another of its repositories.
    fn wish(&self, blob: &LayerBlob) -> Result<Wish<'a>> {
        if self.repository.has_blob(&blob.digest).map_err(|error| self.denied(error))? {
            self.tell(ended(&blob.diff_id, "Layer already exists"));
            return Ok(Wish::Met);
        }
        let known = origin::blobs_of(&self.local.database(), &blob.diff_id)?;
        let mut open = None;
        for (_, repository) in known.iter().filter(|(other, _)| other.digest == blob.digest) {
            let path = origin::path_in(repository, self.name.domain());
            let Some(path) = path.filter(|path| *path != self.name.path()) else { continue };
            match self.mount_or_begin(&blob.digest, Some(path))? {
                Begun::Mounted => {
                    self.tell(ended(&blob.diff_id, &format!("Mounted from {path}")));
                    return Ok(Wish::Met);
                }
                Begun::Upload(upload) => open = Some(upload),
            }
        }
        Ok(Wish::Open(open))
    }

    /// An upload of a blob whose digest may not be known yet.
    fn upload(&self, open: Option<Upload<'a>>, digest: &Digest) -> Result<Upload<'a>> {
        match open.map_or_else(|| self.mount_or_begin(digest, None), |upload| Ok(Begun::Upload(upload)))? {
            Begun::Upload(upload) => Ok(upload),
            Begun::Mounted => Err(Error::invalid("the registry has a blob that it was not asked for")),
        }
    }

    fn write_layer(
        &self,
        diff_id: &Digest,
        total: Option<u64>,
        write: WriteTar<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(Digest, u64)> {
        let part = diff_id.short();
        self.tell(ProgressEvent::Begin { part: part.clone(), total });
        let packer = PackWriter::new(self.packers()?, self.packing, sink);
        let mut counted = Counted { inner: packer, part, unreported: 0, progress: self.progress };
        write(&mut counted)?;
        counted.report();
        let finished = counted.inner.finish();
        finished.map_err(|source| Error::Upload { what: format!("layer {diff_id}"), source })
    }

    fn packers(&self) -> Result<&Packers> {
        if let Some(packers) = self.packers.get() {
            return Ok(packers);
        }
        let made = Packers::for_this_machine()
            .map_err(|source| Error::Upload { what: "threads to compress layers".to_owned(), source })?;
        Ok(self.packers.get_or_init(|| made))
    }

    /// Does the work again when the registry has lost what it had.
    fn persist<T>(&self, work: &dyn Fn() -> Result<T>) -> Result<T> {
        for _ in 1..BEGINNINGS {
            match work() {
                Err(Error::Registry(error)) if error.is_lost_upload() => {}
                other => return other,
            }
        }
        work()
    }
}

/// Takes compressed bytes to an upload, and keeps the error that a writer cannot tell.
struct Sink<'r> {
    upload: Upload<'r>,
    failure: Option<mica_registry::Error>,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failure.is_some() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        match self.upload.push(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                self.failure = Some(error);
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Tells how much was written.
struct Counted<'a, W> {
    inner: W,
    part: String,
    unreported: u64,
    progress: &'a (dyn Fn(ProgressEvent) + Sync),
}

impl<W> Counted<'_, W> {
    fn report(&mut self) {
        let bytes = std::mem::take(&mut self.unreported);
        (self.progress)(ProgressEvent::Advance { part: self.part.clone(), bytes });
    }
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.unreported += count as u64;
        if self.unreported >= REPORT_EVERY_BYTES {
            self.report();
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Does the work of so many layers, some at once; answers the first error.
pub(crate) fn send_all(
    count: usize,
    at_once: usize,
    send: &(dyn Fn(usize) -> Result<bool> + Sync),
) -> Result<Vec<bool>> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Result<Vec<bool>>> = Mutex::new(Ok(Vec::new()));
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count || done.lock().unwrap_or_else(PoisonError::into_inner).is_err() {
                return;
            }
            let sent = send(number);
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            match (sent, done.as_mut()) {
                (Ok(sent), Ok(all)) => all.push(sent),
                (Err(error), Ok(_)) => *done = Err(error),
                // The first error is the one to tell.
                (_, Err(_)) => {}
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..at_once.min(count) {
            scope.spawn(work);
        }
        work();
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) const fn note(text: String) -> ProgressEvent {
    ProgressEvent::Note { text }
}

pub(crate) fn ended(diff_id: &Digest, outcome: &str) -> ProgressEvent {
    ProgressEvent::End { part: diff_id.short(), outcome: outcome.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_sent_and_the_first_failure_ends_it() {
        let count = AtomicUsize::new(0);
        let send = |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(true)
        };
        assert_eq!((send_all(9, 4, &send).unwrap().len(), count.into_inner()), (9, 9));
        let failed = send_all(100, 4, &|number| match number {
            3 => Err(Error::invalid("three")),
            _ => Ok(true),
        });
        assert!(failed.unwrap_err().to_string().contains("three"));
        assert!(send_all(0, 4, &|_| Ok(true)).unwrap().is_empty());
    }
}

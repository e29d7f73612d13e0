//! `import`: one flat tar archive becomes an image of one layer.

use crate::error::{Error, Result};
use crate::image::load::wanted_platform;
use crate::image::register::{Fresh, NewRecord};
use crate::image::tag::parse_target;
use crate::{Local, events};
use mica_api::types::image::{ImportRequest, ImportSource};
use mica_image::{Config, History, NewImage, apply_changes, decompress};
use mica_model::{Proxies, Timestamp};
use mica_registry::Download;
use mica_snapshot::IngestedLayer;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

impl Local {
    /// Makes an image of an archive; answers its id.
    pub(crate) fn import_image(&self, request: ImportRequest) -> Result<String> {
        let imported = self.import(request);
        self.tidy_images();
        imported
    }

    fn import(&self, request: ImportRequest) -> Result<String> {
        let platform = wanted_platform(&request.platform)?;
        let name = match request.reference.as_str() {
            "" => None,
            reference => Some(parse_target(reference)?),
        };
        let mut config = Config::default();
        apply_changes(&mut config, &request.changes)?;
        let origin = match &request.source {
            ImportSource::Archive(_) => "-".to_owned(),
            ImportSource::Address { address, .. } => address.clone(),
        };
        let layer = match request.source {
            ImportSource::Archive(file) => self.unpack(decompress(file)?)?,
            ImportSource::Address { address, proxies } => self.unpack_from_web(&address, &proxies)?,
        };
        let now = Timestamp::from(std::time::SystemTime::now());
        let comment = Some(request.message)
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| format!("Imported from {origin}"));
        let mut image = NewImage {
            architecture: platform.architecture,
            os: platform.os,
            variant: platform.variant,
            comment: comment.clone(),
            created: now,
            config,
            ..NewImage::default()
        };
        let diff_id = *layer.diff_id();
        image.push_layer(diff_id, History { created: now, comment, ..History::default() });
        let config = image.into_config()?;
        let id = config.id().to_string();
        // The only layer completes a chain of one, whose id is its own.
        let fresh = Fresh::from([(diff_id, layer)]);
        let record = NewRecord { config, names: name.iter().cloned().collect(), parent: None, origin: None };
        self.add_images(&[record], fresh, &|job| Err(missing(&job.diff_id)))?;
        self.events.append(&events::image(
            "import",
            &id,
            &name.map_or_else(|| id.clone(), |name| name.familiar()),
        ));
        Ok(id)
    }

    /// Unpacks an archive while it is downloaded. One that does not come whole is no layer.
    fn unpack_from_web(&self, address: &str, proxies: &Proxies) -> Result<IngestedLayer> {
        let download = self.registries()?.download(address, None, proxies)?;
        let mut download = download.ok_or_else(|| Error::invalid("an answer without a file"))?;
        let (reader, mut writer) =
            io::pipe().map_err(|source| Error::io("make", Path::new("a pipe"), source))?;
        std::thread::scope(|scope| {
            let bringing = scope.spawn(move || hand_on(&mut download, &mut writer));
            // What is read from ends here, so that the other half is never left waiting.
            let unpacked = decompress(File::from(OwnedFd::from(reader)))
                .map_err(Error::from)
                .and_then(|tar| self.unpack(tar));
            match bringing.join() {
                Ok(Ok(())) => unpacked,
                Ok(Err(error)) => Err(error),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

/// Writes a download to whoever reads, as far as they want it.
fn hand_on(download: &mut Download, writer: &mut impl Write) -> Result<()> {
    let mut buffer = vec![0; 128 << 10];
    loop {
        let count = download.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        match writer.write_all(&buffer[..count]) {
            Err(error) if is_given_up(&error) => return Ok(()),
            written => written.map_err(|source| Error::io("write to", Path::new("a pipe"), source))?,
        }
    }
}

/// Whether nobody reads any more, who then says why.
fn is_given_up(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// A layer that can not be unpacked again, as what it was made from is gone.
pub(crate) fn missing(diff_id: &mica_model::Digest) -> Error {
    mica_snapshot::Error::UnknownLayer { name: diff_id.to_string() }.into()
}

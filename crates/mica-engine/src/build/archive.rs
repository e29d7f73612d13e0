//! Which files are archives.

use crate::error::{Error, Result};
use mica_image::decompress;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

/// How compressed files begin.
const MAGICS: [&[u8]; 4] =
    [&[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd], b"BZh", &[0xfd, b'7', b'z', b'X', b'Z']];

/// The file again, from its beginning, if it is an archive, compressed or not.
pub(super) fn recognise(mut file: File) -> Result<Option<File>> {
    let fail = |error| Error::io("read", Path::new("an archive"), error);
    let mut head = Vec::new();
    (&mut file).take(512).read_to_end(&mut head).map_err(fail)?;
    file.rewind().map_err(fail)?;
    let is_tar = |head: &[u8]| head.get(257..262) == Some(b"ustar");
    if is_tar(&head) {
        return Ok(Some(file));
    }
    if !MAGICS.iter().any(|magic| head.starts_with(magic)) {
        return Ok(None);
    }
    // A compressed file that holds no archive is a file like any other.
    let mut inside = Vec::new();
    let clone = file.try_clone().map_err(fail)?;
    let read = decompress(clone).ok().and_then(|reader| reader.take(512).read_to_end(&mut inside).ok());
    file.rewind().map_err(fail)?;
    Ok(read.filter(|_| is_tar(&inside)).map(|_| file))
}

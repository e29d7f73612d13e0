//! The 512 bytes before each entry.

use super::{BLOCK, TarError};

/// A header block and where it was, for messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header<'a> {
    /// The block.
    pub(crate) block: &'a [u8; BLOCK],
    /// Its first byte in the archive.
    pub(crate) offset: u64,
}

impl Header<'_> {
    /// Whether the checksum fits. Old archivers summed signed bytes; both sums are accepted.
    pub(crate) fn check(&self) -> Result<(), TarError> {
        let claimed = self.number(148, 8, "checksum")?;
        let (mut unsigned, mut signed) = (0i64, 0i64);
        for (index, &byte) in self.block.iter().enumerate() {
            let byte = if (148..156).contains(&index) { b' ' } else { byte };
            unsigned += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        if claimed == unsigned || claimed == signed {
            Ok(())
        } else {
            Err(TarError::Checksum { offset: self.offset })
        }
    }

    /// The letter that says what kind of entry this is.
    pub(crate) const fn type_flag(&self) -> u8 {
        self.block[156]
    }

    /// Whether this is a GNU header, whose bytes after the device numbers are not a name prefix.
    pub(crate) fn is_gnu(&self) -> bool {
        &self.block[257..265] == b"ustar  \0"
    }

    /// The name, with the prefix that ustar headers may have.
    pub(crate) fn name(&self) -> Vec<u8> {
        let name = until_zero(&self.block[..100]);
        let is_ustar = &self.block[257..263] == b"ustar\0";
        let prefix = match (is_ustar, &self.block[508..512] == b"tar\0") {
            (true, true) => until_zero(&self.block[345..476]),
            (true, false) => until_zero(&self.block[345..500]),
            _ => &[],
        };
        if prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    /// Target of a link.
    pub(crate) fn link_name(&self) -> Vec<u8> {
        until_zero(&self.block[157..257]).to_vec()
    }

    /// A number that cannot be negative.
    pub(crate) fn natural(&self, start: usize, length: usize, field: &'static str) -> Result<u64, TarError> {
        let number = self.number(start, length, field)?;
        u64::try_from(number).map_err(|_| TarError::Number { offset: self.offset, field })
    }

    /// A number in octal digits, or in GNU's base 256 if the first bit is set.
    pub(crate) fn number(&self, start: usize, length: usize, field: &'static str) -> Result<i64, TarError> {
        let bytes = &self.block[start..start + length];
        let parsed = if bytes[0] & 0x80 == 0 { octal(bytes) } else { base_256(bytes) };
        parsed.ok_or(TarError::Number { offset: self.offset, field })
    }
}

/// The part before the first zero byte, or all.
pub(crate) fn until_zero(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    &bytes[..end]
}

fn octal(bytes: &[u8]) -> Option<i64> {
    let is_padding = |byte: &u8| matches!(byte, b' ' | 0);
    let start = bytes.iter().position(|byte| !is_padding(byte)).unwrap_or(bytes.len());
    let digits = &bytes[start..];
    let end = digits.iter().position(is_padding).unwrap_or(digits.len());
    digits[..end].iter().try_fold(0i64, |sum, &digit| match digit {
        b'0'..=b'7' => sum.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

/// Two's complement, big endian, with the first bit used up as the mark of this form.
fn base_256(bytes: &[u8]) -> Option<i64> {
    let is_negative = bytes[0] & 0x40 != 0;
    let first = if is_negative { bytes[0] | 0x80 } else { bytes[0] & 0x7f };
    let mut value = i128::from(first.cast_signed());
    for &byte in &bytes[1..] {
        value = value.checked_mul(256)?.checked_add(i128::from(byte))?;
    }
    i64::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_octal_and_base_256() {
        assert_eq!(octal(b"0000644\0"), Some(0o644));
        assert_eq!(octal(b"   644 \0"), Some(0o644));
        assert_eq!(octal(b"\0\0\0"), Some(0));
        assert_eq!(octal(b"-1      "), None);
        assert_eq!(octal(b"8"), None);
        assert_eq!(base_256(&[0x80, 0, 0, 0, 0, 0, 1, 0]), Some(256));
        assert_eq!(base_256(&[0xff; 12]), Some(-1));
        let mut huge = [0xff; 12];
        huge[0] = 0x80;
        assert_eq!(base_256(&huge), None, "more than 63 bits");
    }
}

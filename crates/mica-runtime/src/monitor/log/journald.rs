//! The journal of systemd, by its native protocol: one datagram of fields an entry.

use super::outbox::Outbox;
use super::{Driver, Piece, Stream};
use crate::error::{SetupError, SetupStep};
use crate::order::send_with;
use crate::{JournaldPlan, SyslogAddress};
use rustix::event::PollFlags;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use std::io::Write;
use std::os::fd::BorrowedFd;

/// Priorities of entries: those of syslog.
const ERROR: &[u8] = b"3";
const INFORMATIONAL: &[u8] = b"6";

/// The driver.
#[derive(Debug)]
pub(super) struct Journald {
    outbox: Outbox,
    /// What every entry carries, encoded.
    fields: Vec<u8>,
    /// Tells this run's entries from those of another.
    epoch: String,
    ordinal: u64,
}

impl Journald {
    pub(super) fn open(plan: &JournaldPlan) -> Result<Self, SetupError> {
        let address = SyslogAddress::UnixDatagram(plan.socket.clone());
        let outbox = Outbox::open(&address, plan.overflow, send_by_file).map_err(|_| SetupError {
            step: SetupStep::LogReceiver,
            subject: ABSENT.to_owned(),
            errno: 0,
        })?;
        let mut fields = Vec::new();
        for (name, value) in &plan.fields {
            field(name, value.as_bytes(), &mut fields);
        }
        Ok(Self { outbox, fields, epoch: super::new_id(), ordinal: 0 })
    }
}

impl Driver for Journald {
    fn add(&mut self, piece: &Piece<'_>) {
        // docker writes no empty lines to the journal, which takes none.
        if piece.text.is_empty() {
            return;
        }
        let mut message = Vec::with_capacity(self.fields.len() + piece.text.len() + 256);
        let priority = if piece.stream == Stream::Error { ERROR } else { INFORMATIONAL };
        field("PRIORITY", priority, &mut message);
        field("MESSAGE", piece.text, &mut message);
        field("SYSLOG_TIMESTAMP", piece.time.to_string().as_bytes(), &mut message);
        self.ordinal += 1;
        field("CONTAINER_LOG_EPOCH", self.epoch.as_bytes(), &mut message);
        field("CONTAINER_LOG_ORDINAL", self.ordinal.to_string().as_bytes(), &mut message);
        if let Some(part) = &piece.part {
            field("CONTAINER_PARTIAL_ID", part.id.as_bytes(), &mut message);
            field("CONTAINER_PARTIAL_ORDINAL", part.ordinal.to_string().as_bytes(), &mut message);
            field("CONTAINER_PARTIAL_LAST", part.is_last.to_string().as_bytes(), &mut message);
            if !part.is_last {
                field("CONTAINER_PARTIAL_MESSAGE", b"true", &mut message);
            }
        }
        message.extend_from_slice(&self.fields);
        self.outbox.push(message);
    }

    fn flush(&mut self) {
        self.outbox.flush();
    }

    fn backlog(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        self.outbox.backlog()
    }

    fn is_full(&self) -> bool {
        self.outbox.is_full()
    }

    fn rest(&mut self) {
        self.outbox.rest();
    }
}

/// docker's words.
const ABSENT: &str = "journald is not enabled on this host";

/// A value with a line end has its length, eight bytes, little-endian, before it.
fn field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// What is too long for a datagram goes as a sealed file in memory.
fn send_by_file(socket: &OwnedFd, message: &[u8]) -> Result<(), Errno> {
    let file = memfd_create("journal-entry", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = std::fs::File::from(file);
    file.write_all(message).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    send_with(socket.as_fd(), &[], &[file.as_fd()]).map(drop)
}

//! A syslog daemon: the host's own, or one behind a socket or a port.

use super::outbox::{Outbox, Unreachable};
use super::{Driver, Piece, Stream};
use crate::error::{SetupError, SetupStep};
use crate::{SyslogAddress, SyslogFormat, SyslogPlan};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::event::PollFlags;
use rustix::io::Errno;
use std::os::fd::BorrowedFd;

/// Severities (RFC 5424, 6.2.1).
const ERROR: u8 = 3;
const INFORMATIONAL: u8 = 6;

/// The driver.
#[derive(Debug)]
pub(super) struct Syslog {
    outbox: Outbox,
    format: SyslogFormat,
    facility: u8,
    tag: String,
    host_name: String,
    process: u32,
    zone: TimeZone,
    /// Each message says how long it is (RFC 5425), as docker has it of the newer form over TLS.
    is_counted: bool,
}

impl Syslog {
    pub(super) fn open(plan: &SyslogPlan) -> Result<Self, SetupError> {
        // UDP has no longer messages, and the others have no limit.
        let outbox = Outbox::open(&plan.address, plan.overflow, |_, _| Err(Errno::MSGSIZE))
            .map_err(|reason| absent(&plan.address, reason))?;
        Ok(Self {
            outbox,
            format: plan.format,
            facility: plan.facility,
            tag: plan.tag.clone(),
            host_name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            process: std::process::id(),
            zone: TimeZone::system(),
            is_counted: matches!(plan.address, SyslogAddress::Tls(_))
                && matches!(plan.format, SyslogFormat::Rfc5424 | SyslogFormat::Rfc5424Micro),
        })
    }

    /// The message without its text.
    fn head(&self, piece: &Piece<'_>) -> String {
        let severity = if piece.stream == Stream::Error { ERROR } else { INFORMATIONAL };
        let priority = self.facility * 8 + severity;
        let time = Timestamp::from_nanosecond(i128::from(piece.time.nanoseconds())).unwrap_or_default();
        let time = time.to_zoned(self.zone.clone());
        let (host, tag, process) = (&self.host_name, &self.tag, self.process);
        match self.format {
            SyslogFormat::Unix => {
                format!("<{priority}>{} {tag}[{process}]: ", time.strftime("%b %e %H:%M:%S"))
            }
            SyslogFormat::Rfc3164 => {
                format!("<{priority}>{} {host} {tag}[{process}]: ", time.strftime("%b %e %H:%M:%S"))
            }
            SyslogFormat::Rfc5424 => {
                let time = time.strftime("%Y-%m-%dT%H:%M:%S%:z");
                format!("<{priority}>1 {time} {host} {tag} {process} {tag} - ")
            }
            SyslogFormat::Rfc5424Micro => {
                let time = time.strftime("%Y-%m-%dT%H:%M:%S%.6f%:z");
                format!("<{priority}>1 {time} {host} {tag} {process} {tag} - ")
            }
        }
    }
}

impl Driver for Syslog {
    fn add(&mut self, piece: &Piece<'_>) {
        let mut message = self.head(piece).into_bytes();
        message.extend_from_slice(piece.text);
        message.push(b'\n');
        if self.is_counted {
            let length = format!("{} ", message.len());
            message.splice(..0, length.into_bytes());
        }
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

/// In docker's words.
fn absent(address: &SyslogAddress, reason: Unreachable) -> SetupError {
    let told = |subject: String| SetupError { step: SetupStep::LogReceiver, subject, errno: 0 };
    let errno = match reason {
        Unreachable::System(errno) => errno,
        Unreachable::Insecure(words) => return told(words),
    };
    let subject = match address {
        SyslogAddress::Local => return told("Unix syslog delivery error".to_owned()),
        SyslogAddress::UnixStream(path) => format!("dial unix {}: connect", path.display()),
        SyslogAddress::UnixDatagram(path) => format!("dial unixgram {}: connect", path.display()),
        SyslogAddress::Udp(address) => format!("dial udp {address}: connect"),
        SyslogAddress::Tcp(address) => format!("dial tcp {address}: connect"),
        SyslogAddress::Tls(plan) => format!("dial tcp {}: connect", plan.address),
    };
    SetupError::new(SetupStep::LogReceiver, subject, errno)
}

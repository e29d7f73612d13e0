//! A connection to a receiver that nobody else can read or pretend to be.
//!
//! As little waits here as does elsewhere: what the other end has not taken stays in the connection's own
//! buffers, which are bounded, and the caller is told what to wait for.

use crate::TlsPlan;
use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

/// Most that is kept of what the other end has not taken yet.
const BUFFER_LENGTH_MAX: usize = 64 << 10;

/// Whom to believe, and who we are.
#[derive(Debug)]
pub(super) struct Security {
    configuration: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Security {
    /// Reads what the plan names.
    pub(super) fn of(plan: &TlsPlan) -> Result<Self, String> {
        let name = ServerName::try_from(plan.server_name.clone())
            .map_err(|_| format!("{:?} is no name of a server", plan.server_name))?;
        Ok(Self { configuration: Arc::new(configuration(plan)?), name })
    }
}

/// One end of such a connection.
#[derive(Debug)]
pub(super) struct Session {
    connection: ClientConnection,
    socket: OwnedFd,
}

impl Session {
    /// The beginning of one over a socket that is connected or on its way there.
    pub(super) fn begin(security: &Security, socket: OwnedFd) -> Result<Self, String> {
        let configuration = Arc::clone(&security.configuration);
        let mut connection =
            ClientConnection::new(configuration, security.name.clone()).map_err(|error| error.to_string())?;
        connection.set_buffer_limit(Some(BUFFER_LENGTH_MAX));
        Ok(Self { connection, socket })
    }

    /// Whether the two ends have not agreed on anything yet.
    pub(super) fn is_beginning(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether there is something to be done as soon as the socket can.
    pub(super) fn has_more(&self) -> bool {
        self.connection.wants_write() || self.is_beginning()
    }

    /// What to wait for.
    pub(super) fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        let hears = self.is_beginning() && !self.connection.wants_write();
        (self.socket.as_fd(), if hears { PollFlags::IN } else { PollFlags::OUT })
    }

    /// Takes some of `bytes`; `AGAIN` where there is no room for any.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        self.exchange().map_err(|_| Errno::CONNRESET)?;
        if self.is_beginning() {
            return Err(Errno::AGAIN);
        }
        match self.connection.writer().write(bytes) {
            Ok(0) | Err(_) => Err(Errno::AGAIN),
            Ok(length) => self.exchange().map(|()| length).map_err(|_| Errno::CONNRESET),
        }
    }

    /// Sends and takes what can be sent and taken now.
    pub(super) fn exchange(&mut self) -> Result<(), String> {
        loop {
            let mut has_moved = false;
            while self.connection.wants_write() {
                match self.connection.write_tls(&mut Wire(&self.socket)) {
                    Ok(_) => has_moved = true,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.to_string()),
                }
            }
            match self.connection.read_tls(&mut Wire(&self.socket)) {
                Ok(0) => return Err("the other end has closed the connection".to_owned()),
                Ok(_) => {
                    has_moved = true;
                    self.take_in()?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.to_string()),
            }
            if !has_moved {
                return Ok(());
            }
        }
    }

    fn take_in(&mut self) -> Result<(), String> {
        let state = self.connection.process_new_packets().map_err(|error| {
            // The other end is told why, if it still listens.
            let _ = self.connection.write_tls(&mut Wire(&self.socket));
            error.to_string()
        })?;
        // No receiver of logs has anything to say; what one says all the same must not pile up.
        let mut unheard = [0; 512];
        let mut left = state.plaintext_bytes_to_read();
        while left > 0 {
            match self.connection.reader().read(&mut unheard) {
                Ok(length) if length > 0 => left = left.saturating_sub(length),
                _ => break,
            }
        }
        Ok(())
    }
}

impl Drop for Session {
    /// So that the other end knows that this was all.
    fn drop(&mut self) {
        self.connection.send_close_notify();
        let _ = self.connection.write_tls(&mut Wire(&self.socket));
    }
}

/// A socket that is neither waited for nor answered by a signal.
struct Wire<'a>(&'a OwnedFd);

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| recv(self.0, &mut *buffer, RecvFlags::DONTWAIT))?.0)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| send(self.0, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT))?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn configuration(plan: &TlsPlan) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let builder = if plan.is_unverified {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Credulous { provider }))
    } else {
        builder.with_root_certificates(roots(plan.authorities.as_deref())?)
    };
    let Some((certificate, key)) = &plan.identity else { return Ok(builder.with_no_client_auth()) };
    let pair = |reason: String| format!("Could not load X509 key pair: {reason}");
    let chain = certificates(certificate).map_err(pair)?;
    let key =
        PrivateKeyDer::from_pem_file(key).map_err(|error| pair(format!("{}: {error}", key.display())))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| pair(error.to_string()))
}

/// The machine's own authorities, and those of a file.
fn roots(more: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    // Some unreadable files among many are no reason to trust none.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = more {
        let wrong = |reason| format!("could not read CA certificate {:?}: {reason}", path.display());
        for certificate in certificates(path).map_err(wrong)? {
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |error| format!("{}: {error}", path.display());
    let read = CertificateDer::pem_file_iter(path).map_err(wrong)?.collect::<Result<Vec<_>, _>>();
    let certificates = read.map_err(wrong)?;
    if certificates.is_empty() {
        return Err(format!("{}: it holds no certificate", path.display()));
    }
    Ok(certificates)
}

/// Believes any server to be who it says (`syslog-tls-skip-verify`); that it has the key that it shows is
/// looked at all the same.
#[derive(Debug)]
struct Credulous {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

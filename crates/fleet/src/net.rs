//! Sockets of a device: TCP, with TLS on top where it is asked for.
//!
//! Not here: what travels on them.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Whose certificates a device accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsTrust {
    /// Those signed by a certificate of this PEM file, for the name that was dialled.
    Ca(PathBuf),
    /// Anybody's. What most published samples do; for simulation only.
    Anyone,
}

/// Why a socket could not be had.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The file with the authority's certificate is of no use.
    #[error(
        "cannot take {path} as the authority's certificate; PEM with at least one certificate is accepted"
    )]
    Ca {
        /// As given.
        path: PathBuf,
        /// What was found instead.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A name that no certificate can have.
    #[error("{host:?} is no host name or address")]
    Name {
        /// As given.
        host: String,
    },
    /// Nobody listens there.
    #[error("cannot connect to {host}:{port}")]
    Connect {
        /// As given.
        host: String,
        /// As given.
        port: u16,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// Somebody listens, but not like this.
    #[error("cannot set up TLS with {host}:{port}")]
    Tls {
        /// As given.
        host: String,
        /// As given.
        port: u16,
        /// What the other side said.
        #[source]
        cause: io::Error,
    },
}

impl TlsTrust {
    /// What to dial with.
    ///
    /// # Errors
    ///
    /// The file cannot be read or holds no certificate.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, NetError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the ring provider has suites for TLS 1.2 and 1.3");
        let config = match self {
            TlsTrust::Ca(path) => builder.with_root_certificates(roots(path)?).with_no_client_auth(),
            TlsTrust::Anyone => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AcceptAnyone(provider)))
                .with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }
}

fn roots(path: &Path) -> Result<RootCertStore, NetError> {
    let refuse = |cause: Box<dyn std::error::Error + Send + Sync>| NetError::Ca { path: path.into(), cause };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|cause| refuse(cause.into()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|cause| refuse(cause.into()))?;
        roots.add(certificate).map_err(|cause| refuse(cause.into()))?;
    }
    if roots.is_empty() {
        return Err(refuse("it holds no certificate".into()));
    }
    Ok(roots)
}

/// Where to connect to, and how.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// `None` is plain.
    pub tls: Option<Arc<ClientConfig>>,
}

impl Endpoint {
    /// Connects, plain or with TLS.
    ///
    /// # Errors
    ///
    /// See [`NetError`].
    pub async fn dial(&self) -> Result<Socket, NetError> {
        let (host, port) = (self.host.clone(), self.port);
        let stream = match TcpStream::connect((self.host.as_str(), port)).await {
            Ok(stream) => stream,
            Err(cause) => return Err(NetError::Connect { host, port, cause }),
        };
        // A device says one small thing and waits for the answer.
        if let Err(cause) = stream.set_nodelay(true) {
            return Err(NetError::Connect { host, port, cause });
        }
        let Some(config) = &self.tls else { return Ok(Socket::Plain(stream)) };
        let Ok(name) = ServerName::try_from(host.clone()) else { return Err(NetError::Name { host }) };
        match TlsConnector::from(Arc::clone(config)).connect(name, stream).await {
            Ok(stream) => Ok(Socket::Tls(Box::new(stream))),
            Err(cause) => Err(NetError::Tls { host, port, cause }),
        }
    }
}

/// A connected socket.
#[derive(Debug)]
pub enum Socket {
    /// As it is.
    Plain(TcpStream),
    /// Inside TLS; boxed, because a crowd has mostly plain ones.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Socket::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Accepts every certificate whose holder can sign with it.
#[derive(Debug)]
struct AcceptAnyone(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAnyone {
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
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

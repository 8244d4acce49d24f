//! Certificates: reading the server's, and making one to try things out with.
//!
//! Always true:
//! - One certificate answers every connection, also one without a server name: device SDKs send none.
//! - TLS 1.2 and 1.3 are spoken; the published SDKs know 1.2.
//! - Certificates of clients are asked for where devices connect, and nowhere else: a browser would ask its user.
//!
//! `identity` is what a listener presents, and can be changed while it listens; `renewal` changes it when the files do.

mod identity;
mod renewal;

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use otaru_engine::{DeviceCa, DeviceCaError};
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

pub(crate) use renewal::Renewal;

use identity::{Identity, Resumable};

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("no certificate can be read from it")]
    Certificate(#[source] pem::Error),
    #[error("it holds no certificate; PEM with the server's certificate first is accepted")]
    NoCertificate,
    #[error("no private key can be read from it; PEM is accepted")]
    Key(#[source] pem::Error),
    #[error("certificate and key do not go together")]
    Pair(#[source] rustls::Error),
    #[error("it holds no certificate; PEM with those of the CAs that issue the devices' is accepted")]
    NoCa,
    #[error("it cannot be used")]
    Ca(#[source] DeviceCaError),
}

impl TlsError {
    /// Whether the key file is to blame rather than the certificate's.
    pub(crate) fn is_about_key(&self) -> bool {
        match self {
            TlsError::Key(_) => true,
            TlsError::Certificate(_)
            | TlsError::NoCertificate
            | TlsError::Pair(_)
            | TlsError::NoCa
            | TlsError::Ca(_) => false,
        }
    }
}

/// The server's side of TLS.
#[derive(Clone)]
pub(crate) struct ServerTls {
    /// For devices, which may present certificates.
    pub(crate) mqtts: Arc<rustls::ServerConfig>,
    /// For everybody, who are not asked for any.
    pub(crate) https: Arc<rustls::ServerConfig>,
    /// What both present, and where it comes from.
    pub(crate) pair: Pair,
}

/// The certificate and the key that all listeners present, and their files.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    identity: Arc<Identity>,
    resumable: [Arc<Resumable>; 2],
}

impl Pair {
    /// Reads the files again. On an error nothing has changed.
    fn renew(&self) -> Result<(), TlsError> {
        self.identity.replace(read_pair(&self.cert, &self.key)?);
        // Who resumes a session is not shown a certificate; a new one is for everybody.
        self.resumable.iter().for_each(|sessions| sessions.forget());
        Ok(())
    }

    /// When the certificate that is presented is no longer valid, in seconds since 1970.
    fn expires_at(&self) -> Option<i64> {
        let own = self.identity.current();
        let (_, own) = x509_parser::parse_x509_certificate(own.cert.first()?).ok()?;
        Some(own.validity().not_after.timestamp())
    }
}

/// The server's side of TLS with the certificate chain and key of these files.
pub(crate) fn server_tls(cert: &Path, key: &Path) -> Result<ServerTls, TlsError> {
    let identity = Arc::new(Identity::new(read_pair(cert, key)?));
    let provider = Arc::new(ring::default_provider());
    let both_versions = || {
        rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("the ring provider has suites for both versions")
    };
    let verifier = otaru_gateway::certificates_are_welcome(&provider);
    let mut mqtts = both_versions().with_client_cert_verifier(verifier).with_cert_resolver(identity.clone());
    let mut https = both_versions().with_no_client_auth().with_cert_resolver(identity.clone());
    let resumable = [&mut mqtts, &mut https].map(|config| {
        let sessions = Arc::new(Resumable::new());
        config.session_storage = sessions.clone();
        sessions
    });
    let pair = Pair { cert: cert.to_owned(), key: key.to_owned(), identity, resumable };
    Ok(ServerTls { mqtts: Arc::new(mqtts), https: Arc::new(https), pair })
}

/// A chain and the key of its first certificate.
fn read_pair(cert: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(cert)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(TlsError::Key)?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(TlsError::Pair)
}

/// The CAs in this file, who issue certificates to devices.
pub(crate) fn device_ca(file: &Path) -> Result<DeviceCa, TlsError> {
    DeviceCa::new(&read_device_ca(file)?).map_err(TlsError::Ca)
}

fn read_device_ca(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = certificates(file)?;
    if all.is_empty() { Err(TlsError::NoCa) } else { Ok(all) }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    found.map_err(TlsError::Certificate)
}

/// Why no certificate was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SelfSignError {
    #[error("{names:?} cannot all stand in a certificate; host names and IP addresses are accepted")]
    Names {
        names: Vec<String>,
        #[source]
        cause: rcgen::Error,
    },
    #[error("{} exists already; nothing is overwritten, so remove it or choose another --out", path.display())]
    Exists { path: PathBuf },
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
}

/// Where a new certificate and its key are.
#[derive(Debug)]
pub(crate) struct SelfSigned {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// Makes a certificate for `names` that signs itself, and writes it and its key into `out`.
///
/// Neither file may exist. The key can be read by its owner only, from the moment it is made.
pub(crate) fn self_sign(out: &Path, names: &[String]) -> Result<SelfSigned, SelfSignError> {
    let made = rcgen::generate_simple_self_signed(names)
        .map_err(|cause| SelfSignError::Names { names: names.to_vec(), cause })?;
    std::fs::create_dir_all(out).map_err(|cause| SelfSignError::Write { path: out.to_owned(), cause })?;
    let files = SelfSigned { cert: out.join("cert.pem"), key: out.join("key.pem") };
    if files.cert.exists() {
        return Err(SelfSignError::Exists { path: files.cert });
    }
    // The key first: a certificate without its key would be in the way of the next try.
    write_new(&files.key, &made.signing_key.serialize_pem(), 0o600)?;
    write_new(&files.cert, &made.cert.pem(), 0o644)?;
    Ok(files)
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), SelfSignError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(mode);
    }
    #[cfg(not(unix))]
    let _ = mode;
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|cause| match cause.kind() == io::ErrorKind::AlreadyExists {
        true => SelfSignError::Exists { path: path.to_owned() },
        false => SelfSignError::Write { path: path.to_owned(), cause },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_that_was_made_can_be_served() {
        let dir = tempfile::tempdir().unwrap();
        let files = self_sign(dir.path(), &["ota.example.com".into(), "127.0.0.1".into()]).unwrap();
        server_tls(&files.cert, &files.key).unwrap();

        let again = self_sign(dir.path(), &["ota.example.com".into()]).unwrap_err();
        assert!(matches!(again, SelfSignError::Exists { .. }), "{again}");
    }

    #[test]
    fn the_wrong_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let one = self_sign(&dir.path().join("one"), &["a".into()]).unwrap();
        let two = self_sign(&dir.path().join("two"), &["a".into()]).unwrap();
        let blame = |cert: &Path, key: &Path| server_tls(cert, key).err().unwrap();
        assert!(matches!(blame(&one.cert, &two.key), TlsError::Pair(_)));
        assert!(matches!(blame(&one.key, &one.key), TlsError::NoCertificate));
        assert!(blame(&one.cert, &one.cert).is_about_key());
        assert!(!blame(&dir.path().join("none"), &one.key).is_about_key());
    }

    #[test]
    fn a_file_may_hold_several_device_cas_and_has_to_hold_one() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| self_sign(&dir.path().join(name), &["a".into()]).unwrap());
        let text = [&one.cert, &two.cert].map(|cert| std::fs::read_to_string(cert).unwrap()).concat();
        let both = dir.path().join("both.pem");
        std::fs::write(&both, text).unwrap();
        assert_eq!(format!("{:?}", device_ca(&both).unwrap()), "DeviceCa(2)");
        assert!(matches!(device_ca(&one.key), Err(TlsError::NoCa)));
        assert!(matches!(device_ca(&dir.path().join("none")), Err(TlsError::Certificate(_))));
        std::fs::write(&both, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        let error = crate::exit::chain(&device_ca(&both).unwrap_err());
        assert!(error.contains("certificate 1 in it cannot be a device CA's"), "{error}");
    }
}

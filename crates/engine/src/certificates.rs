//! Certificates of devices: is the one that was presented the one that is meant.
//!
//! Always true:
//! - Whoever hands a certificate in has seen the proof that the device holds its key; here it is only looked at
//!   whose certificate it is.
//! - A registered fingerprint decides alone: nothing else about the certificate matters, also not its age.
//! - Without one, the certificate must come from the device CA, be valid now, and name the device.

use std::sync::{Arc, PoisonError, RwLock};

use otaru_core::{Fingerprint, WallTime};
use otaru_proto::DeviceId;
use otaru_store::ConnectFacts;
use ring::digest;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use crate::connect::Refusal;

/// How a device has reached us.
#[derive(Clone, Copy, Debug)]
pub enum Channel<'a> {
    /// Anybody in between could read and change what is said.
    Plain,
    /// Over TLS, with the certificates that the device presented: its own first, then those above it; none if it
    /// presented none. It has proved that it holds the key of the first one.
    Tls(&'a [CertificateDer<'a>]),
}

/// Who issues certificates to devices. Clones are one: what [`replace`](DeviceCa::replace) changes, all of them see.
#[derive(Clone)]
pub struct DeviceCa {
    anchors: Arc<RwLock<Arc<[TrustAnchor<'static>]>>>,
}

/// One of the certificates cannot be a CA's.
#[derive(Debug, thiserror::Error)]
#[error("certificate {number} in it cannot be a device CA's")]
pub struct DeviceCaError {
    /// Which, from 1.
    pub number: usize,
    /// What is wrong with it.
    #[source]
    pub cause: webpki::Error,
}

impl std::fmt::Debug for DeviceCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeviceCa({})", self.anchors().len())
    }
}

impl DeviceCa {
    /// Any of these may have issued a device's certificate, directly or through others that the device presents.
    ///
    /// # Errors
    ///
    /// Which of them cannot be read.
    pub fn new(certificates: &[CertificateDer<'_>]) -> Result<DeviceCa, DeviceCaError> {
        Ok(DeviceCa { anchors: Arc::new(RwLock::new(anchors(certificates)?)) })
    }

    /// From now on these are the ones that may have issued a device's certificate, instead of those before. Sessions
    /// that were let in go on. May be called again, and from any thread.
    ///
    /// # Errors
    ///
    /// Which of them cannot be read; then nothing has changed.
    pub fn replace(&self, certificates: &[CertificateDer<'_>]) -> Result<(), DeviceCaError> {
        let new = anchors(certificates)?;
        *self.anchors.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    fn anchors(&self) -> Arc<[TrustAnchor<'static>]> {
        self.anchors.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it has issued the first of these, directly or through the others.
    fn has_issued(&self, presented: &[CertificateDer<'_>], now: WallTime) -> Result<(), webpki::Error> {
        let (own, others) = presented.split_first().ok_or(webpki::Error::UnknownIssuer)?;
        let since_1970 = std::time::Duration::from_millis(u64::try_from(now.0).unwrap_or(0));
        EndEntityCert::try_from(own)?.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &self.anchors(),
            others,
            UnixTime::since_unix_epoch(since_1970),
            KeyUsage::client_auth(),
            None, // whose certificate is no longer good is frozen or deleted here
            None,
        )?;
        Ok(())
    }
}

fn anchors(certificates: &[CertificateDer<'_>]) -> Result<Arc<[TrustAnchor<'static>]>, DeviceCaError> {
    let anchor = |(at, certificate)| match webpki::anchor_from_trusted_cert(certificate) {
        Ok(anchor) => Ok(anchor.to_owned()),
        Err(cause) => Err(DeviceCaError { number: at + 1, cause }),
    };
    certificates.iter().enumerate().map(anchor).collect()
}

/// Whether what came through this channel is the certificate of the device with these facts.
pub(crate) fn check(
    channel: Channel<'_>,
    device: &DeviceId,
    facts: &ConnectFacts,
    ca: Option<&DeviceCa>,
    now: WallTime,
) -> Result<(), Refusal> {
    let presented = match channel {
        Channel::Plain => return Err(Refusal::CertificateNeedsTls),
        Channel::Tls(presented) => presented,
    };
    let own = presented.first().ok_or(Refusal::CertificateMissing)?;
    let unknown = || Refusal::CertificateUnknown {
        device: device.to_string(),
        presented: sha256_of(own),
        registered: facts.fingerprint,
    };
    match (facts.fingerprint, ca) {
        (Some(registered), _) if fits(registered, own) => Ok(()),
        (Some(_), _) | (None, None) => Err(unknown()),
        (None, Some(ca)) => {
            ca.has_issued(presented, now).map_err(|error| refusal_of(error, own))?;
            check_name(own, device)
        }
    }
}

fn refusal_of(error: webpki::Error, own: &CertificateDer<'_>) -> Refusal {
    let presented = sha256_of(own);
    // What else can be wrong with a chain is a long list that grows; all of it says that the CA did not issue this.
    if let webpki::Error::CertExpired { not_after, .. } = error {
        return Refusal::CertificateExpired { problem: format!("it was valid until {}", shown(not_after)) };
    }
    if let webpki::Error::CertNotValidYet { not_before, .. } = error {
        return Refusal::CertificateExpired { problem: format!("it is valid from {} on", shown(not_before)) };
    }
    let problem = if matches!(error, webpki::Error::UnknownIssuer) {
        "its issuer is not known here".to_owned()
    } else if matches!(error, webpki::Error::UnsupportedCertVersion) {
        "it is of X.509 version 1, for which only a registered fingerprint counts".to_owned()
    } else {
        error.to_string()
    };
    Refusal::CertificateNotIssued { presented, problem }
}

fn shown(time: UnixTime) -> String {
    let secs = i64::try_from(time.as_secs()).ok();
    match secs.and_then(|secs| ASN1Time::from_timestamp(secs).ok()) {
        Some(time) => time.to_string(),
        None => format!("{} seconds after 1970", time.as_secs()),
    }
}

/// The one common name of the subject has to be the device's id. Of two names nobody could say which one is meant, and
/// a node id is unique within its product only: a device could come as its namesake in another one.
fn check_name(own: &CertificateDer<'_>, device: &DeviceId) -> Result<(), Refusal> {
    let other = |names: String| Refusal::CertificateOtherName {
        device: device.to_string(),
        names,
        presented: sha256_of(own),
    };
    let Ok((_, certificate)) = X509Certificate::from_der(own) else { return Err(other("unreadable".into())) };
    let names: Vec<&str> =
        certificate.subject().iter_common_name().map(|name| name.as_str().unwrap_or_default()).collect();
    match names.as_slice() {
        [name] if *name == device.as_str() => Ok(()),
        [] | [_] | [_, _, ..] => Err(other(format!("{names:?}").chars().take(NAMES_CHARS_MAX).collect())),
    }
}

/// Characters of a stranger's names that are shown: twice the longest device id.
const NAMES_CHARS_MAX: usize = 256;

fn fits(registered: Fingerprint, certificate: &CertificateDer<'_>) -> bool {
    let algorithm = match registered {
        Fingerprint::Sha1(_) => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        Fingerprint::Sha256(_) => &digest::SHA256,
    };
    registered.is(digest::digest(algorithm, certificate).as_ref())
}

fn sha256_of(certificate: &CertificateDer<'_>) -> Fingerprint {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, certificate).as_ref());
    Fingerprint::Sha256(bytes)
}

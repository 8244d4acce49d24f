//! Buckets in an S3-compatible store.
//!
//! Always true:
//! - An object is read piece by piece, each with a request of its own that is tried again and has a time limit: how long an
//!   object takes depends on its size and on nothing else.
//! - All pieces are of one version of the object; one that changes meanwhile is read from its beginning.
//!
//! Not here: writing. Whoever has the images puts them there.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{
    ClientOptions, Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, RetryConfig,
};

use super::Why;

/// Bytes of an object read at once: some tens of milliseconds from a store nearby, and what an object being read holds in
/// memory.
const PART_BYTES: u64 = 4 << 20;

/// How long one request may take: a part in this time is 140 KB/s, below which nobody wants to wait for an image.
const REQUEST_TIME: Duration = Duration::from_secs(30);

/// How often a request is tried again at once, and for how long; after that whoever asked is told, and may ask again later.
const RETRIES: (usize, Duration) = (2, Duration::from_secs(20));

/// Where a bucket of an S3-compatible store is, and how it is spoken to.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct S3Place {
    /// The name of the bucket there.
    pub bucket: String,
    /// What all keys begin with there; empty, or with a slash at its end.
    pub prefix: String,
    /// Another store than that of AWS: `http://` or `https://`, a host and perhaps a port.
    pub endpoint: Option<String>,
    /// The endpoint's host begins with the bucket, which some stores want; otherwise the bucket is in the path.
    pub is_virtual_host: bool,
    /// Absent: what the environment says where that says who we are, or `us-east-1`, which most other stores accept.
    pub region: Option<String>,
    /// Access key and secret. Absent: what the environment says (`AWS_ACCESS_KEY_ID` and so on), or the role of the machine.
    pub credentials: Option<(String, String)>,
}

impl std::fmt::Debug for S3Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let S3Place { bucket, prefix, endpoint, is_virtual_host, region, credentials } = self;
        let access_key = credentials.as_ref().map(|(access_key, _)| access_key);
        let mut shown = f.debug_struct("S3Place");
        shown.field("bucket", bucket).field("prefix", prefix).field("endpoint", endpoint);
        shown
            .field("is_virtual_host", is_virtual_host)
            .field("region", region)
            .field("access_key", &access_key)
            .finish_non_exhaustive()
    }
}

/// Why a bucket cannot be used at all.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct S3Error(String);

/// A bucket of an S3-compatible store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct S3Bucket {
    there: Arc<AmazonS3>,
    prefix: String,
}

impl S3Bucket {
    /// Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// What about the place cannot be.
    pub fn new(place: &S3Place) -> Result<S3Bucket, S3Error> {
        // Installed already where TLS is served; a second time changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let is_plain = place.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        let (max_retries, retry_timeout) = RETRIES;
        // Whoever says who they are means nobody else's keys, tokens or addresses.
        let builder = match &place.credentials {
            Some(_) => AmazonS3Builder::new(),
            None => AmazonS3Builder::from_env(),
        };
        let mut builder = builder
            .with_bucket_name(&place.bucket)
            .with_client_options(ClientOptions::new().with_timeout(REQUEST_TIME).with_allow_http(is_plain))
            .with_retry(RetryConfig { max_retries, retry_timeout, ..RetryConfig::default() });
        if let Some(endpoint) = &place.endpoint {
            builder =
                builder.with_endpoint(endpoint).with_virtual_hosted_style_request(place.is_virtual_host);
        }
        if let Some(region) = &place.region {
            builder = builder.with_region(region);
        }
        if let Some((access_key, secret)) = &place.credentials {
            builder = builder.with_access_key_id(access_key).with_secret_access_key(secret);
        }
        if !place.prefix.is_empty() && Path::parse(&place.prefix).is_err() {
            return Err(S3Error(format!("nothing can begin with {}", place.prefix)));
        }
        let there = builder.build().map_err(|error| S3Error(error.to_string()))?;
        Ok(S3Bucket { there: Arc::new(there), prefix: place.prefix.clone() })
    }

    pub(super) async fn find(&self, key: &str) -> Result<Found, Why> {
        let path = Path::parse(format!("{}{key}", self.prefix)).map_err(|_| Why::Missing)?;
        let about = self.there.head(&path).await.map_err(|error| why(&error))?;
        // A weak tag never matches.
        let version = match about.e_tag.filter(|tag| !tag.starts_with("W/")) {
            Some(tag) => GetOptions { if_match: Some(tag), ..GetOptions::default() },
            None => GetOptions { if_unmodified_since: Some(about.last_modified), ..GetOptions::default() },
        };
        Ok(Found { there: Arc::clone(&self.there), path, size_bytes: about.size, version })
    }
}

/// An object, as it was when it was looked for.
pub(super) struct Found {
    there: Arc<AmazonS3>,
    path: Path,
    size_bytes: u64,
    /// Only this one of its versions.
    version: GetOptions,
}

impl Found {
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub(super) fn pieces(self) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send + 'static {
        stream::try_unfold((self, 0), |(found, from)| async move {
            if from >= found.size_bytes {
                return Ok(None);
            }
            let to = found.size_bytes.min(from + PART_BYTES);
            let options = GetOptions { range: Some(GetRange::Bounded(from..to)), ..found.version.clone() };
            let got = found.there.get_opts(&found.path, options).await.map_err(|error| broken(&error))?;
            let piece = got.bytes().await.map_err(|error| broken(&error))?;
            Ok(Some((piece, (found, to))))
        })
    }
}

/// A piece that could not be read: the whole is read again later.
fn broken(error: &Error) -> io::Error {
    let has_changed = matches!(error, Error::Precondition { .. });
    io::Error::other(if has_changed { "it changed while it was read".to_owned() } else { plain(error) })
}

fn why(error: &Error) -> Why {
    if matches!(error, Error::NotFound { .. } | Error::InvalidPath { .. }) {
        Why::Missing
    } else if matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. }) {
        Why::Forbidden("the store does not let our access key read it".to_owned())
    } else {
        Why::Unreadable(plain(error))
    }
}

/// What went wrong, in a line: the innermost reason, without the page that a store sends with it.
fn plain(error: &Error) -> String {
    let mut reason: &dyn std::error::Error = error;
    while let Some(inner) = reason.source() {
        reason = inner;
    }
    let text: String = reason.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let text = text.split('<').next().unwrap_or_default().trim_end_matches([' ', ':']);
    text.chars().take(REASON_CHARS_MAX).collect()
}

/// Of a reason that a store gives, which may be a whole page.
const REASON_CHARS_MAX: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let credentials = Some(("AKEXAMPLE".to_owned(), "hush-hush".to_owned()));
        let place = S3Place { bucket: "images".into(), credentials, ..S3Place::default() };
        let shown = format!("{place:?}{:?}", S3Bucket::new(&place).unwrap());
        assert!(shown.contains("AKEXAMPLE") && !shown.contains("hush"), "{shown}");
    }
}

//! Fetching a package as the recommended profile of an agent does.
//!
//! Always true:
//! - A fetch that succeeds has read exactly the announced bytes, and their SHA-256 is the announced one.
//! - What broke off is taken up where it broke, as long as the bytes on offer are still the same ones.
//! - Nothing is kept: a simulated device has no disk.
//! - One that pretends opens no connection, and says so by zero tries.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::header::{ACCEPT_RANGES, AUTHORIZATION, CONTENT_TYPE, ETAG, HOST, HeaderValue, IF_RANGE, RANGE};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use otaru_proto::{Access, Notice};
use rustls::ClientConfig;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use crate::limits::{DOWNLOAD_STALL, DOWNLOAD_TRIES, PACKAGE_BYTES_MAX};
use crate::net::{Endpoint, NetError};

/// Fetches packages. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Downloader {
    tls: Option<Arc<ClientConfig>>,
    pretends: bool,
}

/// A package that was fetched and is what was announced; nothing at all, if fetching was pretended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// How many bytes came over the network; more than the package if it was begun again.
    pub bytes: u64,
    /// How often it was asked for.
    pub tries: u32,
}

/// Why a package was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The address in the notice is of no use.
    #[error("{url:?} is no http or https address with host and path")]
    Url {
        /// As announced.
        url: String,
    },
    /// An https address, and nothing is known about whom to trust.
    #[error("{url:?} needs TLS, which this device was not set up for")]
    NoTls {
        /// As announced.
        url: String,
    },
    /// The announced size is more than this device can hold.
    #[error("package has {bytes} bytes; at most {PACKAGE_BYTES_MAX} fit")]
    TooLarge {
        /// As announced.
        bytes: u64,
    },
    /// No socket.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The server answered something else than the package.
    #[error("server answered {0}")]
    Status(StatusCode),
    /// Neither answer nor bytes for too long.
    #[error("nothing came for {} s", DOWNLOAD_STALL.as_secs())]
    Stalled,
    /// The connection broke, and taking it up again did not help.
    #[error("connection broke after {have} of {announced} bytes")]
    Broke {
        /// How many bytes there were.
        have: u64,
        /// How many there should have been.
        announced: u64,
        /// What HTTP said.
        #[source]
        cause: Option<hyper::Error>,
    },
    /// More bytes than announced.
    #[error("more than the announced {announced} bytes came")]
    TooLong {
        /// How many there should have been.
        announced: u64,
    },
    /// Other bytes than announced.
    #[error("package hashes to {got}, {announced} was announced")]
    Digest {
        /// As announced.
        announced: String,
        /// As computed.
        got: String,
    },
}

impl DownloadError {
    /// Whether what came was not what was announced, rather than not coming.
    #[must_use]
    pub fn is_wrong_content(&self) -> bool {
        matches!(self, DownloadError::TooLong { .. } | DownloadError::Digest { .. })
    }

    /// Whether asking again can help.
    fn is_transient(&self) -> bool {
        matches!(self, DownloadError::Stalled | DownloadError::Broke { .. } | DownloadError::Net(_))
    }
}

/// How far one fetch has come, over all its tries.
struct Progress {
    hash: Sha256,
    have: u64,
    received: u64,
    /// The strong validator of the bytes we have a part of.
    etag: Option<HeaderValue>,
}

impl Downloader {
    /// Fetches from `https` addresses too, trusting whom `tls` trusts.
    #[must_use]
    pub fn with_tls(tls: Arc<ClientConfig>) -> Downloader {
        Downloader { tls: Some(tls), pretends: false }
    }

    /// Asks for nothing and is done at once: for crowds that must not load the download server.
    #[must_use]
    pub fn pretending() -> Downloader {
        Downloader { tls: None, pretends: true }
    }

    /// Fetches the package of a notice and verifies it.
    ///
    /// # Errors
    ///
    /// See [`DownloadError`]; what can pass is tried again a few times first.
    pub async fn fetch(&self, notice: &Notice) -> Result<Fetched, DownloadError> {
        self.fetch_up_to(notice, u64::MAX).await
    }

    /// Fetches half of a package and lets go of the connection; what arrived is not verified.
    ///
    /// # Errors
    ///
    /// See [`DownloadError`].
    pub async fn fetch_half(&self, notice: &Notice) -> Result<Fetched, DownloadError> {
        self.fetch_up_to(notice, notice.file_size / 2).await
    }

    async fn fetch_up_to(&self, notice: &Notice, enough: u64) -> Result<Fetched, DownloadError> {
        if self.pretends {
            return Ok(Fetched { bytes: 0, tries: 0 });
        }
        if notice.file_size > PACKAGE_BYTES_MAX {
            return Err(DownloadError::TooLarge { bytes: notice.file_size });
        }
        let mut progress = Progress { hash: Sha256::new(), have: 0, received: 0, etag: None };
        let mut tries = 0;
        loop {
            tries += 1;
            match self.one_try(notice, enough, &mut progress).await {
                Ok(()) => break,
                Err(error) if error.is_transient() && tries < DOWNLOAD_TRIES => {
                    // 0.2, 0.4, 0.8 s: long enough for a server to come back, short beside a download.
                    tokio::time::sleep(Duration::from_millis(100 << tries)).await;
                }
                Err(error) => return Err(error),
            }
        }
        if enough >= notice.file_size {
            let got: String = progress.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            if !got.eq_ignore_ascii_case(&notice.sign) {
                return Err(DownloadError::Digest { announced: notice.sign.clone(), got });
            }
        }
        Ok(Fetched { bytes: progress.received, tries })
    }

    async fn one_try(
        &self,
        notice: &Notice,
        enough: u64,
        progress: &mut Progress,
    ) -> Result<(), DownloadError> {
        let (endpoint, request) = self.request(notice, progress)?;
        let announced = notice.file_size;
        let broke = |have, cause| DownloadError::Broke { have, announced, cause };
        let socket = in_time(endpoint.dial()).await??;
        let (mut sender, connection) = in_time(hyper::client::conn::http1::handshake(TokioIo::new(socket)))
            .await?
            .map_err(|cause| broke(progress.have, Some(cause)))?;
        let exchange = async {
            let response = in_time(sender.send_request(request))
                .await?
                .map_err(|cause| broke(progress.have, Some(cause)))?;
            progress.agree_with(&response)?;
            let mut body = response.into_body();
            while progress.have < enough {
                let Some(frame) = in_time(body.frame()).await? else { break };
                let frame = frame.map_err(|cause| broke(progress.have, Some(cause)))?;
                if let Some(data) = frame.data_ref() {
                    progress.take(data);
                }
                if progress.have > announced {
                    return Err(DownloadError::TooLong { announced });
                }
            }
            if progress.have < announced.min(enough) {
                return Err(broke(progress.have, None));
            }
            Ok(())
        };
        tokio::pin!(exchange);
        tokio::pin!(connection);
        // The connection has to be polled for anything to move; it never ends before the exchange with
        // something the exchange would not also tell.
        let mut connection_done = false;
        loop {
            tokio::select! {
                done = &mut exchange => return done,
                _ = &mut connection, if !connection_done => connection_done = true,
            }
        }
    }

    fn request(
        &self,
        notice: &Notice,
        progress: &Progress,
    ) -> Result<(Endpoint, Request<Empty<Bytes>>), DownloadError> {
        let bad_url = || DownloadError::Url { url: notice.url.clone() };
        let uri: Uri = notice.url.parse().map_err(|_| bad_url())?;
        let (Some(host), Some(authority)) = (uri.host(), uri.authority()) else { return Err(bad_url()) };
        let (tls, default_port) = match uri.scheme_str() {
            Some("http") => (None, 80),
            Some("https") => {
                let tls = self.tls.clone().ok_or_else(|| DownloadError::NoTls { url: notice.url.clone() })?;
                (Some(tls), 443)
            }
            Some(_) | None => return Err(bad_url()),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let endpoint = Endpoint { host, port: uri.port_u16().unwrap_or(default_port), tls };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::get(path).header(HOST, authority.as_str());
        if let Access::Token(token) = &notice.access {
            // Both headers are the published ones, the meaningless content type of a GET included.
            request = request
                .header(CONTENT_TYPE, "application/json")
                .header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if let (1.., Some(etag)) = (progress.have, &progress.etag) {
            request = request.header(RANGE, format!("bytes={}-", progress.have)).header(IF_RANGE, etag);
        }
        let request = request.body(Empty::new()).map_err(|_| bad_url())?;
        Ok((endpoint, request))
    }
}

impl Progress {
    /// Makes what we have fit to what is coming: 206 goes on, 200 begins again.
    fn agree_with<B>(&mut self, response: &Response<B>) -> Result<(), DownloadError> {
        match response.status() {
            StatusCode::PARTIAL_CONTENT if self.have > 0 => Ok(()),
            StatusCode::OK => {
                let may_resume = response.headers().get(ACCEPT_RANGES).is_some_and(|units| units == "bytes");
                let etag = response.headers().get(ETAG).filter(|_| may_resume).cloned();
                self.hash = Sha256::new();
                self.have = 0;
                self.etag = etag;
                Ok(())
            }
            other => Err(DownloadError::Status(other)),
        }
    }

    fn take(&mut self, data: &[u8]) {
        self.hash.update(data);
        self.have += data.len() as u64;
        self.received += data.len() as u64;
    }
}

async fn in_time<T>(step: impl Future<Output = T>) -> Result<T, DownloadError> {
    timeout(DOWNLOAD_STALL, step).await.map_err(|_elapsed| DownloadError::Stalled)
}

//! How packages are fetched, from a server that misbehaves as told.

use crate::links::acceptor;
use crate::stage::{Answer, Http};
use otaru_fleet::{DownloadError, Downloader, Fetched, TlsTrust};

#[tokio::test]
async fn what_broke_off_is_taken_up_where_it_broke() {
    let http = Http::serve(vec![Answer::BreaksOff, Answer::Whole]).await;
    let fetched = Downloader::default().fetch(&http.notice("1.5.0")).await.unwrap();
    assert_eq!(fetched, Fetched { bytes: http.package.len() as u64, tries: 2 });
    let head = http.heads.lock().unwrap()[1].to_ascii_lowercase();
    assert!(head.contains("range: bytes=200000-\r\n"), "{head}");
    assert!(head.contains("if-range: \"e1\"\r\n"), "{head}");
}

#[tokio::test]
async fn a_server_that_always_breaks_off_is_given_up_on() {
    let http = Http::serve(vec![Answer::BreaksOff; 8]).await;
    let error = Downloader::default().fetch(&http.notice("1.5.0")).await.unwrap_err();
    assert!(matches!(error, DownloadError::Broke { .. }), "{error}");
    assert!(!error.is_wrong_content());
    assert_eq!(http.heads.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn other_bytes_than_announced_are_refused() {
    let http = Http::serve(vec![Answer::Altered]).await;
    let error = Downloader::default().fetch(&http.notice("1.5.0")).await.unwrap_err();
    assert!(matches!(error, DownloadError::Digest { .. }), "{error}");
    assert!(error.is_wrong_content());
}

#[tokio::test]
async fn more_bytes_than_announced_are_refused() {
    let http = Http::serve(vec![Answer::Whole]).await;
    let mut notice = http.notice("1.5.0");
    notice.file_size -= 1;
    let error = Downloader::default().fetch(&notice).await.unwrap_err();
    assert!(matches!(error, DownloadError::TooLong { .. }), "{error}");
}

#[tokio::test]
async fn a_refusal_is_not_asked_about_again() {
    let http = Http::serve(vec![Answer::Forbidden, Answer::Whole]).await;
    let error = Downloader::default().fetch(&http.notice("1.5.0")).await.unwrap_err();
    assert!(matches!(error, DownloadError::Status(status) if status == 403), "{error}");
    assert_eq!(http.heads.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn half_a_package_is_half_a_package() {
    let http = Http::serve(vec![Answer::Whole]).await;
    let fetched = Downloader::default().fetch_half(&http.notice("1.5.0")).await.unwrap();
    assert!(fetched.bytes >= http.package.len() as u64 / 2);
    assert_eq!(fetched.tries, 1);
}

#[tokio::test]
async fn an_address_that_is_none_says_so() {
    let http = Http::serve(Vec::new()).await;
    let mut notice = http.notice("1.5.0");
    for url in ["", "/download/x", "ftp://127.0.0.1/x"] {
        notice.url = url.into();
        let error = Downloader::default().fetch(&notice).await.unwrap_err();
        assert!(matches!(error, DownloadError::Url { .. }), "{url}: {error}");
    }
    notice.url = "https://127.0.0.1:1/x".into();
    let error = Downloader::default().fetch(&notice).await.unwrap_err();
    assert!(matches!(error, DownloadError::NoTls { .. }), "{error}");
}

#[tokio::test]
async fn packages_come_over_tls_as_well() {
    let http = Http::with(vec![Answer::BreaksOff, Answer::Whole], Some(acceptor().0)).await;
    let downloader = Downloader::with_tls(TlsTrust::Anyone.client_config().unwrap());
    let fetched = downloader.fetch(&http.notice("1.5.0")).await.unwrap();
    assert_eq!(fetched, Fetched { bytes: http.package.len() as u64, tries: 2 });
}

#[tokio::test]
async fn one_that_pretends_asks_for_nothing() {
    let http = Http::serve(vec![]).await;
    let fetched = Downloader::pretending().fetch(&http.notice("1.5.0")).await.unwrap();
    assert_eq!((fetched.bytes, fetched.tries), (0, 0));
    assert!(http.heads.lock().unwrap().is_empty());
}

//! Where a bucket is, as an operator writes it.
//!
//! ```text
//! /srv/firmware                                                 files below a directory
//! s3://images                                                   a bucket at AWS
//! s3://images/pumps?endpoint=https://store:9000&region=eu&credentials=/etc/otaru/store.key
//! ```

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use otaru_engine::{Bucket, S3Bucket, S3Place};

const ACCEPTED: &str = "the absolute path of a directory is accepted, or \"s3://BUCKET\", \"s3://BUCKET/PREFIX\", and after a `?` \
                        any of endpoint=URL, style=path or style=virtual, region=NAME and credentials=FILE, joined by `&`";

/// `Err` says what would be right.
pub(super) fn parse(text: &str) -> Result<Bucket, String> {
    let Some(place) = text.strip_prefix("s3://") else {
        let path = PathBuf::from(text);
        if !path.is_absolute() || !path.is_dir() {
            return Err(ACCEPTED.to_owned());
        }
        return Ok(Bucket::Directory(path));
    };
    let place = s3_place(place)?;
    S3Bucket::new(&place).map(Bucket::S3).map_err(|error| format!("the store is not usable so: {error}"))
}

fn s3_place(text: &str) -> Result<S3Place, String> {
    let (place, query) = text.split_once('?').unwrap_or((text, ""));
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    let is_name =
        !bucket.is_empty() && bucket.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if !is_name {
        return Err(ACCEPTED.to_owned());
    }
    let prefix = prefix.trim_matches('/');
    let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    let mut found = S3Place { bucket: bucket.to_owned(), prefix, ..S3Place::default() };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("endpoint", url)) => found.endpoint = Some(endpoint(url)?),
            Some(("style", "path")) => found.is_virtual_host = false,
            Some(("style", "virtual")) => found.is_virtual_host = true,
            Some(("region", region)) if !region.is_empty() => found.region = Some(region.to_owned()),
            Some(("credentials", file)) => found.credentials = Some(credentials(Path::new(file))?),
            Some(_) | None => return Err(ACCEPTED.to_owned()),
        }
    }
    Ok(found)
}

fn endpoint(url: &str) -> Result<String, String> {
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    match host.map(|host| host.trim_end_matches('/')) {
        Some(host) if !host.is_empty() && !host.contains(['/', '@', '#']) => {
            Ok(url.trim_end_matches('/').to_owned())
        }
        Some(_) | None => Err("endpoint is http:// or https://, a host and perhaps a port".to_owned()),
    }
}

/// A file with `ACCESS_KEY_ID:SECRET_ACCESS_KEY` in it, which not everybody may read.
fn credentials(file: &Path) -> Result<(String, String), String> {
    let shown = file.display();
    let failed = |error: std::io::Error| format!("the file of credentials, {shown}, cannot be read: {error}");
    let about = std::fs::metadata(file).map_err(failed)?;
    if about.permissions().mode() & 0o007 != 0 {
        return Err(format!(
            "everybody may read or write the file of credentials, {shown}; chmod o= {shown}"
        ));
    }
    let text = std::fs::read_to_string(file).map_err(failed)?;
    let pair = text.trim().split_once(':').filter(|(access_key, secret)| {
        [access_key, secret].iter().all(|part| !part.is_empty() && !part.contains(char::is_whitespace))
    });
    let (access_key, secret) = pair.ok_or_else(|| {
        format!("the file of credentials, {shown}, has one line: ACCESS_KEY_ID:SECRET_ACCESS_KEY")
    })?;
    Ok((access_key.to_owned(), secret.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_a_directory_or_in_a_store() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        assert!(matches!(parse(path), Ok(Bucket::Directory(found)) if found == dir.path()));
        let key = dir.path().join("store.key");
        std::fs::write(&key, "AKEXAMPLE:se:cret\n").unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
        let text =
            format!("images/pumps/?endpoint=http://127.0.0.1:9000/&region=eu&credentials={}", key.display());
        let place = s3_place(&text).unwrap();
        assert_eq!((place.bucket.as_str(), place.prefix.as_str()), ("images", "pumps/"));
        assert_eq!(place.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
        assert_eq!(place.region.as_deref(), Some("eu"));
        assert_eq!(place.credentials, Some(("AKEXAMPLE".to_owned(), "se:cret".to_owned())));
        assert!(matches!(parse(&format!("s3://{text}")), Ok(Bucket::S3(_))));
    }

    #[test]
    fn what_cannot_be_a_bucket_is_refused_with_what_can() {
        let dir = tempfile::tempdir().unwrap();
        let (open, wrong) = (dir.path().join("open.key"), dir.path().join("wrong.key"));
        std::fs::write(&open, "a:b").unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
        std::fs::write(&wrong, "no colon").unwrap();
        std::fs::set_permissions(&wrong, std::fs::Permissions::from_mode(0o600)).unwrap();
        for (text, says) in [
            ("srv/firmware".to_owned(), "absolute path"),
            ("/does/not/exist".to_owned(), "absolute path"),
            ("s3://".to_owned(), "s3://BUCKET"),
            ("s3://a b".to_owned(), "s3://BUCKET"),
            ("s3://images?colour=red".to_owned(), "endpoint=URL"),
            ("s3://images?style=other".to_owned(), "style=path"),
            ("s3://images/a//b".to_owned(), "nothing can begin with a//b/"),
            ("s3://images?endpoint=store:9000".to_owned(), "http://"),
            ("s3://images?endpoint=https://store/path".to_owned(), "http://"),
            ("s3://images?credentials=/does/not/exist".to_owned(), "cannot be read"),
            (format!("s3://images?credentials={}", open.display()), "everybody may read"),
            (format!("s3://images?credentials={}", wrong.display()), "ACCESS_KEY_ID:SECRET_ACCESS_KEY"),
        ] {
            let refused = parse(&text).map(|_| ()).unwrap_err();
            assert!(refused.contains(says), "{text}: {refused}");
        }
    }
}

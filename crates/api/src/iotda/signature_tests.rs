//! Signatures that the official signer made, and what must not pass for one.

use axum::http::{HeaderName, HeaderValue};
use serde_json::Value;

use super::*;

/// 2026-01-31T09:15:00Z, when the vectors were signed.
const NOW: WallTime = WallTime(1_769_850_900_000);
const WINDOW: i64 = 15 * 60 * 1_000;

struct Vector {
    given: Value,
    secret: String,
}

impl Vector {
    fn all() -> Vec<Vector> {
        let text = include_str!("../../tests/iotda/signature_vectors.json");
        let file: Value = serde_json::from_str(text).unwrap();
        let secret = file["secret_key"].as_str().unwrap();
        let vectors = file["vectors"].as_array().unwrap();
        vectors.iter().map(|given| Vector { given: given.clone(), secret: secret.to_owned() }).collect()
    }

    fn text(&self, name: &str) -> &str {
        self.given[name].as_str().unwrap_or_default()
    }

    fn headers(&self) -> HeaderMap {
        let lines = self.given["headers"].as_object().unwrap();
        lines
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    HeaderValue::from_bytes(value.as_str().unwrap().as_bytes()).unwrap(),
                )
            })
            .collect()
    }

    fn signed(&self) -> Signed {
        Signed::parse(self.text("authorization")).unwrap().unwrap()
    }

    fn verify(&self, signed: &Signed, target: &str, headers: &HeaderMap, body: &str) -> bool {
        let method: Method = self.text("method").parse().unwrap();
        signed.verify(&self.secret, &method, &target.parse().unwrap(), headers, body.as_bytes()).is_ok()
    }
}

#[test]
fn every_vector_of_the_official_signer_is_accepted() {
    let vectors = Vector::all();
    assert_eq!(vectors.len(), 14);
    for vector in vectors {
        let (name, signed, headers) = (vector.text("name").to_owned(), vector.signed(), vector.headers());
        let method: Method = vector.text("method").parse().unwrap();
        let uri: Uri = vector.text("target").parse().unwrap();
        let request = signed.canonical_request(&method, &uri, &headers, vector.text("body").as_bytes());
        assert_eq!(request.as_deref(), Ok(vector.text("canonical_request")), "{name}");
        let to_sign = signed.string_to_sign(date(&headers), &request.unwrap());
        assert_eq!(to_sign, vector.text("string_to_sign"), "{name}");
        if let Some(scope) = &signed.scope {
            let key = derived_key(&signed.access_key, &vector.secret, scope);
            assert_eq!(key, vector.text("signing_key"), "{name}");
        }
        assert_eq!(signed.check_head(&headers, NOW, WINDOW), Ok(()), "{name}");
        assert!(vector.verify(&signed, vector.text("target"), &headers, vector.text("body")), "{name}");
    }
}

#[test]
fn whatever_is_changed_the_signature_does_not_match() {
    for vector in Vector::all() {
        let (name, signed, headers) = (vector.text("name").to_owned(), vector.signed(), vector.headers());
        let (target, body) = (vector.text("target"), vector.text("body"));
        let passes = |signed: &Signed, target: &str, headers: &HeaderMap, body: &str| {
            vector.verify(signed, target, headers, body)
        };
        assert!(!passes(&signed, &format!("{target}x"), &headers, body), "{name}: another path");
        assert!(!passes(&signed, target, &headers, &format!("{body} ")), "{name}: another body");
        for header in headers.keys() {
            let mut other = headers.clone();
            other.insert(header, HeaderValue::from_static("other"));
            let is_signed = signed.headers.iter().any(|name| name == header.as_str());
            assert_eq!(passes(&signed, target, &other, body), !is_signed, "{name}: another {header}");
        }
        for byte in 0..signed.signature.len() {
            let mut other = signed.clone();
            other.signature[byte] ^= 1;
            assert!(!passes(&other, target, &headers, body), "{name}: another byte {byte}");
        }
        let mut cut = signed.clone();
        cut.signature.truncate(16);
        assert!(!passes(&cut, target, &headers, body), "{name}: half of it");
        let method: Method = "PATCH".parse().unwrap();
        let uri: Uri = target.parse().unwrap();
        let other = signed.verify(&vector.secret, &method, &uri, &headers, body.as_bytes());
        assert_eq!(other, Err(SignatureError::Mismatch), "{name}: another method");
        let other = signed.verify("other", &vector.text("method").parse().unwrap(), &uri, &headers, b"");
        assert_eq!(other, Err(SignatureError::Mismatch), "{name}: another secret");
    }
}

/// Not a test of anything: prints what `bench/applications` shows.
#[test]
#[ignore = "it only measures; bench/applications runs it"]
fn signing_costs() {
    let vector = Vector::all().into_iter().find(|v| v.text("name").contains("user agent")).unwrap();
    let (signed, headers) = (vector.signed(), vector.headers());
    let (method, uri): (Method, Uri) =
        (vector.text("method").parse().unwrap(), vector.text("target").parse().unwrap());
    let body = vec![b'x'; 1_024];
    let rounds = 20_000;
    let began = tokio::time::Instant::now();
    for _ in 0..rounds {
        // Another body than the one that was signed; it costs the same to find that out.
        let refused = signed.verify(&vector.secret, &method, &uri, &headers, std::hint::black_box(&body));
        assert_eq!(refused, Err(SignatureError::Mismatch));
    }
    let micros = began.elapsed().as_secs_f64() * 1e6 / f64::from(rounds);
    println!("one signature: {micros:.1} µs");
}

#[test]
fn a_query_may_come_in_any_order_and_with_what_needs_no_escape_as_it_is() {
    let vector = Vector::all().into_iter().find(|v| v.text("name").contains("reserved")).unwrap();
    let target = vector.text("target");
    let (path, query) = target.split_once('?').unwrap();
    let turned: Vec<&str> = query.split('&').rev().collect();
    let turned = format!("{path}?{}", turned.join("&").replace("%2A", "*"));
    assert_ne!(turned, target);
    assert!(vector.verify(&vector.signed(), &turned, &vector.headers(), ""));
}

#[test]
fn a_signature_is_good_for_a_quarter_of_an_hour() {
    let vector = &Vector::all()[0];
    let at = |seconds: i64| {
        vector.signed().check_head(&vector.headers(), WallTime(NOW.0 + seconds * 1_000), WINDOW)
    };
    for seconds in [-900, 0, 900] {
        assert_eq!(at(seconds), Ok(()), "{seconds}");
    }
    for seconds in [-901, 901, 86_400] {
        assert_eq!(at(seconds), Err(SignatureError::Late(seconds.abs(), 900)), "{seconds}");
    }
}

#[test]
fn a_head_without_what_it_says_is_refused() {
    let vector = &Vector::all()[0];
    let signed = vector.signed();
    let mut headers = vector.headers();
    headers.remove("content-type");
    let missing = SignatureError::HeaderMissing("content-type".to_owned());
    assert_eq!(signed.check_head(&headers, NOW, WINDOW), Err(missing));
    let mut undated = signed.clone();
    undated.headers.retain(|name| name != "x-sdk-date");
    let refused = undated.check_head(&vector.headers(), NOW, WINDOW);
    assert_eq!(refused, Err(SignatureError::DateNotSigned));
    let mut headers = vector.headers();
    headers.insert("x-sdk-date", HeaderValue::from_static("today"));
    let refused = signed.check_head(&headers, NOW, WINDOW);
    assert_eq!(refused, Err(SignatureError::Date("today".to_owned())));
}

#[test]
fn the_scope_of_a_derived_key_has_the_day_a_region_and_the_service() {
    let vector = Vector::all().into_iter().find(|v| v.text("scheme").starts_with("V11")).unwrap();
    let with = |scope: &str| {
        let signed = Signed { scope: Some(scope.to_owned()), ..vector.signed() };
        signed.check_head(&vector.headers(), NOW, WINDOW)
    };
    assert_eq!(with("20260131/anywhere/iotdm"), Ok(()));
    for wrong in
        ["20260130/r/iotdm", "20260131/r/iotda", "20260131//iotdm", "20260131/r", "20260131/r/iotdm/x", ""]
    {
        assert!(matches!(with(wrong), Err(SignatureError::Scope(_))), "{wrong}");
    }
}

#[test]
fn a_body_is_left_out_of_the_signature_for_forms_only() {
    let vector = &Vector::all()[3];
    let (signed, mut headers) = (vector.signed(), vector.headers());
    headers.insert("x-sdk-content-sha256", HeaderValue::from_static(UNSIGNED));
    let request = |headers: &HeaderMap, body: &[u8]| {
        signed.canonical_request(&Method::POST, &"/x".parse().unwrap(), headers, body)
    };
    assert_eq!(request(&headers, b"{}"), Err(SignatureError::Unsigned));
    headers.insert("content-type", HeaderValue::from_static("multipart/form-data; boundary=x"));
    assert!(request(&headers, b"--x").unwrap().ends_with("\nUNSIGNED-PAYLOAD"));
    headers.insert("x-sdk-content-sha256", HeaderValue::from_static("abc"));
    assert_eq!(request(&headers, b"--x"), Err(SignatureError::Unsigned));
}

#[test]
fn the_parts_of_the_header_may_stand_apart_or_close_together() {
    let good = "Access=AK, SignedHeaders=host;x-sdk-date, Signature=00ff";
    for text in [
        good,
        "Access=AK,SignedHeaders=host;x-sdk-date,Signature=00ff",
        "Access=AK,   SignedHeaders=host;x-sdk-date ,  Signature=00FF",
    ] {
        let signed = Signed::parse(&format!("SDK-HMAC-SHA256 {text}")).unwrap().unwrap();
        assert_eq!((signed.access_key.as_str(), signed.signature), ("AK", vec![0, 255]), "{text}");
    }
    assert!(["Bearer t0k", "t0k", "Basic eDp5"].into_iter().all(|other| Signed::parse(other).is_none()));
    for scheme in ["SDK-HMAC-SM3", "SDK-ECDSA-P256-SHA256", "SDK-SM2-SM3", "V11-HMAC-SM3"] {
        let refused = Signed::parse(&format!("{scheme} {good}")).unwrap();
        assert_eq!(refused, Err(SignatureError::Scheme(scheme.to_owned())));
    }
    for (text, part) in [
        ("SignedHeaders=a, Signature=00", "Access"),
        ("Access=AK, Signature=00", "SignedHeaders"),
        ("Access=AK, SignedHeaders=a", "Signature"),
        ("Access=AK, SignedHeaders=a, Signature=0", "Signature"),
        ("Access=AK, SignedHeaders=a, Signature=", "Signature"),
        ("Access=AK, SignedHeaders=a, Signature=zz", "Signature"),
    ] {
        let refused = Signed::parse(&format!("SDK-HMAC-SHA256 {text}")).unwrap();
        assert_eq!(refused, Err(SignatureError::Part(part)), "{text}");
    }
    let refused = Signed::parse("V11-HMAC-SHA256 Credential=AK, SignedHeaders=a, Signature=00").unwrap();
    assert_eq!(refused, Err(SignatureError::Part("Credential")));
}

//! The bytes of SDKs, from `bytes/`.

use std::path::Path;

use otaru_fleet::Endpoint;

/// A CONNECT packet.
pub fn connect(name: &str) -> Vec<u8> {
    let hex = read(&format!("connect_{name}.hex"));
    let digits = hex.trim().as_bytes().chunks_exact(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// A payload.
pub fn payload(name: &str) -> String {
    let text = read(&format!("{name}.json"));
    text.strip_suffix('\n').unwrap_or(&text).to_owned()
}

/// A request for `path`.
pub fn request(name: &str, endpoint: &Endpoint, path: &str, token: &str) -> Vec<u8> {
    let text = read(&format!("get_{name}.http")).replace('\n', "").replace(r"\r", "\r").replace(r"\n", "\n");
    let filled = [("{path}", path), ("{host}", &endpoint.host), ("{port}", &endpoint.port.to_string())]
        .iter()
        .fold(text, |text, (name, value)| text.replace(name, value));
    filled.replace("{token}", token).into_bytes()
}

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/bytes").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

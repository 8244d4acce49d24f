//! A TLS greeting with an address where a name belongs, as OpenSSL and Go send it when they are told to.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Sends a ClientHello of TLS 1.2 whose server name is `127.0.0.1`, and sees that a ServerHello answers it.
pub async fn with_an_address_as_name(mut socket: TcpStream) {
    socket.write_all(&client_hello(b"127.0.0.1")).await.unwrap();
    let mut head = [0; 6];
    tokio::time::timeout(crate::running::PATIENCE, socket.read_exact(&mut head)).await.unwrap().unwrap();
    // A handshake record that begins with a ServerHello, rather than an alert.
    assert_eq!((head[0], head[5]), (22, 2), "{head:?}");
}

fn client_hello(name: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
    let extension = |kind: u16, body: &[u8]| [&kind.to_be_bytes()[..], &length(body), body].concat();
    let entry = [&[0][..], &length(name), name].concat();
    let server_name = extension(0, &[&length(&entry)[..], &entry].concat());
    // P-256 and X25519; uncompressed points; ECDSA and RSA with SHA-256; renegotiation info.
    let groups = extension(10, &[0, 4, 0, 29, 0, 23]);
    let points = extension(11, &[1, 0]);
    let signatures = extension(13, &[0, 6, 4, 3, 8, 4, 4, 1]);
    let secret = extension(23, &[]);
    let extensions = [server_name, groups, points, signatures, secret].concat();
    // ECDHE-ECDSA and ECDHE-RSA with AES-128-GCM.
    let suites = [0xc0, 0x2b, 0xc0, 0x2f];
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.push(0);
    hello.extend(length(&suites));
    hello.extend(suites);
    hello.extend([1, 0]);
    hello.extend(length(&extensions));
    hello.extend(extensions);
    let handshake = [&[1, 0][..], &length(&hello), &hello].concat();
    [&[22, 3, 1][..], &length(&handshake), &handshake].concat()
}

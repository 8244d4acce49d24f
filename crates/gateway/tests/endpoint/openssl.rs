//! A TLS library that is not ours: the `openssl` command as a device, with and without a server name, and with an
//! address in place of one, which SDKs that hand on what they were configured with may send.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::certificates::{Identity, Secured, VERSION_1, sdk};
use crate::link::{Connect, V3_1_1};
use crate::platform::SECRET;

const TLS: [&str; 2] = ["-tls1_2", "-tls1_3"];
const NAMES: [&[&str]; 4] = [
    &["-noservername"],
    &["-servername", "localhost"],
    &["-servername", "127.0.0.1"],
    &["-servername", "::1"],
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_as_server_name_is_no_obstacle() {
    let secured = Secured::start(None).await;
    secured.platform.register("p1_d2").await;
    let address = secured.platform.tls_address.unwrap();
    for tls in TLS {
        for name in NAMES {
            let connect = Connect::of(V3_1_1, "p1_d2", SECRET);
            let answer = ask(address, &[&[tls], name].concat(), connect.bytes()).await;
            assert_eq!(answer, [0x20, 2, 0, 0], "{tls} {name:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_version_1_is_presented_by_it_as_well() {
    let secured = Secured::start(None).await;
    secured.register("p1_d1", Some(&Identity::version_1().sha256())).await;
    let address = secured.platform.tls_address.unwrap();
    let identity = ["-cert", VERSION_1, "-key", VERSION_1];
    for tls in TLS {
        for name in NAMES {
            let with = [&[tls], name, &identity].concat();
            assert_eq!(ask(address, &with, sdk(V3_1_1).bytes()).await, [0x20, 2, 0, 0], "{tls} {name:?}");
        }
        assert_eq!(ask(address, &[&[tls], NAMES[0]].concat(), sdk(V3_1_1).bytes()).await, [0x20, 2, 0, 4]);
    }
    // As older libraries sign; our own key signs with ECDSA.
    let pkcs1 = [&identity[..], &["-tls1_2", "-sigalgs", "ECDSA+SHA256:RSA+SHA256"]].concat();
    assert_eq!(ask(address, &pkcs1, sdk(V3_1_1).bytes()).await, [0x20, 2, 0, 0]);
}

/// What is answered to these bytes.
async fn ask(address: SocketAddr, arguments: &[&str], bytes: Vec<u8>) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", "-nocommands", "-connect", &address.to_string()]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let talking = move || {
        let mut child = command.spawn().expect("openssl is installed (Debian: openssl)");
        child.stdin.as_mut().unwrap().write_all(&bytes).unwrap();
        let mut answer = vec![0; 4];
        // Ends at the latest when the server ends a handshake that takes too long.
        let heard = child.stdout.as_mut().unwrap().read_exact(&mut answer);
        heard.unwrap_or_else(|error| panic!("{error}\n{}", last_words(&mut child)));
        child.kill().unwrap();
        child.wait().unwrap();
        answer
    };
    tokio::task::spawn_blocking(talking).await.unwrap()
}

fn last_words(child: &mut Child) -> String {
    child.kill().unwrap();
    let mut words = String::new();
    child.stderr.as_mut().unwrap().read_to_string(&mut words).unwrap();
    words
}

//! The demo is also the widest test: real devices, real sockets, and every ending there is.

use crate::running::{run, text};

#[test]
fn every_device_of_the_demo_ends_as_its_script_says() {
    let ended = run(&["demo", "--exit", "--devices", "24", "--seed", "1"]);
    let (said, shown) = (text(&ended.stderr), text(&ended.stdout));
    assert_eq!(ended.status.code(), Some(0), "{said}\n{shown}");
    assert!(shown.contains("Every one of the 24 devices ended as its script says."), "{shown}");
    for expected in ["installed", "already_installed", "failed", "code   7", "timed_out", "version_mismatch"]
    {
        assert!(shown.contains(expected), "missing: {expected}\nin: {shown}");
    }
    assert!(shown.contains("(0 of them twice)"), "{shown}");
}

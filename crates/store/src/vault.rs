//! The master key, and what is made from it: secrets sealed at rest, and keys for tokens.
//!
//! Always true:
//! - The master key leaves this module in no form; keys for other purposes are derived from it.
//! - What is sealed opens only with the same master key and the same context, unaltered.
//! - Nothing here can be printed.
//!
//! Not here: which secrets there are, and what a token says (`otaru-engine`); whether it is the key of a store, and its
//! change (`master_key`).

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use crate::error::Fault;
use crate::private_files;
use crate::rows::KeyMark;

/// Bytes of a master key: what AES-256 and HMAC-SHA256 take whole.
const KEY_BYTES: usize = 32;

/// The file in the data directory.
pub(crate) const KEY_FILE: &str = "master.key";

/// The first byte of everything sealed: AES-256-GCM, a random nonce of 12 bytes, the context as associated data.
const SEALED_V1: u8 = 1;

/// Seals secrets and derives keys. Made once, shared by reference.
pub struct Vault {
    seal: LessSafeKey,
    derive: hmac::Key,
    random: SystemRandom,
}

/// Why there is no master key, or why something does not open.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The key is not 32 bytes in hex.
    #[error(
        "{source_name} has {found}; 64 hex digits are accepted, as `openssl rand -hex 32` prints them \
         (the digits themselves are not shown)"
    )]
    Key {
        /// `OTARU_MASTER_KEY`, or the path of the file.
        source_name: String,
        /// `12 characters`, or `a character that is no hex digit`.
        found: String,
    },
    /// The file with the key cannot be read or made.
    #[error("the master key {} cannot be {doing}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// `read` or `made`.
        doing: &'static str,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// It was not made by [`Vault::seal`], or by a newer release.
    #[error("{context}: not a sealed secret that this release knows")]
    NotSealed {
        /// What it was to be used for.
        context: String,
    },
    /// It was sealed with another master key or for another context, or was altered since.
    #[error(
        "{context}: the sealed secret does not open; the master key is another one than when it was sealed, or \
         the data was altered"
    )]
    Refused {
        /// What it was to be used for.
        context: String,
    },
}

impl VaultError {
    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            VaultError::Key { .. } => Fault::Caller,
            VaultError::File { .. } => Fault::Unavailable,
            VaultError::NotSealed { .. } | VaultError::Refused { .. } => Fault::Bug,
        }
    }
}

impl Vault {
    /// Takes the master key from `env_key` if given (what `OTARU_MASTER_KEY` holds), or else from
    /// `dir/master.key`, which is made with a random key and mode 0600 if there is none.
    ///
    /// White space around the digits does not matter. Blocks for a few small file operations.
    ///
    /// # Errors
    ///
    /// - `Key`: not 64 hex digits; says whose.
    /// - `File`: the file cannot be read or made.
    pub fn open_or_create(dir: &Path, env_key: Option<&str>) -> Result<Vault, VaultError> {
        if let Some(text) = env_key {
            return parse_key(text, "OTARU_MASTER_KEY").map(|key| Vault::of(&key));
        }
        let path = dir.join(KEY_FILE);
        let failed = |doing| {
            let path = path.clone();
            move |cause| VaultError::File { path, doing, cause }
        };
        match fs::read_to_string(&path) {
            Ok(text) => {
                warn_if_others_may_read(&path);
                parse_key(&text, &path.display().to_string()).map(|key| Vault::of(&key))
            }
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
                let key = random_key();
                keep_key(dir, &path, &key_text(&key)).map_err(failed("made"))?;
                Ok(Vault::of(&key))
            }
            Err(cause) => Err(failed("read")(cause)),
        }
    }

    /// The vault of a key as it is written in a file or a variable, `source_name`.
    pub(crate) fn of_text(text: &str, source_name: &str) -> Result<Vault, VaultError> {
        parse_key(text, source_name).map(|key| Vault::of(&key))
    }

    /// What may be noted of the master key: it tells two keys apart and opens nothing.
    pub(crate) fn mark(&self) -> KeyMark {
        KeyMark(derived(&self.derive, "mark"))
    }

    /// A vault with a key that everybody knows.
    #[must_use]
    pub fn for_tests() -> Vault {
        Vault::of(&[7; KEY_BYTES])
    }

    fn of(master: &[u8; KEY_BYTES]) -> Vault {
        let derive = hmac::Key::new(hmac::HMAC_SHA256, master);
        let seal = derived(&derive, "seal");
        let seal = UnboundKey::new(&AES_256_GCM, &seal).expect("32 bytes are what AES-256 takes");
        Vault { seal: LessSafeKey::new(seal), derive, random: SystemRandom::new() }
    }

    /// Encrypts `plain` so that only [`open`](Vault::open) with the same context gives it back.
    ///
    /// `context` names what it is and whose (`device-secret/<id>`): a sealed secret copied to another row does
    /// not open there. Sealing twice gives different bytes. Adds 29 bytes.
    ///
    /// # Panics
    ///
    /// When the system has no randomness to give, which it does not let happen to a running program.
    #[must_use]
    pub fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).expect("the system gives random bytes");
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.push(SEALED_V1);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let tag = self
            .seal
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context.as_bytes()),
                &mut sealed[1 + NONCE_LEN..],
            )
            .expect("a secret is shorter than 64 GiB");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    /// Gives back what was sealed for `context`.
    ///
    /// # Errors
    ///
    /// - `NotSealed`: not something that [`seal`](Vault::seal) made.
    /// - `Refused`: another master key, another context, or altered bytes.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        let Some((&SEALED_V1, rest)) = sealed.split_first() else {
            return Err(VaultError::NotSealed { context: context.to_owned() });
        };
        let Some((nonce, body)) = rest.split_first_chunk::<NONCE_LEN>() else {
            return Err(VaultError::NotSealed { context: context.to_owned() });
        };
        let mut body = body.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = match self.seal.open_in_place(nonce, Aad::from(context.as_bytes()), &mut body) {
            Ok(plain) => plain.len(),
            Err(_) => return Err(VaultError::Refused { context: context.to_owned() }),
        };
        body.truncate(length);
        Ok(body)
    }

    /// A key for one purpose (`download-token`), the same as long as the master key is.
    #[must_use]
    pub fn mac_key(&self, purpose: &str) -> [u8; KEY_BYTES] {
        derived(&self.derive, &format!("mac/{purpose}"))
    }
}

/// HMAC-SHA256 as a key derivation: the master key is random and whole, so that extracting is not needed.
fn derived(master: &hmac::Key, label: &str) -> [u8; KEY_BYTES] {
    let tag = hmac::sign(master, format!("otaru/1/{label}").as_bytes());
    let mut key = [0; KEY_BYTES];
    key.copy_from_slice(tag.as_ref());
    key
}

fn random_key() -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    SystemRandom::new().fill(&mut key).expect("the system gives random bytes");
    key
}

/// A new key in the form of its file.
pub(crate) fn random_key_text() -> String {
    key_text(&random_key())
}

fn key_text(key: &[u8]) -> String {
    let mut digits = String::with_capacity(2 * KEY_BYTES + 1);
    for byte in key {
        digits.push_str(&format!("{byte:02x}"));
    }
    digits.push('\n');
    digits
}

/// Keeps a key in a file. Written aside and renamed, so that a crash leaves a whole key or none.
pub(crate) fn keep_key(dir: &Path, path: &Path, text: &str) -> io::Result<()> {
    private_files::make_dir(dir)?;
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    let aside = PathBuf::from(aside);
    match fs::remove_file(&aside) {
        Err(left) if left.kind() != io::ErrorKind::NotFound => return Err(left),
        Ok(()) | Err(_) => {}
    }
    let mut file = private_files::make_file(&aside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    private_files::sync_dir(dir)
}

fn parse_key(text: &str, source_name: &str) -> Result<[u8; KEY_BYTES], VaultError> {
    let refused = |found: String| VaultError::Key { source_name: source_name.to_owned(), found };
    let text = text.trim();
    if text.chars().count() != 2 * KEY_BYTES {
        return Err(refused(format!("{} characters", text.chars().count())));
    }
    let mut key = [0; KEY_BYTES];
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let Some(digits) = digits else {
        return Err(refused("a character that is no hex digit".to_owned()));
    };
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    Ok(key)
}

fn warn_if_others_may_read(path: &Path) {
    if let Ok(meta) = fs::metadata(path)
        && meta.permissions().mode() & 0o077 != 0
    {
        tracing::warn!(file = %path.display(), "other users may read the master key; chmod 600 it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_only_its_owner_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let sealed = open(&data, None).seal("device-secret/d1", b"secret");
        let path = data.join("master.key");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&path).unwrap().trim().len(), 64);
        assert_eq!(open(&data, None).open("device-secret/d1", &sealed).unwrap(), b"secret");
    }

    #[test]
    fn a_key_from_the_environment_comes_before_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let of_file = open(dir.path(), None);
        let given = "0123456789abcdefABCDEF98765432100123456789abcdefABCDEF9876543210\n";
        let of_environment = open(dir.path(), Some(given));
        assert!(of_file.mac_key("download-token") != of_environment.mac_key("download-token"));
        assert!(open(dir.path(), Some(given)).mac_key("x") == of_environment.mac_key("x"));
    }

    #[test]
    fn a_key_of_another_length_is_refused_with_what_is_accepted() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            refusal(dir.path(), Some("abc")),
            "OTARU_MASTER_KEY has 3 characters; 64 hex digits are accepted, as `openssl rand -hex 32` prints them \
             (the digits themselves are not shown)"
        );
        assert!(refusal(dir.path(), Some(&"g".repeat(64))).contains("a character that is no hex digit"));
        fs::write(dir.path().join("master.key"), "").unwrap();
        assert!(refusal(dir.path(), None).contains("master.key has 0 characters"));
    }

    #[test]
    fn a_flipped_bit_anywhere_keeps_it_shut() {
        let vault = Vault::for_tests();
        let sealed = vault.seal("c", b"secret");
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut altered = sealed.clone();
                altered[at] ^= 1 << bit;
                assert!(vault.open("c", &altered).is_err(), "bit {bit} of byte {at}");
            }
        }
        for length in 0..sealed.len() {
            assert!(vault.open("c", &sealed[..length]).is_err(), "cut to {length}");
        }
    }

    #[test]
    fn it_opens_only_for_its_own_context() {
        let vault = Vault::for_tests();
        let sealed = vault.seal("device-secret/a", b"secret");
        assert!(matches!(vault.open("device-secret/b", &sealed), Err(VaultError::Refused { .. })));
        assert!(matches!(vault.open("device-secret/a", b""), Err(VaultError::NotSealed { .. })));
        assert_eq!(vault.open("device-secret/a", &sealed).unwrap(), b"secret");
        assert_eq!(vault.open("e", &vault.seal("e", b"")).unwrap(), b"");
    }

    #[test]
    fn sealing_twice_gives_different_bytes_and_purposes_have_different_keys() {
        let vault = Vault::for_tests();
        assert_ne!(vault.seal("c", b"secret"), vault.seal("c", b"secret"));
        assert!(vault.mac_key("a") != vault.mac_key("b"));
    }

    fn open(dir: &Path, env_key: Option<&str>) -> Vault {
        Vault::open_or_create(dir, env_key).unwrap_or_else(|error| panic!("{error}"))
    }

    fn refusal(dir: &Path, env_key: Option<&str>) -> String {
        match Vault::open_or_create(dir, env_key) {
            Ok(_) => panic!("it was accepted"),
            Err(error) => error.to_string(),
        }
    }
}

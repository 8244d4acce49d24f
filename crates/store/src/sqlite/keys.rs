//! Which master key the secrets were sealed with, and sealing them again.

use super::columns::Statements;
use super::{Reading, Tx};
use crate::error::StoreError;
use crate::rows::{KeyMark, Reseal};
use crate::rules::{access_key_context, push_token_context};

/// Secrets that are read at once while all are sealed again: some 100 KB of them.
const CHUNK: i64 = 1_000;

impl Tx<'_> {
    pub(crate) fn note_key_mark(&mut self, mark: &KeyMark) -> Result<(), StoreError> {
        self.conn.run(
            "INSERT INTO master_key (only_row, mark) VALUES (1, ?1)
             ON CONFLICT (only_row) DO UPDATE SET mark = excluded.mark",
            [&mark.0[..]],
        )?;
        Ok(())
    }

    pub(crate) fn seal_again(&mut self, mark: &KeyMark, reseal: &mut Reseal) -> Result<u64, StoreError> {
        self.cache.clear();
        let (mut last, mut count) = (0_i64, 0);
        loop {
            let sealed: Vec<(i64, String, Vec<u8>)> = self.conn.all(
                "SELECT key, device_id, sealed_secret FROM device
                 WHERE key > ?1 AND sealed_secret IS NOT NULL ORDER BY key LIMIT ?2",
                (last, CHUNK),
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )?;
            let Some((end, _, _)) = sealed.last() else { break };
            last = *end;
            for (key, device_id, sealed) in sealed {
                let again = reseal(&device_id, &sealed)?;
                self.conn.run("UPDATE device SET sealed_secret = ?2 WHERE key = ?1", (key, again))?;
                count += 1;
            }
        }
        // As many as people made.
        let keys: Vec<(String, Vec<u8>)> =
            self.conn.all("SELECT access_key, sealed_secret FROM access_key ORDER BY key", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        for (access_key, sealed) in keys {
            let again = reseal(&access_key_context(&access_key), &sealed)?;
            self.conn.run(
                "UPDATE access_key SET sealed_secret = ?2 WHERE access_key = ?1",
                (&access_key, again),
            )?;
            count += 1;
        }
        let tokens: Vec<(String, Vec<u8>)> = self.conn.all(
            "SELECT action_id, sealed_token FROM push_action WHERE sealed_token IS NOT NULL ORDER BY key",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        for (action_id, sealed) in tokens {
            let again = reseal(&push_token_context(&action_id), &sealed)?;
            self.conn
                .run("UPDATE push_action SET sealed_token = ?2 WHERE action_id = ?1", (&action_id, again))?;
            count += 1;
        }
        self.note_key_mark(mark)?;
        Ok(count)
    }
}

impl Reading<'_> {
    pub(crate) fn key_mark(&self) -> Result<Option<KeyMark>, StoreError> {
        let found: Option<Vec<u8>> = self.conn.one("SELECT mark FROM master_key", [], |row| row.get(0))?;
        found
            .map(|bytes| {
                bytes.try_into().map(KeyMark).map_err(|_| StoreError::Corrupt {
                    what: "master_key",
                    problem: "its mark does not have 32 bytes".to_owned(),
                })
            })
            .transpose()
    }
}

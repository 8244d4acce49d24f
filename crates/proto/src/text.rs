//! Bounding foreign text. Cutting never splits a character.

use alloc::string::String;

/// The first `chars_max` characters of `text`, and whether that left something out.
pub(crate) fn cut(text: &str, chars_max: usize) -> (&str, bool) {
    // As many bytes as the limit has characters cannot be too many characters; true of nearly everything.
    if text.len() <= chars_max {
        return (text, false);
    }
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => (text.get(..end).unwrap_or_default(), true),
        None => (text, false),
    }
}

/// The first `chars_max` characters of `text`, owned.
pub(crate) fn bounded(text: &str, chars_max: usize) -> String {
    String::from(cut(text, chars_max).0)
}

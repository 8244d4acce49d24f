//! The codes that the document knows, each with its status and what it says in a few words.
//!
//! `docs/errors.md` has a paragraph for each; a test compares.

/// A stable code.
pub(crate) struct Known {
    /// As in `code`.
    pub(crate) name: &'static str,
    /// The status that it comes with.
    pub(crate) status: u16,
    /// What it means, in a few words.
    pub(crate) says: &'static str,
}

const fn known(name: &'static str, status: u16, says: &'static str) -> Known {
    Known { name, status, says }
}

/// Every code of an HTTP answer, by status.
pub(crate) const ALL: &[Known] = &[
    known("invalid_path", 400, "the path holds no UTF-8 text"),
    known(
        "invalid_parameter",
        400,
        "a query parameter is unknown, given twice, or has a value that is not accepted",
    ),
    known("invalid_cursor", 400, "the list never handed out this cursor"),
    known("invalid_json", 400, "the body is empty or not well-formed JSON"),
    known(
        "invalid_member",
        400,
        "a member of the body is unknown, missing, of the wrong type or not accepted",
    ),
    known("body_incomplete", 400, "the body did not come whole"),
    known("invalid_line", 400, "a line is no text, too long, or no row of its CSV"),
    known("invalid", 400, "a value is outside its range"),
    known("invalid_id", 400, "an id has characters that are not accepted, or is too long"),
    known("unknown_product", 400, "the request names a product that does not exist"),
    known("unknown_gateway", 400, "the request names a gateway that is not registered"),
    known("unknown_artifact", 400, "the request names an artifact that is not kept here"),
    known("unknown_package", 400, "the request names a package that does not exist"),
    known("unknown_group", 400, "the request names a group that does not exist"),
    known("upload_incomplete", 400, "fewer or more bytes came than were declared"),
    known("digest_mismatch", 400, "the upload hashes to something else than was declared"),
    known("invalid_version", 400, "a version is not one that devices can report"),
    known("invalid_file_name", 400, "a file name is not one that every device can keep"),
    known("packages_do_not_fit", 400, "the packages cannot be one campaign's"),
    known("invalid_policy", 400, "a rule of the campaign is outside its range"),
    known("too_many_devices", 400, "more devices are named one by one than are accepted"),
    known("unknown_devices", 400, "the campaign names devices that are not registered"),
    known("wrong_product", 400, "the campaign names devices that its packages are not for"),
    known("token_missing", 401, "there is no API token"),
    known("unauthorized", 401, "the API token is not known"),
    known("ticket_invalid", 401, "the ticket was used, or is too old"),
    known("download_token_missing", 401, "there is no download token"),
    known("download_token_invalid", 401, "the download token is not one for this deployment"),
    known("role_too_low", 403, "the token's role does not allow it"),
    known("download_token_expired", 403, "the download token's time is over"),
    known("download_over", 403, "the deployment has ended, or another attempt has begun"),
    known("path_unknown", 404, "there is nothing at this path"),
    known("not_found", 404, "there is no such object"),
    known("method_not_allowed", 405, "the path exists, but not with this method"),
    known("exists_already", 409, "the id or the name is taken"),
    known("in_use", 409, "something refers to it"),
    known("limit_reached", 409, "there would be more of something than there may be"),
    known("too_many_actions", 409, "as many stops, retries and confirmations of the campaign wait as may"),
    known("not_empty", 409, "the directory for a backup is not empty"),
    known("backup_running", 409, "another backup is being made"),
    known("wrong_state", 409, "not in its present state"),
    known("body_too_large", 413, "the body is larger than is read"),
    known("too_large", 413, "the upload is larger than is accepted"),
    known("body_not_json", 415, "the body is declared as something else than JSON"),
    known("format_unknown", 415, "the body is declared as something else than NDJSON or CSV"),
    known("range_unsatisfiable", 416, "the range begins after the end"),
    known("internal", 500, "something broke that should not; the log has the cause under the request id"),
    known("disk_full", 503, "the disk is so full that uploads and backups are refused"),
    known("backup_failed", 503, "the backup could not be made; the message says why"),
    known("too_many_imports", 503, "as many imports are going on as there may be"),
    known("too_many_listeners", 503, "as many listen to the live events as may"),
    known("unavailable", 503, "the store cannot be reached now, or the server is shutting down"),
];

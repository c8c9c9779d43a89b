//! Translates failures into user-facing errors that name what the operator has to do.

use std::path::Path;

use rusqlite::ErrorCode;

use super::regular::family;
use crate::domain::cause::Cause;
use crate::file_limit;
use crate::store::StoreError;
use crate::store::engine::Fail;

pub(crate) fn is_busy(fail: &Fail) -> bool {
    match fail {
        Fail::Busy => true,
        Fail::Sqlite(error) => {
            matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
        }
        _ => false,
    }
}

/// Turns a failure into an error that names the step and the file.
pub(crate) fn explain(what: &'static str, file: &Path, fail: impl Into<Fail>) -> StoreError {
    match fail.into() {
        Fail::Sqlite(error) => of_sqlite(what, file, error),
        fail => fail.explain(what, file.display().to_string()),
    }
}

/// Classifies a SQLite error by what the operator has to do about it.
fn of_sqlite(what: &'static str, file: &Path, error: rusqlite::Error) -> StoreError {
    let path = file.display().to_string();
    let unusable = |detail: String| StoreError::Unusable { what, path: path.clone(), detail, source: None };
    if file.is_dir() {
        // SQLite reports it as a disk error.
        return unusable("this is a directory; store.url and source.database each name a file".to_owned());
    }
    let code = match error.sqlite_error_code() {
        // If SQLite cannot create or enlarge a file beside the store, it does not report a full disk.
        Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure) if is_full(file) => {
            Some(ErrorCode::DiskFull)
        }
        code => code,
    };
    let hint = match code {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => return StoreError::Busy { what, path },
        Some(ErrorCode::DiskFull) => {
            "the disk is full: make room, then run again; nothing half-written was kept".to_owned()
        }
        Some(ErrorCode::ReadOnly) => "the file or its directory is read-only for this user".to_owned(),
        Some(ErrorCode::PermissionDenied) => "this user may not read it".to_owned(),
        Some(ErrorCode::CannotOpen) => {
            "check that file and directory exist and that this user may use them, a log beside it (-wal) included; the service's own files: sudo tink-sync …".to_owned()
        }
        Some(ErrorCode::NotADatabase) => {
            "this is not an SQLite database: check store.url and source.database".to_owned()
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            "the file is damaged: stop the timer and restore a backup, or move it away to start anew"
                .to_owned()
        }
        Some(ErrorCode::SystemIoFailure) => {
            let limit = file_limit::met_by(family(file));
            limit.unwrap_or_else(|| "the disk reports an error: see the kernel log".to_owned())
        }
        _ => {
            let detail = format!("{path}: {error}");
            // Other errors may contain bound values.
            let source = matches!(error, rusqlite::Error::SqliteFailure(..)).then(|| Cause::of(error));
            return StoreError::Sql { what, detail, source };
        }
    };
    StoreError::Unusable { what, path, detail: format!("{error}; {hint}"), source: Some(Cause::of(error)) }
}

/// The directory of a file.
pub(super) fn directory_of(file: &Path) -> &Path {
    file.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Whether the file system of a file reports that it has no room left.
pub(super) fn is_full(file: &Path) -> bool {
    let system = nix::sys::statvfs::statvfs(directory_of(file)).ok();
    system.is_some_and(|system| {
        let no_names = system.files() > 0 && system.files_available() == 0;
        system.blocks_available() == 0 || no_names
    })
}

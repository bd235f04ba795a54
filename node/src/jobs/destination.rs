//! Whether a file can be put where it is to go, found out before anything moves.

use std::path::Path;

use potluck_plan::{ErrorContext, JobError};
use rustix::fs::{Access, AtFlags, CWD, accessat};

/// Looks at a destination with the rights of this process.
///
/// # Errors
/// When the directory is missing or closed, or the destination is a directory itself.
pub fn check_destination(path: &Path) -> Result<(), JobError> {
    let wrong =
        |code: &str, message: String| Err(JobError::new(code, ErrorContext::LocalFile, message));
    let directory = match path.parent() {
        Some(directory) if path.is_absolute() && path.file_name().is_some() => directory,
        _ => {
            return wrong(
                "bad_path",
                format!("{} is no full path of a file", path.display()),
            );
        }
    };
    if path.is_dir() {
        return wrong(
            "is_a_directory",
            format!("{} is a directory", path.display()),
        );
    }
    match std::fs::metadata(directory) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => {
            let message = format!("{} is not a directory", directory.display());
            return wrong("not_a_directory", message);
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let message = format!("the directory {} does not exist", directory.display());
            return wrong("directory_missing", message);
        }
        Err(error) => {
            return wrong("not_writable", format!("{}: {error}", directory.display()));
        }
    }
    match accessat(
        CWD,
        directory,
        Access::WRITE_OK | Access::EXEC_OK,
        AtFlags::EACCESS,
    ) {
        Ok(()) => Ok(()),
        Err(error) => {
            let message = format!(
                "the directory {} cannot be written to: {error}",
                directory.display()
            );
            wrong("not_writable", message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(path: &Path) -> Option<String> {
        check_destination(path).err().map(|error| error.code)
    }

    #[test]
    fn each_problem_has_its_code() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(code(&file), None, "a file that is there is replaced");
        assert_eq!(code(&dir.path().join("new")), None);
        assert_eq!(code(dir.path()).as_deref(), Some("is_a_directory"));
        assert_eq!(
            code(&dir.path().join("no/new")).as_deref(),
            Some("directory_missing")
        );
        assert_eq!(code(&file.join("new")).as_deref(), Some("not_a_directory"));
        assert_eq!(code(Path::new("new")).as_deref(), Some("bad_path"));
    }
}

//! Backup to a folder: where it may go, and that a failed one leaves no folder behind.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::os::{FileIdentity, RealDisk};
use crate::pages::Progress;

use super::native::NativeEngine;

/// Copies the database to the folder `target`, which is made if it is not there. `own` is the database's folder.
pub fn to_folder(
    engine: &NativeEngine,
    own: Option<FileIdentity>,
    target: &Path,
    progress: Progress<'_>,
) -> Result<()> {
    refuse_inside(own, target)?;
    let refused = |error: std::io::Error| refusal(target, &error);
    let made = match fs::create_dir(target) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
        Err(error) => return Err(refused(error)),
    };
    // The name of a new folder is made durable by this.
    let result = RealDisk::open(target, true).map_err(refused).and_then(|disk| engine.files.backup(&disk, progress));
    if result.is_err() && made {
        // What could not be removed keeps the folder, and keeps it from being taken for a database.
        let _ = fs::remove_dir(target);
    }
    result
}

/// A copy inside the database's folder would be taken for a part of it, or for a stranger.
fn refuse_inside(own: Option<FileIdentity>, target: &Path) -> Result<()> {
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let nearest = if target.exists() { target } else { parent };
    let nearest = fs::canonicalize(nearest).map_err(|error| refusal(target, &error))?;
    for folder in nearest.ancestors() {
        let facts = fs::metadata(folder).map_err(|error| refusal(target, &error))?;
        if own == Some(FileIdentity { device: facts.dev(), inode: facts.ino() }) {
            let name = target.display();
            let text = format!("{name} is the database's own folder or lies in it; name a folder elsewhere");
            return Err(Error::Invalid(text.into()));
        }
    }
    Ok(())
}

fn refusal(target: &Path, error: &std::io::Error) -> Error {
    let name = target.display();
    match error.kind() {
        ErrorKind::NotFound => Error::NotFound(format!("the folder that is to hold {name} does not exist").into()),
        ErrorKind::NotADirectory => Error::Invalid(format!("{name} is not a folder, or lies in what is none").into()),
        ErrorKind::InvalidFilename => {
            Error::Invalid(format!("no file system takes the path {name}: it is too long").into())
        }
        _ => Error::allocation("make the folder", &name.to_string(), error),
    }
}

//! A folder that appears whole under its name, or not at all.
//!
//! It is filled under another name beside its own, and renamed when all in it is durable. What an interruption leaves
//! has the other name, and nobody takes it for the whole.

use std::io;
use std::path::{Path, PathBuf};

use super::real::make_durable_folder;

/// A folder being filled. Dropping it removes it, unless it was published.
pub struct Draft {
    path: PathBuf,
    target: PathBuf,
    is_published: bool,
}

impl Draft {
    /// Makes the folder `TARGET.salvaging`, where `suffix` is `salvaging`. The target must be missing, or a folder
    /// with nothing in it; it and the draft must not be there already otherwise (`AlreadyExists`, with a sentence).
    pub fn make(target: &Path, suffix: &str) -> io::Result<Draft> {
        let taken = |what: String| Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
        match std::fs::read_dir(target).map(|mut entries| entries.next().is_some()) {
            Ok(false) => {}
            Ok(true) => return taken(format!("{} is not empty; name a new or an empty folder", target.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let Some(name) = target.file_name() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the target has no name of its own"));
        };
        let mut name = name.to_owned();
        name.push(".");
        name.push(suffix);
        let path = target.with_file_name(name);
        if path.symlink_metadata().is_ok() {
            let text = "is there: either it is being filled now, or that was interrupted and it can be removed";
            return taken(format!("{} {text}", path.display()));
        }
        make_durable_folder(&path)?;
        Ok(Draft { path, target: target.to_owned(), is_published: false })
    }

    /// Where to fill it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name. All in it must be durable.
    pub fn publish(mut self) -> io::Result<()> {
        std::fs::rename(&self.path, &self.target)?;
        self.is_published = true;
        // Its name is there already; this makes it durable.
        make_durable_folder(&self.target)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_published {
            std::fs::remove_dir_all(&self.path).ok();
        }
    }
}

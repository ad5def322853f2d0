//! A socket before it has its name.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rand::TryRng;
use rand::rngs::SysRng;

use crate::transport::unix::MAX_PATH;

/// The name of a socket that has not got its own yet, within its directory.
const DRAFT: &str = "s";
/// Names tried for that directory, until it is given up.
const ATTEMPTS: usize = 16;

/// A directory that only this user can enter, for a socket without its name. It is removed when this is dropped.
pub(super) struct Draft {
    directory: PathBuf,
}

impl Draft {
    pub(super) fn new(parent: &Path) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
        for _ in 0..ATTEMPTS {
            let number = SysRng.try_next_u32().map_err(io::Error::other)?;
            let directory = parent.join(format!(".{number:08x}"));
            let length = directory.as_os_str().len() + 1 + DRAFT.len();
            if length > MAX_PATH {
                let most = MAX_PATH - (length - parent.as_os_str().len());
                return Err(too_long(parent, most));
            }
            match DirBuilder::new().mode(0o700).create(&directory) {
                Ok(()) => return Ok(Self { directory }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
                Err(error) => return Err(no_place(parent, &error)),
            }
        }
        Err(no_place(parent, &last))
    }

    fn socket(&self) -> PathBuf {
        self.directory.join(DRAFT)
    }

    /// Listens, with these permissions; gives device and inode as well.
    pub(super) fn listen(&self, mode: u32) -> io::Result<(UnixListener, (u64, u64))> {
        let socket = self.socket();
        let listener = UnixListener::bind(&socket)?;
        fs::set_permissions(&socket, Permissions::from_mode(mode))?;
        let found = fs::symlink_metadata(&socket)?;
        Ok((listener, (found.dev(), found.ino())))
    }

    /// Gives the socket its name; false where that is taken.
    pub(super) fn link(&self, path: &Path) -> io::Result<bool> {
        match fs::hard_link(self.socket(), path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => {
                let reason = format!("cannot give the socket its name `{}`: {error}", path.display());
                Err(io::Error::new(error.kind(), reason))
            }
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.socket());
        let _ = fs::remove_dir(&self.directory);
    }
}

fn too_long(directory: &Path, most: usize) -> io::Error {
    let reason = format!(
        "the directory `{}` has {} bytes, and {most} is the limit for sockets on this system; choose a shorter one",
        directory.display(),
        directory.as_os_str().len()
    );
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

fn no_place(directory: &Path, error: &io::Error) -> io::Error {
    let shown = directory.display();
    let reason = match error.kind() {
        io::ErrorKind::NotFound => format!("the directory `{shown}` does not exist, create it first"),
        io::ErrorKind::PermissionDenied => {
            format!("this user may not create files in the directory `{shown}`; choose one of its own")
        }
        _ => format!("cannot create files in the directory `{shown}`: {error}"),
    };
    io::Error::new(error.kind(), reason)
}

//! The file of a listening socket: how it comes into being, and how it goes.
//!
//! The promises, and what keeps them:
//!
//! - *Nobody may connect who is not meant to, not even for a moment.* The socket is bound in a directory of its own that
//!   only this user can enter, gets its permissions there, and only then its name. The process's umask could say the
//!   same, but it belongs to all threads.
//! - *Nothing is overwritten.* The name is given by a hard link, which fails where anything has it; a rename would replace
//!   whatever is there.
//! - *A socket that is left behind gives way.* Where the name is taken by a socket that refuses connections, its server
//!   has ended. It is removed, and the link made again.
//! - *Of several that start at once one wins.* Between finding that a socket refuses and removing it another starter could
//!   have put its own there. So this is done under a lock of the directory, which also leaves no lock file behind. Since a
//!   socket listens before it has its name, nobody finds one that refuses only because it is not ready.
//! - *Only what is ours is removed in the end.* That is told by device and inode.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tokio::net::UnixStream;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::transport::unix::draft::Draft;

/// Rounds of removing and linking, until it is given up.
const ATTEMPTS: usize = 16;
/// How long the lock of a directory is waited for. Each starter holds it for a few system calls.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
const LOCK_WAIT: Duration = Duration::from_millis(5);

/// The file of a socket that listens. It is removed when this is dropped.
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    id: (u64, u64),
}

impl SocketFile {
    /// Makes a socket that listens at a path.
    ///
    /// # Errors
    /// One sentence for each thing that can be in the way.
    pub(super) async fn create(path: &Path, mode: u32) -> io::Result<(Self, UnixListener)> {
        let directory = path.parent().unwrap_or(Path::new("/"));
        let draft = Draft::new(directory)?;
        let (listener, id) = draft.listen(mode)?;
        if !draft.link(path)? {
            replace(&draft, directory, path).await?;
        }
        Ok((Self { path: path.to_owned(), id }, listener))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.id);
        if !ours {
            warn!(path = %self.path.display(), "the socket's file is gone, or another's: nothing is removed");
        } else if let Err(error) = fs::remove_file(&self.path) {
            warn!(path = %self.path.display(), %error, "the socket's file cannot be removed");
        }
    }
}

/// Takes the place of a socket that was left behind.
async fn replace(draft: &Draft, directory: &Path, path: &Path) -> io::Result<()> {
    // Looked at before the lock, so that what is no stale socket is named whoever holds the lock.
    is_stale(path).await?;
    let _lock = lock(directory).await?;
    for _ in 0..ATTEMPTS {
        if is_stale(path).await? {
            remove(path)?;
        }
        // Somebody who found nothing in the way needed no lock, and may have been faster.
        if draft.link(path)? {
            return Ok(());
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, format!("others take `{}` again and again", path.display())))
}

/// Locks a directory against others that replace a socket there; it is unlocked when the file is dropped.
async fn lock(directory: &Path) -> io::Result<File> {
    let failed = |reason: String| {
        io::Error::other(format!(
            "cannot lock the directory `{}` to replace a socket that was left behind: {reason}; remove the socket",
            directory.display()
        ))
    };
    let file = File::open(directory).map_err(|error| failed(error.to_string()))?;
    let until = Instant::now() + LOCK_TIMEOUT;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < until => {
                tokio::time::sleep(LOCK_WAIT).await;
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(failed(format!("another program has held a lock for {LOCK_TIMEOUT:?}")));
            }
            Err(error) => return Err(failed(error.to_string())),
        }
    }
}

/// Whether the path is that of a socket whose server has ended; false where nothing is there, an error for anything else.
async fn is_stale(path: &Path) -> io::Result<bool> {
    let shown = path.display();
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if !found.is_socket() {
        let reason =
            format!("`{shown}` is {}, and is left as it is; remove it or choose another path", kind(found));
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, reason));
    }
    let Err(error) = UnixStream::connect(path).await else { return Err(in_use()) };
    match error.kind() {
        io::ErrorKind::NotFound => Ok(false),
        io::ErrorKind::ConnectionRefused => Ok(true),
        // A server whose queue is full.
        io::ErrorKind::WouldBlock => Err(in_use()),
        other => {
            let reason = format!(
                "there is a socket at `{shown}`, and whether it is in use cannot be told ({error}); remove it or \
                 choose another path"
            );
            Err(io::Error::new(other, reason))
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    info!(path = %path.display(), "removes a socket that a server left behind");
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let reason = format!("cannot remove `{}`, which a server left behind: {error}", path.display());
            Err(io::Error::new(error.kind(), reason))
        }
        _ => Ok(()),
    }
}

fn kind(found: fs::FileType) -> &'static str {
    if found.is_dir() {
        "a directory"
    } else if found.is_symlink() {
        "a symbolic link"
    } else if found.is_file() {
        "a regular file"
    } else {
        "no socket"
    }
}

fn in_use() -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, "in use: a server listens there; end it or choose another path")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::unix::MAX_PATH;
    use futures_util::future::join_all;
    use tempfile::TempDir;

    /// A directory, and a path for a socket in it.
    fn place() -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.sock");
        (directory, path)
    }

    fn entries(directory: &TempDir) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    async fn refusal(path: &Path) -> io::Error {
        SocketFile::create(path, 0o600).await.err().expect("it is refused")
    }

    /// Leaves a socket behind, as a server does that is killed.
    fn leave_behind(path: &Path) {
        drop(UnixListener::bind(path).unwrap());
    }

    #[tokio::test]
    async fn a_socket_has_its_mode_and_goes_with_its_listener() {
        for mode in [0o600, 0o660, 0o666, 0o777, 0] {
            let (directory, path) = place();
            let (file, _listener) = SocketFile::create(&path, mode).await.unwrap();
            assert_eq!(fs::symlink_metadata(&path).unwrap().mode() & 0o7777, mode);
            assert_eq!(entries(&directory), 1, "the draft is gone");
            drop(file);
            assert_eq!(entries(&directory), 0);
        }
    }

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_replaced() {
        let (directory, path) = place();
        leave_behind(&path);
        let _server = SocketFile::create(&path, 0o600).await.unwrap();
        UnixStream::connect(&path).await.unwrap();
        assert_eq!(entries(&directory), 1);
    }

    #[tokio::test]
    async fn what_is_no_stale_socket_is_refused_and_left_as_it_is() {
        let (directory, path) = place();
        let served = directory.path().join("served");
        let listener = UnixListener::bind(&served).unwrap();
        for (make, expected) in [
            ((|path, _| fs::write(path, "precious")) as fn(&Path, &Path) -> _, "is a regular file"),
            (|path, _| fs::create_dir(path), "is a directory"),
            (|path, served| std::os::unix::fs::symlink(served, path), "is a symbolic link"),
            (|path, _| std::os::unix::fs::symlink("nowhere", path), "is a symbolic link"),
            (|path, served| fs::hard_link(served, path), "in use: a server listens there"),
        ] {
            make(&path, &served).unwrap();
            let before = fs::symlink_metadata(&path).unwrap();
            let error = refusal(&path).await;
            assert!(error.to_string().contains(expected), "{error}");
            let after = fs::symlink_metadata(&path).unwrap();
            assert_eq!(
                (before.ino(), before.mode(), before.mtime()),
                (after.ino(), after.mode(), after.mtime())
            );
            assert_eq!(entries(&directory), 2, "the draft is gone");
            if before.is_dir() { fs::remove_dir(&path).unwrap() } else { fs::remove_file(&path).unwrap() }
        }
        drop(listener);
    }

    #[tokio::test]
    async fn a_server_whose_queue_is_full_is_in_use() {
        let (_directory, path) = place();
        let listener = UnixListener::bind(&path).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = UnixStream::connect(&path).await {
            queued.push(stream);
            assert!(queued.len() < 1000, "the queue never fills");
        }
        assert_eq!(refusal(&path).await.kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn a_directory_that_does_not_do_is_named() {
        let (directory, path) = place();
        let missing = directory.path().join("missing/x.sock");
        assert!(refusal(&missing).await.to_string().ends_with("missing` does not exist, create it first"));
        fs::write(&path, "").unwrap();
        assert!(
            refusal(&path.join("x.sock")).await.to_string().contains("cannot create files in the directory")
        );
        let most = MAX_PATH - "/.12345678/s".len();
        let deep = directory.path().join("d".repeat(most - directory.path().as_os_str().len()));
        fs::create_dir(&deep).unwrap();
        let error = refusal(&deep.join("x")).await;
        assert!(
            error.to_string().contains(&format!("{} bytes, and {most} is the limit", most + 1)),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_file_that_is_no_longer_ours_is_left_alone() {
        let (directory, path) = place();
        let (file, _listener) = SocketFile::create(&path, 0o600).await.unwrap();
        fs::remove_file(&path).unwrap();
        let (other, _other_listener) = SocketFile::create(&path, 0o600).await.unwrap();
        drop(file);
        assert_eq!(entries(&directory), 1, "that is the other's");
        drop(other);
        assert_eq!(entries(&directory), 0);
    }

    #[test]
    fn of_those_that_start_at_once_one_wins() {
        const STARTERS: usize = 4;
        const ROUNDS: usize = 300;

        let (directory, path) = place();
        for round in 0..ROUNDS {
            if round % 10 != 0 {
                leave_behind(&path);
            }
            let start = std::sync::Barrier::new(STARTERS);
            let race = || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                start.wait();
                runtime.block_on(SocketFile::create(&path, 0o600))
            };
            let mut won = Vec::new();
            std::thread::scope(|scope| {
                let starters: Vec<_> = (0..STARTERS).map(|_| scope.spawn(race)).collect();
                for starter in starters {
                    match starter.join().unwrap() {
                        Ok(server) => won.push(server),
                        Err(error) => assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}"),
                    }
                }
            });
            assert_eq!(won.len(), 1, "round {round}");
            let (_file, listener) = &won[0];
            let _client = std::os::unix::net::UnixStream::connect(&path).unwrap();
            listener.accept().unwrap();
            drop(won);
            assert_eq!(entries(&directory), 0, "round {round}");
        }
    }

    #[tokio::test]
    async fn a_lock_is_waited_for_and_then_told_of() {
        let (directory, path) = place();
        leave_behind(&path);
        let held = lock(directory.path()).await.unwrap();
        let (replaced, ()) = futures_util::future::join(SocketFile::create(&path, 0o600), async {
            tokio::task::yield_now().await;
            drop(held);
        })
        .await;
        drop(replaced.unwrap());
        leave_behind(&path);
        let _held = lock(directory.path()).await.unwrap();
        tokio::time::pause();
        let errors = join_all([refusal(&path), refusal(&path)]).await;
        for error in errors {
            assert!(error.to_string().contains("another program has held a lock for 2s"), "{error}");
        }
        // What is no stale socket is named all the same.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert!(refusal(&path).await.to_string().contains("is a regular file"));
    }
}

//! Sockets in the file system: `unix:///PATH?mode=0660`.
//!
//! The address is understood here, lines are made and taken here; [`file`] makes the socket's file and removes it.

mod draft;
mod file;

use std::fmt;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixStream};

use crate::error::Error;
use crate::transport::moving::accepted;
use crate::transport::options::wrong_value;
use crate::transport::upgrade::Upgrades;
use crate::transport::{Accept, Connect, Connected};
use file::SocketFile;

/// The longest path that the operating system takes, in bytes: `sun_path` without the NUL at its end.
const MAX_PATH: usize = if cfg!(any(target_os = "linux", target_os = "android")) { 107 } else { 103 };

/// Who may connect unless the address says otherwise: the owner alone.
const DEFAULT_MODE: u32 = 0o600;

/// How long a client waits before it asks again, where connections queue at the listener.
const QUEUE_WAIT: Duration = Duration::from_millis(10);

/// Where a socket lies, and who may connect to it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct SocketPath {
    /// Absolute, so that it means the same whatever directory the program goes to.
    path: Box<str>,
    /// The permissions of the file, where the address says them; for listeners alone.
    mode: Option<u32>,
}

impl SocketPath {
    /// Understands the path of an address `unix://PATH`.
    pub(super) fn parse(path: &str) -> Result<Self, String> {
        if path.is_empty() {
            return Err("the path is missing, write unix:///DIRECTORY/NAME".to_owned());
        }
        if path.starts_with('@') {
            return Err(
                "abstract sockets are not supported, for they have no permissions and any user could \
                        connect; write unix:///DIRECTORY/NAME"
                    .to_owned(),
            );
        }
        if !path.starts_with('/') {
            return Err(format!(
                "the path `{path}` is not absolute, write unix:///DIRECTORY/NAME with three slashes"
            ));
        }
        if path.ends_with('/') || Path::new(path).file_name().is_none() {
            return Err(format!("the path `{path}` names a directory, write unix:///DIRECTORY/NAME"));
        }
        if path.contains('\0') {
            return Err("the path contains a NUL, which no file name can".to_owned());
        }
        if path.len() > MAX_PATH {
            return Err(format!(
                "the path `{path}` has {} bytes, and {MAX_PATH} is the limit of this system for sockets; choose a \
                 shorter one",
                path.len()
            ));
        }
        Ok(Self { path: path.into(), mode: None })
    }

    /// Takes an option of this scheme alone; false where it has no such option.
    pub(super) fn set_option(&mut self, name: &str, value: &str) -> Result<bool, String> {
        if name != "mode" {
            return Ok(false);
        }
        let digits = (1..=4).contains(&value.len()) && value.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        let mode = u32::from_str_radix(value, 8).ok().filter(|mode| digits && *mode <= 0o777);
        let wrong = || wrong_value(name, value, "an octal number from 0000 to 0777, for example mode=0660");
        self.mode = Some(mode.ok_or_else(wrong)?);
        Ok(true)
    }
}

impl fmt::Display for SocketPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix://{}", self.path)
    }
}

/// Connects to the socket at a path.
pub(super) struct Connector(SocketPath);

impl Connector {
    /// # Errors
    /// [`Error::Address`] for permissions, which the listener alone can give.
    pub(super) fn new(place: SocketPath) -> Result<Self, Error> {
        if place.mode.is_none() {
            return Ok(Self(place));
        }
        let reason = "the option `mode` is for the listener, which makes the socket; leave it out here";
        Err(Error::Address { address: place.to_string().into(), reason: reason.into() })
    }
}

impl Connect for Connector {
    fn address(&self) -> String {
        self.0.to_string()
    }

    async fn connect(&self) -> io::Result<Connected> {
        loop {
            match UnixStream::connect(&*self.0.path).await {
                Ok(stream) => return Ok(Connected::stream(stream, self.address())),
                // Where TCP would wait by itself: the queue of the listener is full.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::time::sleep(QUEUE_WAIT).await;
                }
                Err(error) => return Err(self.explain(error)),
            }
        }
    }
}

impl Connector {
    /// What an error of connecting means for sockets in the file system.
    fn explain(&self, error: io::Error) -> io::Error {
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "permission denied: this user may not connect; the listener's `?mode=` and the permissions of the \
                 directories above decide"
            }
            io::ErrorKind::NotFound => "there is no socket at this path; is the server running there?",
            io::ErrorKind::ConnectionRefused if self.is_no_socket() => {
                let hint = "what is at this path is no socket; write the path that the server listens on";
                return io::Error::new(io::ErrorKind::InvalidInput, hint);
            }
            io::ErrorKind::ConnectionRefused => {
                "nobody listens; the file was left behind by a server that has ended"
            }
            _ => return error,
        };
        io::Error::new(error.kind(), hint)
    }

    /// Whether something else is at the path; the operating system refuses a connection there as well.
    fn is_no_socket(&self) -> bool {
        std::fs::metadata(&*self.0.path).is_ok_and(|found| !found.file_type().is_socket())
    }
}

/// Takes the connections of a listener.
pub(super) struct Acceptor {
    /// Dropped first, so that the file goes while its socket still listens: till then nobody takes it for stale.
    _file: Option<SocketFile>,
    listener: UnixListener,
    address: String,
    upgrades: Arc<Upgrades>,
}

impl Acceptor {
    /// Makes the socket's file and listens.
    pub(super) async fn bind(place: &SocketPath, upgrades: Arc<Upgrades>) -> io::Result<Self> {
        let mode = place.mode.unwrap_or(DEFAULT_MODE);
        let (file, listener) = SocketFile::create(Path::new(&*place.path), mode).await?;
        Self::new(listener, Some(file), place.to_string(), upgrades)
    }

    /// Takes over a socket that others made, and whose file is theirs.
    pub(super) fn open(listener: StdUnixListener, upgrades: Arc<Upgrades>) -> io::Result<Self> {
        let address = address_of(&listener);
        Self::new(listener, None, address, upgrades)
    }

    fn new(
        listener: StdUnixListener,
        file: Option<SocketFile>,
        address: String,
        upgrades: Arc<Upgrades>,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { _file: file, listener: UnixListener::from_std(listener)?, address, upgrades })
    }
}

impl Accept for Acceptor {
    fn address(&self) -> String {
        self.address.clone()
    }

    async fn accept(&mut self) -> io::Result<Connected> {
        let (stream, _) = self.listener.accept().await?;
        let peer = peer(&self.address, stream.peer_cred().ok());
        accepted(stream, peer, &self.upgrades)
    }

    fn is_exposed(&self) -> bool {
        false
    }
}

/// The address of a listener that was made elsewhere.
pub(super) fn address_of(listener: &StdUnixListener) -> String {
    let address = listener.local_addr().ok();
    let path = address.as_ref().and_then(|address| address.as_pathname()).unwrap_or(Path::new(""));
    format!("unix://{}", path.display())
}

/// A peer has no address of its own; its user and process tell it from others.
fn peer(address: &str, credentials: Option<UCred>) -> String {
    match credentials {
        Some(peer) => match peer.pid().filter(|pid| *pid > 0) {
            Some(pid) => format!("{address}#uid={},pid={pid}", peer.uid()),
            None => format!("{address}#uid={}", peer.uid()),
        },
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::SocketAddr;
    use std::task::{Context, Waker};

    #[test]
    fn the_limit_is_that_of_the_system() {
        let path = |length| format!("/{}", "x".repeat(length - 1));
        assert!(SocketAddr::from_pathname(path(MAX_PATH)).is_ok());
        assert!(SocketAddr::from_pathname(path(MAX_PATH + 1)).is_err());
        assert!(SocketPath::parse(&path(MAX_PATH)).is_ok());
        let error = SocketPath::parse(&path(120)).unwrap_err();
        assert!(error.contains(&path(120)) && error.contains("has 120 bytes"), "{error}");
        assert!(error.contains(&format!("{MAX_PATH} is the limit")), "{error}");
    }

    #[test]
    fn the_mode_is_octal() {
        let mut place = SocketPath::parse("/run/x.sock").unwrap();
        assert_eq!(place.mode, None);
        for (text, mode) in [("0", 0), ("0000", 0), ("660", 0o660), ("0660", 0o660), ("0777", 0o777)] {
            assert_eq!(place.set_option("mode", text), Ok(true));
            assert_eq!(place.mode, Some(mode));
        }
        for text in ["", "0o660", "+660", "1777", "888", "00660", "rw", "-1"] {
            let error = place.set_option("mode", text).unwrap_err();
            assert!(error.contains("an octal number from 0000 to 0777"), "{text}: {error}");
        }
        assert_eq!(place.set_option("baud", "9600"), Ok(false));
    }

    #[tokio::test]
    async fn a_client_waits_where_the_queue_of_the_listener_is_full() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.sock");
        let listener = StdUnixListener::bind(&path).unwrap();
        // The queue becomes as short as the system lets it be.
        rustix::net::listen(&listener, 0).unwrap();
        let mut queued = Vec::new();
        let full = loop {
            match UnixStream::connect(&path).await {
                Ok(stream) => queued.push(stream),
                Err(error) => break error,
            }
            assert!(queued.len() < 1000, "the queue never fills");
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        let connector = Connector(SocketPath::parse(path.to_str().unwrap()).unwrap());
        let mut connecting = Box::pin(connector.connect());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(connecting.as_mut().poll(&mut cx).is_pending());
        listener.accept().unwrap();
        let _line = connecting.await.unwrap();
    }
}

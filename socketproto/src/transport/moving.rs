//! Accepted sockets that are used on another thread than the one that accepts them.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(all(unix, feature = "unix"))]
use tokio::net::UnixStream;

use crate::transport::Connected;
use crate::transport::upgrade::{Upgrades, upgrade};

/// A socket that can be taken out of one thread's runtime, which watches it, and brought into another one's.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin + Sized + 'static {
    type Std: Send;

    fn take_out(self) -> io::Result<Self::Std>;
    fn bring_in(socket: Self::Std) -> io::Result<Self>;
}

impl Socket for TcpStream {
    type Std = std::net::TcpStream;

    fn take_out(self) -> io::Result<Self::Std> {
        self.into_std()
    }

    fn bring_in(socket: Self::Std) -> io::Result<Self> {
        Self::from_std(socket)
    }
}

#[cfg(all(unix, feature = "unix"))]
impl Socket for UnixStream {
    type Std = std::os::unix::net::UnixStream;

    fn take_out(self) -> io::Result<Self::Std> {
        self.into_std()
    }

    fn bring_in(socket: Self::Std) -> io::Result<Self> {
        Self::from_std(socket)
    }
}

/// The line on a socket that has just been accepted. Where lines are spread over threads it is taken out of this one's
/// runtime, and brought into the other one's as the begin of its handshake, which is done there.
pub(crate) fn accepted<S: Socket>(
    socket: S,
    peer: impl Into<Arc<str>>,
    upgrades: &Arc<Upgrades>,
) -> io::Result<Connected> {
    if !upgrades.spread {
        return Ok(upgrade(socket, peer, upgrades));
    }
    let (peer, upgrades) = (peer.into(), Arc::clone(upgrades));
    let (socket, shown) = (socket.take_out()?, Arc::clone(&peer));
    let opening = async move { Ok(upgrade(S::bring_in(socket)?, peer, &upgrades)) };
    Ok(Connected::opening(opening, shown).on_any_thread())
}

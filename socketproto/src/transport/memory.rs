//! Lines within the process: `mem://NAME`. For tests, and for services that share a process.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::DuplexStream;
use tokio::sync::mpsc;

use crate::transport::Connected;

/// Bytes that a line holds in each direction.
const BUFFER: usize = 64 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: usize = 1024;

/// The listeners of the process, by name.
static LISTENERS: LazyLock<Mutex<HashMap<String, mpsc::Sender<DuplexStream>>>> =
    LazyLock::new(Mutex::default);
/// Numbers listeners without a name.
static NEXT: AtomicU64 = AtomicU64::new(1);

pub(crate) struct Listener {
    name: String,
    incoming: mpsc::Receiver<DuplexStream>,
}

impl Listener {
    /// Takes a name; an empty one becomes a number that is free.
    pub(super) fn bind(name: &str) -> io::Result<Self> {
        let mut listeners = listeners();
        let name = match name {
            "" => NEXT.fetch_add(1, Ordering::Relaxed).to_string(),
            name => name.to_owned(),
        };
        if listeners.get(&name).is_some_and(|listener| !listener.is_closed()) {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "the name is in use"));
        }
        let (sender, incoming) = mpsc::channel(BACKLOG);
        listeners.insert(name.clone(), sender);
        Ok(Self { name, incoming })
    }

    pub(super) fn address(&self) -> String {
        format!("mem://{}", self.name)
    }

    pub(super) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Connected>> {
        match self.incoming.poll_recv(cx) {
            Poll::Ready(Some(stream)) => Poll::Ready(Ok(connected(stream, &self.name))),
            // A later listener has taken the name, which it can only when this one is being dropped.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.incoming.close();
        listeners().retain(|_, listener| !listener.is_closed());
    }
}

pub(super) async fn connect(name: &str) -> io::Result<Connected> {
    let refused = || io::Error::new(io::ErrorKind::ConnectionRefused, "nobody listens under this name");
    let listener = listeners().get(name).cloned().ok_or_else(refused)?;
    let (ours, theirs) = tokio::io::duplex(BUFFER);
    listener.send(theirs).await.map_err(|_| refused())?;
    Ok(connected(ours, name))
}

fn connected(stream: DuplexStream, name: &str) -> Connected {
    Connected { stream: Box::new(stream), peer: format!("mem://{name}").into(), ip: None }
}

/// Each change of the map is one step, so a poisoned lock holds a sound map.
fn listeners() -> MutexGuard<'static, HashMap<String, mpsc::Sender<DuplexStream>>> {
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_free_again_when_its_listener_is_gone() {
        let first = Listener::bind("memory-test-reuse").unwrap();
        assert_eq!(
            Listener::bind("memory-test-reuse").err().map(|e| e.kind()),
            Some(io::ErrorKind::AddrInUse)
        );
        drop(first);
        assert!(Listener::bind("memory-test-reuse").is_ok());
    }

    #[tokio::test]
    async fn a_name_without_a_listener_refuses() {
        let error = connect("memory-test-nobody").await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}

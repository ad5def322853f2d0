//! Lines within the process: `mem://NAME`. For tests, and for services that share a process.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::transport::disturb::{Half, Hub};
use crate::transport::{Accept, Connect, Connected};

/// Connections that wait to be accepted.
const BACKLOG: usize = 1024;

/// The listeners of the process, by name.
static LISTENERS: LazyLock<Mutex<HashMap<String, Entry>>> = LazyLock::new(Mutex::default);
/// Numbers listeners without a name.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// What is known of a listener under its name.
#[derive(Clone)]
struct Entry {
    incoming: mpsc::Sender<Half>,
    hub: Arc<Hub>,
}

/// Connects to the listener of a name.
pub(super) struct Connector(pub(super) String);

impl Connect for Connector {
    fn address(&self) -> String {
        url(&self.0)
    }

    async fn connect(&self) -> io::Result<Connected> {
        let listener = entry(&self.0)?;
        let (ours, theirs) = listener.hub.open();
        listener.incoming.send(theirs).await.map_err(|_| refused())?;
        Ok(connected(ours, &self.0))
    }
}

pub(super) struct Acceptor {
    name: String,
    incoming: mpsc::Receiver<Half>,
}

impl Acceptor {
    /// Takes a name; an empty one becomes a number that is free.
    pub(super) fn bind(name: &str) -> io::Result<Self> {
        let mut listeners = listeners();
        let name = match name {
            "" => NEXT.fetch_add(1, Ordering::Relaxed).to_string(),
            name => name.to_owned(),
        };
        if listeners.get(&name).is_some_and(|listener| !listener.incoming.is_closed()) {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "the name is in use; choose another one, or mem:// for one that is free",
            ));
        }
        let (sender, incoming) = mpsc::channel(BACKLOG);
        listeners.insert(name.clone(), Entry { incoming: sender, hub: Arc::default() });
        Ok(Self { name, incoming })
    }
}

impl Accept for Acceptor {
    fn address(&self) -> String {
        url(&self.name)
    }

    async fn accept(&mut self) -> io::Result<Connected> {
        match self.incoming.recv().await {
            Some(stream) => Ok(connected(stream, &self.name)),
            // A later listener has taken the name, which it can only when this one is being dropped.
            None => std::future::pending().await,
        }
    }

    fn is_exposed(&self) -> bool {
        false
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.incoming.close();
        listeners().retain(|_, listener| !listener.incoming.is_closed());
    }
}

/// What a test disturbs the lines of a listener by.
pub(super) fn hub(name: &str) -> io::Result<Arc<Hub>> {
    Ok(entry(name)?.hub)
}

fn entry(name: &str) -> io::Result<Entry> {
    let entry = listeners().get(name).cloned();
    entry.filter(|listener| !listener.incoming.is_closed()).ok_or_else(refused)
}

fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionRefused, "nobody listens under this name")
}

fn url(name: &str) -> String {
    format!("mem://{name}")
}

fn connected(stream: Half, name: &str) -> Connected {
    Connected::stream(stream, url(name)).on_any_thread()
}

/// Each change of the map is one step, so a poisoned lock holds a sound map.
fn listeners() -> MutexGuard<'static, HashMap<String, Entry>> {
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_free_again_when_its_listener_is_gone() {
        let first = Acceptor::bind("memory-test-reuse").unwrap();
        assert_eq!(
            Acceptor::bind("memory-test-reuse").err().map(|e| e.kind()),
            Some(io::ErrorKind::AddrInUse)
        );
        drop(first);
        assert!(Acceptor::bind("memory-test-reuse").is_ok());
    }

    #[tokio::test]
    async fn a_name_without_a_listener_refuses() {
        let error = Connector("memory-test-nobody".to_owned()).connect().await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}

//! The threads of one server or client.

use std::thread::ThreadId;

use tokio_util::sync::CancellationToken;

use crate::actor::runtime::{Resident, Runtime};
use crate::actor::worker::Worker;
use crate::error::Result;

/// The worker on which a listener, its authenticator and all services live of which there is one.
pub(crate) const HOME: usize = 0;

/// Where an endpoint is told to live.
#[derive(Debug, Default)]
pub(crate) enum Placement {
    /// Where it is started, inside an actix program; else on the process's own thread.
    #[default]
    Default,
    /// On threads that others may use as well.
    On(Runtime),
    /// On so many threads of its own.
    Own(usize),
}

impl Placement {
    /// All threads, for a server.
    pub(crate) fn workers(self) -> Result<Workers> {
        match self {
            Self::Default => Ok(Workers { list: [Worker::current()?].into(), stay: None, owned: None }),
            Self::On(runtime) => Workers::of(&runtime),
            Self::Own(workers) => {
                let runtime = Runtime::builder().workers(workers).start()?;
                Ok(Workers { owned: Some(runtime.clone()), ..Workers::of(&runtime)? })
            }
        }
    }

    /// One of the threads, for a client.
    pub(crate) fn worker(self) -> Result<Workers> {
        match self {
            Self::On(runtime) => {
                let list = [runtime.next().clone()].into();
                Ok(Workers { list, stay: Some(runtime.enter()?), owned: None })
            }
            other => other.workers(),
        }
    }

    /// Whether the endpoint will live on this thread, which must not wait for it then.
    #[cfg(feature = "blocking")]
    pub(crate) fn is_here(&self) -> bool {
        match self {
            Self::Default => crate::actor::worker::is_in_place(),
            Self::On(runtime) => runtime.is_here(),
            Self::Own(_) => false,
        }
    }
}

/// The threads of one endpoint, at least one; they stay while this is there.
#[derive(Clone)]
pub(crate) struct Workers {
    list: Box<[Worker]>,
    stay: Option<Resident>,
    /// Where the runtime is the endpoint's own.
    owned: Option<Runtime>,
}

impl Workers {
    fn of(runtime: &Runtime) -> Result<Self> {
        Ok(Self { list: runtime.list().into(), stay: Some(runtime.enter()?), owned: None })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// The first of them.
    pub(crate) fn home(&self) -> &Worker {
        &self.list[HOME]
    }

    /// All of them.
    pub(super) fn list(&self) -> &[Worker] {
        &self.list
    }

    /// Which threads they are.
    pub(super) fn threads(&self) -> Box<[ThreadId]> {
        self.list.iter().map(Worker::thread).collect()
    }

    /// The runtime that has to be shut down with the endpoint.
    pub(crate) fn owned(&self) -> Option<&Runtime> {
        self.owned.as_ref()
    }

    /// Cancelled when the endpoint has to end; none where its threads do not.
    pub(super) fn ending(&self) -> Option<CancellationToken> {
        self.stay.as_ref().map(Resident::ending)
    }
}

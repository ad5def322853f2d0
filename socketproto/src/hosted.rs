//! A service that its program steps into while it runs.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::actor::{StartHandler, starter, starter_with_door};
use crate::contain::contain;
use crate::error::{Error, Result};
use crate::service::{Door, Service, ServiceTable, Visit};

/// A service together with a way into it: the program can look at and change it from any thread, while it is served.
///
/// Clones mean the same service. A step runs in the service's actor, between two requests; before the server has started
/// it runs at once.
///
/// ```
/// use socketproto::Hosted;
/// use socketproto::prelude::*;
///
/// #[derive(Service)]
/// struct Room {
///     #[did(1, read)]
///     temperature: f64,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> socketproto::Result<()> {
/// let room = Hosted::new(Room { temperature: 19.5 });
/// let server = Server::bind("mem://").service(room.clone()).start().await?;
/// room.with(|room| room.temperature = 21.0).await?;
///
/// let client = Client::connect(server.address()).await?;
/// assert_eq!(client.read::<f64>(1).await?, 21.0);
/// # Ok(()) }
/// ```
pub struct Hosted<S>(Arc<Mutex<Place<S>>>);

/// Where the service is.
enum Place<S> {
    /// With its program.
    Here(S),
    /// Handed to a server or client that has yet to start; steps wait.
    Moving(Vec<Visit<S>>),
    /// In its actor.
    Served(Door<S>),
    /// The server or client was never started.
    Lost,
}

impl<S: Service + Send> Hosted<S> {
    /// Takes a service that will be served.
    pub fn new(service: S) -> Self {
        Self(Arc::new(Mutex::new(Place::Here(service))))
    }

    /// Steps into the service and gives what the step gives.
    ///
    /// # Errors
    /// [`Error::ShutDown`] where the service has ended, or the step panicked.
    pub async fn with<R: Send + 'static>(
        &self,
        step: impl FnOnce(&mut S) -> R + Send + 'static,
    ) -> Result<R> {
        let (sender, receiver) = oneshot::channel();
        self.visit(Box::new(move |service| {
            // Nobody may wait any more.
            let _ = sender.send(step(service));
        }));
        receiver.await.map_err(|_| Error::ShutDown)
    }

    fn visit(&self, visit: Visit<S>) {
        let mut place = self.lock();
        match &mut *place {
            // The caller of a step that panics sees that its result never comes.
            Place::Here(service) => drop(contain(|| visit(service))),
            Place::Moving(visits) => visits.push(visit),
            Place::Served(door) => {
                let door = door.clone();
                // The step may end here, and its captures may come back to this handle.
                drop(place);
                door.enter(visit);
            }
            Place::Lost => {}
        }
    }

    /// Panics are contained, so a poisoned lock holds sound data.
    fn lock(&self) -> MutexGuard<'_, Place<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Clone for Hosted<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> fmt::Debug for Hosted<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hosted(..)")
    }
}

/// What a server or client can be told to serve: a [`Service`], or one that is [`Hosted`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a service",
    label = "not a service",
    note = "add `#[derive(socketproto::Service)]` to `{Self}` and `#[did(ID, read)]` to a field"
)]
pub trait IntoService {
    /// The service's table, and how it is started.
    #[doc(hidden)]
    fn into_service(self) -> Result<Served>;
}

/// A service on its way to an endpoint.
#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "it is handed on at once")]
pub struct Served {
    pub(crate) table: &'static ServiceTable,
    pub(crate) start: StartHandler,
}

impl<S: Service + Send> IntoService for S {
    fn into_service(self) -> Result<Served> {
        Ok(Served { table: S::SERVICE, start: starter(self) })
    }
}

impl<S: Service + Send> IntoService for Hosted<S> {
    fn into_service(self) -> Result<Served> {
        let mut place = self.lock();
        match std::mem::replace(&mut *place, Place::Moving(Vec::new())) {
            Place::Here(service) => {
                drop(place);
                let mover = Mover(self);
                let start = starter_with_door(service, move |door| mover.arrive(door));
                Ok(Served { table: S::SERVICE, start })
            }
            other => {
                *place = other;
                Err(Error::Config {
                    setting: "service",
                    reason: format!(
                        "this `Hosted` of {} is served already; let each server have a service of its own, and share \
                         what they have in common, for example in an `Arc<Mutex<..>>`",
                        S::SERVICE.name()
                    )
                    .into(),
                })
            }
        }
    }
}

/// Brings the service's door back to its handle, or tells that there will be none.
struct Mover<S: Service + Send>(Hosted<S>);

impl<S: Service + Send> Mover<S> {
    fn arrive(self, door: &Door<S>) {
        let mut place = self.0.lock();
        if let Place::Moving(visits) = std::mem::replace(&mut *place, Place::Served(door.clone())) {
            visits.into_iter().for_each(|visit| door.enter(visit));
        }
    }
}

impl<S: Service + Send> Drop for Mover<S> {
    fn drop(&mut self) {
        let mut place = self.0.lock();
        if let Place::Moving(_) = &*place {
            *place = Place::Lost;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::callback::Callbacks;

    fn hosted() -> Hosted<impl Service + Send> {
        Hosted::new(Callbacks::new(Arc::default()))
    }

    #[test]
    fn a_service_that_is_still_here_is_stepped_into_at_once() {
        assert_eq!(hosted().with(|_| 7).now_or_never().unwrap().unwrap(), 7);
    }

    #[test]
    fn steps_wait_for_the_start_and_fail_where_there_is_none() {
        let hosted = hosted();
        let served = hosted.clone().into_service().unwrap();
        let mut step = Box::pin(hosted.with(|_| 7));
        assert!(step.as_mut().now_or_never().is_none());
        drop(served);
        assert!(matches!(step.now_or_never(), Some(Err(Error::ShutDown))));
        assert!(matches!(hosted.with(|_| 7).now_or_never(), Some(Err(Error::ShutDown))));
    }

    #[test]
    fn one_service_is_served_once() {
        let hosted = hosted();
        let _served = hosted.clone().into_service().unwrap();
        let error = hosted.into_service().err().unwrap();
        let text = error.to_string();
        assert!(text.starts_with("service: this `Hosted` of callback is served already; let each"), "{text}");
    }
}

//! One request on its way to a method, and the context that the method may ask for.

use std::fmt;

use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use crate::fault::Fault;
use crate::id::{DataId, ServiceId, Status};
use crate::message::{Header, Json, Message};
use crate::peer::Peer;
use crate::service::{Door, State};

/// What a service is asked.
#[derive(Clone, Debug)]
pub struct Request {
    header: Header,
    data: Json,
    name: &'static str,
    peer: Peer,
}

impl Request {
    /// An empty request of this peer, to be set.
    pub(crate) fn new(peer: Peer) -> Self {
        let header = *Message::new(0, 0, Json::NULL).header();
        Self { header, data: Json::NULL, name: "", peer }
    }

    /// Makes it the peer's next request.
    #[inline]
    pub(crate) fn set(&mut self, header: Header, data: Json, name: &'static str) {
        (self.header, self.data, self.name) = (header, data, name);
    }

    /// The request as seen through another handle of its peer.
    pub(crate) fn with_peer(&self, peer: Peer) -> Self {
        Self { peer, ..self.clone() }
    }

    /// The request as a message.
    pub(crate) fn message(&self) -> Message {
        Message::from_parts(self.header, self.data.clone())
    }

    /// The data as a type.
    ///
    /// # Errors
    /// Status 2 with the reason, where the data do not fit.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        self.data.decode().map_err(|error| Fault::callback_error(error.to_string()))
    }

    /// The data as they came.
    pub fn json(&self) -> Json {
        self.data.clone()
    }

    /// What stands around the data.
    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// The data id as it came.
    pub fn data_id(&self) -> DataId {
        self.header.data_id
    }

    /// The context of the call, for a method that asked for `cx`.
    pub fn call<S>(&self, state: &State<S>) -> Call<S> {
        Call { state: state.clone(), request: self.clone() }
    }

    /// The context of the call, for a method that asked for `cx` and runs outside the actor.
    pub fn blocking_call<S>(&self, state: &State<S>) -> BlockingCall<S> {
        BlockingCall { door: state.door().clone(), request: self.clone() }
    }
}

/// The context of one call: who asks, what for, and the way back into the service.
///
/// A method gets it by naming `cx` in its declaration.
pub struct Call<S> {
    state: State<S>,
    request: Request,
}

impl<S> Call<S> {
    /// Steps back into the service: runs the closure on its state.
    ///
    /// # Panics
    /// In a sync method, whose `&mut self` is that state already; the caller then gets status 2.
    #[expect(
        clippy::unused_async,
        reason = "a step into a state that lives elsewhere would have to be waited for"
    )]
    pub async fn actor<R>(&self, step: impl FnOnce(&mut S) -> R) -> R {
        match self.state.borrow_mut() {
            Ok(mut state) => step(&mut state),
            #[expect(clippy::panic, reason = "a mistake of the program, as the documentation says")]
            Err(_) => panic!("`cx.actor` in a sync method: its `&mut self` is that state already"),
        }
    }
}

/// The context of one call of a `blocking` method, which runs on a thread of the blocking pool: as [`Call`], but it can
/// change threads, and steps into the service by a message to its actor.
///
/// ```
/// use socketproto::BlockingCall;
/// use socketproto::prelude::*;
///
/// #[derive(Service)]
/// #[did(1, execute = fn measure(cx, times: u32) -> u32, blocking)]
/// struct Sensor {
///     offset: u32,
/// }
///
/// impl Sensor {
///     fn measure(cx: BlockingCall<Self>, times: u32) -> Result<u32, Fault> {
///         let sum: u32 = (0..times).map(slow).sum(); // the service answers others meanwhile
///         cx.actor_blocking(move |this| sum + this.offset)
///     }
/// }
///
/// fn slow(reading: u32) -> u32 {
///     std::hint::black_box(reading)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> socketproto::Result<()> {
/// let server = Server::bind("mem://").service(Sensor { offset: 100 }).start().await?;
/// let client = Client::connect(server.address()).await?;
/// assert_eq!(client.execute::<_, u32>(1, &4).await?, 106);
/// # Ok(()) }
/// ```
pub struct BlockingCall<S> {
    door: Door<S>,
    request: Request,
}

impl<S: 'static> BlockingCall<S> {
    /// Steps into the service: runs the closure on its state, in its actor, and waits for the result.
    ///
    /// # Errors
    /// Status 2 where the closure panicked, or the service has ended: a blocking method may outlive it.
    ///
    /// # Panics
    /// In async code, which must not block.
    pub fn actor_blocking<R: Send + 'static>(
        &self,
        step: impl FnOnce(&mut S) -> R + Send + 'static,
    ) -> Result<R, Fault> {
        self.enter(step).blocking_recv().map_err(|_| unfinished())
    }

    /// Steps into the service as [`BlockingCall::actor_blocking`] does, from async code.
    ///
    /// # Errors
    /// As [`BlockingCall::actor_blocking`].
    pub async fn actor<R: Send + 'static>(
        &self,
        step: impl FnOnce(&mut S) -> R + Send + 'static,
    ) -> Result<R, Fault> {
        self.enter(step).await.map_err(|_| unfinished())
    }

    fn enter<R: Send + 'static>(
        &self,
        step: impl FnOnce(&mut S) -> R + Send + 'static,
    ) -> oneshot::Receiver<R> {
        let (sender, receiver) = oneshot::channel();
        self.door.enter(Box::new(move |state| {
            // Nobody may wait any more.
            let _ = sender.send(step(state));
        }));
        receiver
    }
}

/// What every context tells of its request.
macro_rules! tells_of_its_request {
    ($($context:ident),*) => {$(
        impl<S> $context<S> {
            /// The peer that asks; it can be called back.
            pub fn peer(&self) -> &Peer {
                &self.request.peer
            }

            /// The service id of the request.
            pub fn service_id(&self) -> ServiceId {
                self.request.header.service_id
            }

            /// The data id of the request, as the peer sent it.
            pub fn data_id(&self) -> DataId {
                self.request.header.data_id
            }

            /// The name of the datum.
            pub fn name(&self) -> &'static str {
                self.request.name
            }

            /// The status the request carries; 0 from all but odd peers.
            pub fn status(&self) -> Status {
                self.request.header.status
            }
        }

        impl<S> fmt::Debug for $context<S> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($context)).field("request", &self.request).finish()
            }
        }
    )*};
}

tells_of_its_request!(Call, BlockingCall);

fn unfinished() -> Fault {
    Fault::callback_error("a step into the service was not finished: it panicked, or the service has ended")
}

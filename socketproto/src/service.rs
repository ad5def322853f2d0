//! What a service is: a static table of its data, and a way to run one entry of it.
//!
//! `#[derive(Service)]` writes both from an annotated struct. The registry reads the table once, when an endpoint is
//! built, and from then on names an entry by its position: a request reaches its method through one look-up and one
//! dense `match`, however the ids are spread.

use std::cell::{Ref, RefCell, RefMut};
use std::fmt;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fault::Fault;
use crate::id::{DataId, ServiceId, Status};
use crate::message::{Header, Json, Message};
use crate::peer::Peer;

/// A struct that serves data: implement it with `#[derive(Service)]`.
///
/// ```
/// use socketproto::prelude::*;
///
/// /// A lamp.
/// #[derive(Service)]
/// struct Lamp {
///     /// Whether it shines.
///     #[did(1, read, write)]
///     on: bool,
/// }
///
/// assert_eq!(Lamp::SERVICE.name(), "Lamp");
/// assert_eq!(Lamp::SERVICE.entries()[0].name(), "on");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a service",
    label = "not a service",
    note = "add `#[derive(socketproto::Service)]` to `{Self}` and `#[did(ID, read)]` to a field"
)]
pub trait Service: Sized + 'static {
    /// What the service offers; routing, logs and the whitelist are made from it.
    const SERVICE: &'static ServiceTable;

    /// Runs the entry at this position of the table; a reply that is ready at once is written to `out`.
    #[doc(hidden)]
    fn dispatch(state: &State<Self>, entry: usize, request: &Request, out: &mut Vec<u8>) -> Step;
}

/// What one service offers, in the order of its declaration.
#[derive(Clone, Copy, Debug)]
pub struct ServiceTable {
    name: &'static str,
    description: &'static str,
    entries: &'static [Entry],
}

impl ServiceTable {
    /// A table; the derive writes this call.
    pub const fn new(name: &'static str, description: &'static str, entries: &'static [Entry]) -> Self {
        Self { name, description, entries }
    }

    /// The name of the service: `#[service(name = "..")]`, else the name of the struct.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The doc comment of the struct.
    pub const fn description(&self) -> &'static str {
        self.description
    }

    /// One entry for each operation on each datum.
    pub const fn entries(&self) -> &'static [Entry] {
        self.entries
    }
}

/// One operation on one datum of a service.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    service_id: ServiceId,
    data_id: DataId,
    name: &'static str,
    description: &'static str,
    public: bool,
    notify: bool,
}

impl Entry {
    /// An entry; the derive writes this call.
    pub const fn new(service_id: ServiceId, data_id: DataId, name: &'static str) -> Self {
        Self { service_id, data_id, name, description: "", public: false, notify: false }
    }

    /// Sets the description.
    #[must_use]
    pub const fn describe(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }

    /// Puts the entry on the authentication whitelist.
    #[must_use]
    pub const fn public(mut self) -> Self {
        self.public = true;
        self
    }

    /// Lets peers subscribe to changes. It has no effect yet.
    #[must_use]
    pub const fn notify(mut self) -> Self {
        self.notify = true;
        self
    }

    /// The request service id: 10 read, 20 write, 30 execute.
    pub const fn service_id(&self) -> ServiceId {
        self.service_id
    }

    /// The data id, before `service_at` shifts it.
    pub const fn data_id(&self) -> DataId {
        self.data_id
    }

    /// The name of the datum: `name = ".."`, else the field's or method's.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The doc comment of the field; empty for methods.
    pub const fn description(&self) -> &'static str {
        self.description
    }

    /// Whether peers that have not authenticated may use it.
    pub const fn is_public(&self) -> bool {
        self.public
    }

    /// Whether peers may subscribe to it.
    pub const fn is_notify(&self) -> bool {
        self.notify
    }
}

/// The state of a running service: one cell, borrowed step by step, so that a panic leaves it usable.
pub struct State<S>(Rc<RefCell<S>>);

impl<S> State<S> {
    pub(crate) fn new(state: S) -> Self {
        Self(Rc::new(RefCell::new(state)))
    }

    /// Looks at the state.
    ///
    /// # Errors
    /// Status 2 while a method of the same service runs further up the stack.
    pub fn borrow(&self) -> Result<Ref<'_, S>, Fault> {
        self.0.try_borrow().map_err(|_| in_use())
    }

    /// Changes the state.
    ///
    /// # Errors
    /// Status 2 while a method of the same service runs further up the stack.
    pub fn borrow_mut(&self) -> Result<RefMut<'_, S>, Fault> {
        self.0.try_borrow_mut().map_err(|_| in_use())
    }
}

fn in_use() -> Fault {
    Fault::callback_error("the service's state is in use by the method that asks for it")
}

impl<S> Clone for State<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S> fmt::Debug for State<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("State(..)")
    }
}

/// How far a dispatch has come.
pub enum Step {
    /// The reply is in the buffer that was handed in, or the request failed.
    Now(Result<(), Fault>),
    /// The reply comes later.
    Later(LocalBoxFuture<'static, Result<Vec<u8>, Fault>>),
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Now(Ok(())) => "Now(Ok)",
            Self::Now(Err(_)) => "Now(Err)",
            Self::Later(_) => "Later",
        })
    }
}

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
    pub(crate) fn set(&mut self, header: Header, data: Json, name: &'static str) {
        (self.header, self.data, self.name) = (header, data, name);
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

    /// The context of the call, for a method that asked for `cx`.
    pub fn call<S>(&self, state: &State<S>) -> Call<S> {
        Call { state: state.clone(), request: self.clone() }
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
    #[expect(clippy::unused_async, reason = "a service on a thread of its own will have to be waited for")]
    pub async fn actor<R>(&self, step: impl FnOnce(&mut S) -> R) -> R {
        match self.state.0.try_borrow_mut() {
            Ok(mut state) => step(&mut state),
            Err(_) => panic!("`cx.actor` in a sync method: its `&mut self` is that state already"),
        }
    }

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

impl<S> fmt::Debug for Call<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("request", &self.request).finish()
    }
}

/// What a method may return where `T` is declared: `T` itself, or a `Result` whose error becomes a [`Fault`].
#[diagnostic::on_unimplemented(
    message = "a method declared `-> {T}` cannot return `{Self}`",
    label = "returns `{Self}`",
    note = "return `{T}`, or `Result<{T}, E>` where `E` converts into `Fault`"
)]
pub trait IntoReply<T, Marker> {
    /// The reply, or why there is none.
    ///
    /// # Errors
    /// The method's own.
    fn into_reply(self) -> Result<T, Fault>;
}

/// Marks a method that returns its value.
#[derive(Debug)]
pub struct Plain;

/// Marks a method that returns a `Result`.
#[derive(Debug)]
pub struct Fallible;

impl<T> IntoReply<T, Plain> for T {
    fn into_reply(self) -> Result<T, Fault> {
        Ok(self)
    }
}

impl<T, E: Into<Fault>> IntoReply<T, Fallible> for Result<T, E> {
    fn into_reply(self) -> Result<T, Fault> {
        self.map_err(Into::into)
    }
}

/// Writes a reply as JSON.
///
/// # Errors
/// Status 2 where the value cannot be written.
pub fn encode<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), Fault> {
    serde_json::to_writer(out, value)
        .map_err(|error| Fault::callback_error(format!("the reply cannot be written as JSON: {error}")))
}

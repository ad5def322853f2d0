//! What a service is: a static table of its data, and a way to run one entry of it.
//!
//! `#[derive(Service)]` writes both from an annotated struct. The registry reads the table once, when an endpoint is
//! built, and from then on names an entry by its position: a request reaches its method through one look-up and one
//! dense `match`, however the ids are spread.

mod call;
mod lifecycle;
mod table;

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use serde::Serialize;

use crate::fault::Fault;
use crate::strings;

pub use crate::service::call::{BlockingCall, Call, Request};
pub use crate::service::lifecycle::{Hook, Lifecycle, run_hook};
pub use crate::service::table::{Entry, OwnService, ServiceTable};

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

    /// Runs the entry at this position of the table; a reply that is ready at once is written to `out`. `state` is the
    /// way back to `self` for what runs later.
    #[doc(hidden)]
    fn dispatch(&mut self, state: &State<Self>, entry: usize, request: &Request, out: &mut Vec<u8>) -> Step;

    /// Tells the service what its table asks for with [`ServiceTable::hooks`].
    #[doc(hidden)]
    fn hook(&mut self, hook: &Hook) {
        let _ = hook;
    }
}

/// The state of a running service: one cell, borrowed step by step, so that a panic leaves it usable, and a door for
/// those who run elsewhere.
pub struct State<S> {
    /// Absent where the state is an actor of the user's own.
    cell: Option<Rc<RefCell<S>>>,
    door: Door<S>,
}

impl<S> State<S> {
    pub(crate) fn new(state: S, door: Door<S>) -> Self {
        Self { cell: Some(Rc::new(RefCell::new(state))), door }
    }

    /// The way to a state that is an actor of the user's own.
    #[cfg(feature = "actix")]
    pub(crate) fn of_actor(door: Door<S>) -> Self {
        Self { cell: None, door }
    }

    /// Changes the state.
    ///
    /// # Errors
    /// Status 2 while a method of the same service runs further up the stack.
    pub(crate) fn borrow_mut(&self) -> Result<RefMut<'_, S>, Fault> {
        let cell = self.cell.as_ref().and_then(|cell| cell.try_borrow_mut().ok());
        cell.ok_or_else(|| {
            Fault::callback_error("the service's state is in use by the method that asks for it")
        })
    }

    pub(crate) fn door(&self) -> &Door<S> {
        &self.door
    }
}

impl<S: Service> State<S> {
    /// Runs an entry on the state.
    pub(crate) fn dispatch(&self, entry: usize, request: &Request, out: &mut Vec<u8>) -> Step {
        match self.borrow_mut() {
            Ok(mut state) => state.dispatch(self, entry, request, out),
            Err(fault) => Step::Now(Err(fault)),
        }
    }
}

impl<S> Clone for State<S> {
    fn clone(&self) -> Self {
        Self { cell: self.cell.clone(), door: self.door.clone() }
    }
}

impl<S> fmt::Debug for State<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("State(..)")
    }
}

/// A step into a state, sent to its actor.
pub(crate) type Visit<S> = Box<dyn FnOnce(&mut S) + Send>;

/// The way to a state from any thread.
pub(crate) struct Door<S>(Arc<dyn Fn(Visit<S>) + Send + Sync>);

impl<S> Door<S> {
    /// A door that hands each visit to this function, which brings it to the state's actor or drops it.
    pub(crate) fn new(carry: impl Fn(Visit<S>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(carry))
    }

    /// Sends a visit; it is dropped where the actor has ended.
    pub(crate) fn enter(&self, visit: Visit<S>) {
        (self.0)(visit);
    }
}

impl<S> Clone for Door<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// How far a dispatch has come.
pub enum Step {
    /// The reply is in the buffer that was handed in, or the request failed.
    Now(Result<(), Fault>),
    /// The reply comes later.
    Later(LocalBoxFuture<'static, Result<Vec<u8>, Fault>>),
    /// Nobody here takes the request any more; its connection finds out who does.
    Untaken,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Now(Ok(())) => "Now(Ok)",
            Self::Now(Err(_)) => "Now(Err)",
            Self::Later(_) => "Later",
            Self::Untaken => "Untaken",
        })
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
    strings::append(value, out)
        .map_err(|error| Fault::callback_error(format!("the reply cannot be written as JSON: {error}")))
}

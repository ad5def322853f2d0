//! Services that are actix actors already: `#[service(actor)]`.
//!
//! ```text
//!  service actor of the endpoint ──Request──▶ the user's actor
//!   (order, exclusive, cancel)   ◀──outcome──   (methods, state)
//! ```
//! The actor stays where it was started, keeps its own messages, and may serve more than one endpoint.

use ::actix::dev::ToEnvelope;
use ::actix::{Actor, Addr, AsyncContext, Context, Handler, Message};
use futures_util::future::{Either, select};
use tokio::sync::oneshot;

use crate::contain::{Contained, contain};
use crate::fault::Fault;
use crate::mailbox::{Bounded, Mailbox};
use crate::service::{self, BlockingCall, Door, Hook, Service, ServiceTable, State, Step, Visit};

/// The context of one call of an actor's method: steps into the actor are messages to it.
///
/// ```
/// use actix::{Actor, Context};
/// use socketproto::actix::ActorCall;
/// use socketproto::prelude::*;
///
/// #[derive(Service, Client)]
/// #[service(actor)]
/// #[did(1, execute = async fn count(cx, by: u32) -> u32)]
/// struct Counter {
///     value: u32,
/// }
///
/// impl Actor for Counter {
///     type Context = Context<Self>;
/// }
///
/// impl Counter {
///     async fn count(cx: ActorCall<Self>, by: u32) -> Result<u32, Fault> {
///         cx.actor(move |this| {
///             this.value += by;
///             this.value
///         })
///         .await
///     }
/// }
///
/// # fn main() {
/// # actix::System::new().block_on(async { serve().await.unwrap() });
/// # async fn serve() -> socketproto::Result<()> {
/// let counter = Counter { value: 40 }.start();
/// let server = Server::bind("mem://").service_addr(counter).start().await?;
/// let client = Client::connect(server.address()).await?;
/// assert_eq!(CounterClient::new(&client).count(2).await?, 42);
/// # Ok(()) }
/// # }
/// ```
pub type ActorCall<A> = BlockingCall<A>;

/// What a served actor is sent; the derive implements its handler.
pub struct Request<A>(Kind<A>);

enum Kind<A> {
    Serve { entry: usize, request: Box<service::Request>, reply: oneshot::Sender<Outcome> },
    Enter(Visit<A>),
    Hook(Hook),
}

type Outcome = Result<Vec<u8>, Fault>;

impl<A> std::fmt::Debug for Request<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Kind::Serve { .. } => "Request(Serve)",
            Kind::Enter(_) => "Request(Enter)",
            Kind::Hook(_) => "Request(Hook)",
        })
    }
}

impl<A> Message for Request<A> {
    type Result = ();
}

/// One for each request that runs, hook and step, as the mailbox of the service in front of the actor has them.
impl<A: 'static> Bounded for Request<A> {}

/// An actor that can be served: in a context of its own, and with a handler of [`Request`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an actor",
    label = "not an actor",
    note = "add `impl actix::Actor for {Self} {{ type Context = actix::Context<Self>; }}`, or leave `actor` out"
)]
pub trait Served: Actor<Context = Context<Self>> {}

impl<A: Actor<Context = Context<A>>> Served for A {}

/// Fails to compile where `A` is no actor.
#[doc(hidden)]
pub const fn assert_actor<A: Served>() {}

/// Handles what a served actor is sent.
#[doc(hidden)]
pub fn serve<A>(actor: &mut A, request: Request<A>, context: &mut A::Context)
where
    A: Service + Handler<Request<A>>,
    A::Context: AsyncContext<A> + ToEnvelope<A, Request<A>>,
{
    // A step that panics is missed by the one who waits for it, a hook by nobody.
    match request.0 {
        Kind::Enter(visit) => drop(contain(|| visit(actor))),
        Kind::Hook(hook) => drop(contain(|| actor.hook(&hook))),
        // It was given up while it waited here.
        Kind::Serve { reply, .. } if reply.is_closed() => {}
        Kind::Serve { entry, request, reply } => {
            let addr = context.address();
            let door = Door::new(move |visit| addr.tell(Request(Kind::Enter(visit))));
            let mut out = Vec::new();
            let step = contain(|| actor.dispatch(&State::of_actor(door), entry, &request, &mut out));
            match step {
                Ok(Step::Now(outcome)) => drop(reply.send(outcome.map(|()| out))),
                Ok(Step::Later(future)) => answer_later(Contained::new(future), reply),
                // Callbacks alone can be removed; an actor's entries stay.
                Ok(Step::Untaken) => drop(reply),
                Err(fault) => drop(reply.send(Err(fault))),
            }
        }
    }
}

/// Runs a method on the thread of its actor, as long as somebody waits for its outcome.
fn answer_later(mut method: Contained, mut reply: oneshot::Sender<Outcome>) {
    actix_rt::spawn(async move {
        let outcome = match select(&mut method, std::pin::pin!(reply.closed())).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(_) => return,
        };
        let _ = reply.send(outcome);
    });
}

/// An actor as a service: it hands on what it is asked. Order, exclusion and cancelling are those of any service.
pub(crate) struct Bridge<A: Actor>(pub(crate) Addr<A>);

impl<A> Service for Bridge<A>
where
    A: Service + Handler<Request<A>>,
    A::Context: ToEnvelope<A, Request<A>>,
{
    const SERVICE: &'static ServiceTable = A::SERVICE;

    fn dispatch(
        &mut self,
        _: &State<Self>,
        entry: usize,
        request: &service::Request,
        _: &mut Vec<u8>,
    ) -> Step {
        let (reply, outcome) = oneshot::channel();
        self.0.tell(Request(Kind::Serve { entry, request: Box::new(request.clone()), reply }));
        Step::Later(Box::pin(async {
            outcome.await.unwrap_or_else(|_| Err(Fault::callback_error("the actor has ended")))
        }))
    }

    fn hook(&mut self, hook: &Hook) {
        self.0.tell(Request(Kind::Hook(hook.clone())));
    }
}

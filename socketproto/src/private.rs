//! What expansions of the derive macros name; not for hand-written code, and no part of the public API.

use serde::Serialize;

use crate::contain::contain;
use crate::fault::Fault;
use crate::id::DataId;
use crate::message::Json;

pub use crate::peer::{call, call_own};
pub use crate::service::{Hook, IntoReply, Request, State, Step, encode, run_hook};

/// What expansions of `#[service(actor)]` name.
#[cfg(feature = "actix")]
pub mod actix {
    pub use ::actix::{Actor, Context, Handler};

    pub use crate::actix::{assert_actor, serve};
}

/// What suites of WebSocket cases speak to.
#[cfg(feature = "websocket")]
pub use crate::transport::websocket::{echo_as_client, echo_as_server};

/// A data id as a declaration names it: a `u32` or a [`DataId`].
#[derive(Clone, Copy, Debug)]
pub struct Id<T>(pub T);

impl Id<u32> {
    /// The id.
    pub const fn get(self) -> DataId {
        DataId::new(self.0)
    }
}

impl Id<DataId> {
    /// The id.
    pub const fn get(self) -> DataId {
        self.0
    }
}

/// Runs an entry; what fails on the way to its reply is its answer.
pub fn serve(entry: impl FnOnce() -> Result<Step, Fault>) -> Step {
    entry().unwrap_or_else(|fault| Step::Now(Err(fault)))
}

/// Answers with a value.
///
/// # Errors
/// Status 2 where the value cannot be written.
pub fn value<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<Step, Fault> {
    encode(value, out)?;
    Ok(Step::Now(Ok(())))
}

/// Answers with what a method declared `-> T` has returned.
///
/// # Errors
/// The method's own, and those of [`value`].
pub fn reply<T: Serialize, M>(returned: impl IntoReply<T, M>, out: &mut Vec<u8>) -> Result<Step, Fault> {
    value(&returned.into_reply()?, out)
}

/// Answers with JSON that a method has returned, as the text it is.
///
/// # Errors
/// The method's own.
pub fn json<M>(returned: impl IntoReply<Json, M>, out: &mut Vec<u8>) -> Result<Step, Fault> {
    out.extend_from_slice(returned.into_reply()?.as_str().as_bytes());
    Ok(Step::Now(Ok(())))
}

/// Answers with what an async method declared `-> T` will return.
///
/// # Errors
/// None; a result like its neighbours'.
pub fn later<T: Serialize, M>(
    returned: impl Future<Output = impl IntoReply<T, M>> + 'static,
) -> Result<Step, Fault> {
    Ok(Step::Later(Box::pin(async move {
        let mut out = Vec::new();
        encode(&returned.await.into_reply()?, &mut out)?;
        Ok(out)
    })))
}

/// Answers with what a blocking method declared `-> T` will return; it runs on the blocking pool, and to its end also
/// where nobody waits for it any more.
///
/// # Errors
/// None; a result like its neighbours'.
pub fn blocking<T: Serialize, R: IntoReply<T, M>, M>(
    method: impl FnOnce() -> R + Send + 'static,
) -> Result<Step, Fault> {
    let running = tokio::task::spawn_blocking(move || {
        contain(|| {
            let mut out = Vec::new();
            encode(&method().into_reply()?, &mut out)?;
            Ok(out)
        })
    });
    Ok(Step::Later(Box::pin(async move {
        // The task cannot panic; it is lost where the runtime ends before it began.
        running.await.map_err(|_| Fault::callback_error("the runtime has ended"))??
    })))
}

#[cfg(all(test, feature = "derive"))]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;

    use super::*;
    use crate::link::Link;
    use crate::service::Door;
    use crate::{Call, Message, Peer, Service};

    #[derive(Service)]
    #[service(crate = crate)]
    #[did(1, read = fn sum() -> i32)]
    #[did(2, execute = fn add(a: i32, cx, b: i32) -> i32)]
    #[did(3, execute = async fn later(cx, by: i32) -> i32)]
    #[did(4, execute = async fn fails())]
    #[did(5, execute = fn reenter(cx) -> bool)]
    struct Sums {
        #[did(6, read, write)]
        x: i32,
        #[did(7, write = set_y)]
        y: i32,
    }

    impl Sums {
        fn sum(&self) -> i32 {
            self.x + self.y
        }

        fn add(&mut self, a: i32, cx: Call<Self>, b: i32) -> Result<i32, Fault> {
            assert_eq!(cx.name(), "name");
            self.x += 10 * a + b;
            Ok(self.x)
        }

        async fn later(cx: Call<Self>, by: i32) -> i32 {
            cx.actor(|this| {
                this.x += by;
                this.x
            })
            .await
        }

        async fn fails() -> Result<(), &'static str> {
            Err("no")
        }

        fn reenter(&mut self, cx: Call<Self>) -> bool {
            cx.actor(|_| ()).now_or_never().is_some()
        }

        fn set_y(&mut self, y: i32) -> Result<(), Fault> {
            self.y = if y > 5 { return Err(Fault::not_permitted("up to 5")) } else { y };
            Ok(())
        }
    }

    /// Runs an entry of a service whose x is 1 and y is 2, and shows the reply.
    fn run(entry: usize, data: &str) -> String {
        let state = State::new(Sums { x: 1, y: 2 }, Door::new(drop));
        let mut request = Request::new(Peer::of_handler(Arc::new(Link::new(
            "mem://test".into(),
            Arc::default(),
            1024 * 1024,
        ))));
        let header = *Message::new(30, 1, Json::NULL).header();
        request.set(header, Json::from_text(data).unwrap(), "name");
        let mut out = Vec::new();
        let outcome = match state.dispatch(entry, &request, &mut out) {
            Step::Now(outcome) => outcome.map(|()| out),
            Step::Later(future) => future.now_or_never().unwrap(),
            Step::Untaken => panic!("an entry takes its requests"),
        };
        match outcome {
            Ok(reply) => String::from_utf8(reply).unwrap(),
            Err(fault) => fault.to_string(),
        }
    }

    #[test]
    fn an_entry_runs_its_field_or_method() {
        let entries = [
            (0, "null", "3"),
            (1, "[2,3]", "24"),
            (2, "4", "5"),
            (5, "null", "1"),
            (6, "9", "null"),
            (7, "3", "null"),
            (7, "6", "operation not permitted (6): up to 5"),
            (3, "null", "callback error (2): no"),
            (99, "null", "service or data unknown (4)"),
        ];
        for (entry, data, expected) in entries {
            assert_eq!(run(entry, data), expected, "entry {entry}");
        }
    }

    #[test]
    fn data_that_do_not_fit_are_a_fault_with_the_reason() {
        for (entry, data) in [(1, "[1]"), (1, "1"), (2, "\"x\""), (6, "null"), (7, "[]")] {
            let outcome = run(entry, data);
            assert!(outcome.starts_with("callback error (2): invalid"), "{outcome}");
        }
    }

    #[test]
    #[should_panic(expected = "already")]
    fn a_sync_method_cannot_step_into_the_state_it_holds() {
        run(4, "null");
    }
}

//! What expansions of the derive macros name; not for hand-written code, and no part of the public API.

pub use crate::peer::call;
pub use crate::service::{encode, IntoReply, Request, State, Step};

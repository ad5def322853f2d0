//! What expansions of the derive macros name; not for hand-written code, and no part of the public API.

use serde::Serialize;

use crate::fault::Fault;
use crate::id::DataId;

pub use crate::peer::call;
pub use crate::service::{IntoReply, Request, State, Step, encode};

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

//! stub
use crate::id::{DataId, ServiceId};
use serde::{de::DeserializeOwned, Serialize};
/// stub
#[derive(Clone, Debug)]
pub struct Peer;
impl AsRef<Self> for Peer {
    fn as_ref(&self) -> &Self {
        self
    }
}
/// stub
#[derive(Debug)]
pub struct PendingCall<R>(std::marker::PhantomData<fn() -> R>);
impl<R> Future for PendingCall<R> {
    type Output = Result<R, crate::Fault>;
    fn poll(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        std::task::Poll::Pending
    }
}
/// stub
pub fn call<T: Serialize + ?Sized, R: DeserializeOwned>(
    _peer: &Peer,
    _service_id: ServiceId,
    _data_id: DataId,
    _shift: u32,
    _name: &'static str,
    _data: &T,
) -> PendingCall<R> {
    PendingCall(std::marker::PhantomData)
}

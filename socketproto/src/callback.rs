//! A closure as a service, for programs that decide at run time what they serve.

use crate::fault::Fault;
use crate::message::{Json, Message};
use crate::service::{Request, Service, ServiceTable, State, Step};

/// Runs a closure for every message of its key.
pub(crate) struct Callback<F>(pub(crate) F);

impl<F: FnMut(&Message) -> Result<Json, Fault> + 'static> Service for Callback<F> {
    const SERVICE: &'static ServiceTable = &ServiceTable::new("callback", "", &[]);

    fn dispatch(&mut self, _: &State<Self>, _entry: usize, request: &Request, out: &mut Vec<u8>) -> Step {
        let reply = (self.0)(&request.message());
        Step::Now(reply.map(|reply| out.extend_from_slice(reply.as_str().as_bytes())))
    }
}

//! The callbacks of an endpoint as one service, for programs that decide at run time what they serve.

use std::sync::Arc;

use crate::routes::Routes;
use crate::service::{Request, Service, ServiceTable, State, Step};

/// Runs, for each message, the closure that is registered for it when its turn comes.
pub(crate) struct Callbacks(pub(crate) Arc<Routes>);

impl Service for Callbacks {
    const SERVICE: &'static ServiceTable = &ServiceTable::new("callback", "", &[]);

    fn dispatch(&mut self, _: &State<Self>, _entry: usize, request: &Request, out: &mut Vec<u8>) -> Step {
        let Some(callback) = self.0.callback(request.service_id(), request.data_id()) else {
            // Removed while the message was on its way.
            return Step::Untaken;
        };
        let reply = callback.run(&request.message());
        Step::Now(reply.map(|reply| out.extend_from_slice(reply.as_str().as_bytes())))
    }
}

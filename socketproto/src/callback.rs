//! The callbacks of an endpoint as one service, for programs that decide at run time what they serve.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::id::{DataId, ServiceId};
use crate::routes::{Adopted, Closure, Routes};
use crate::service::{Request, Service, ServiceTable, State, Step};
use crate::session::dispatch::Dispatch;

/// Runs, for each message, the closure that is registered for it when its turn comes.
///
/// It owns the closures, so that they run without a lock; what has been registered meanwhile is taken over before the
/// next one runs.
pub(crate) struct Callbacks {
    routes: Arc<Routes>,
    version: u64,
    table: Arc<Dispatch>,
    closures: FxHashMap<usize, Closure>,
}

impl Callbacks {
    pub(crate) fn new(routes: Arc<Routes>) -> Self {
        let (version, table) = routes.snapshot();
        let mut callbacks = Self { routes, version, table, closures: FxHashMap::default() };
        callbacks.adopt(callbacks.routes.adopt());
        callbacks
    }

    /// Drops closures that were replaced or removed.
    pub(crate) fn release(&mut self) {
        for entry in self.routes.gone() {
            self.closures.remove(&entry);
        }
    }

    fn adopt(&mut self, Adopted { version, table, fresh, gone }: Adopted) {
        (self.version, self.table) = (version, table);
        self.closures.extend(fresh);
        for entry in gone {
            self.closures.remove(&entry);
        }
    }

    /// The closure that takes a message now; none where something else does, or nothing.
    fn closure(&mut self, service_id: ServiceId, data_id: DataId) -> Option<&mut Closure> {
        if self.routes.version() != self.version {
            self.adopt(self.routes.adopt());
        }
        let route = self.table.find(service_id, data_id)?;
        if route.handler != self.routes.handler() {
            return None;
        }
        self.closures.get_mut(&route.entry)
    }
}

impl Service for Callbacks {
    const SERVICE: &'static ServiceTable = &ServiceTable::new("callback", "", &[]);

    fn dispatch(&mut self, _: &State<Self>, _entry: usize, request: &Request, out: &mut Vec<u8>) -> Step {
        let Some(closure) = self.closure(request.header().service_id, request.data_id()) else {
            // Removed while the message was on its way.
            return Step::Untaken;
        };
        let reply = closure(&request.message());
        Step::Now(reply.map(|reply| out.extend_from_slice(reply.as_str().as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Json, Message};

    fn says(text: &'static str) -> Closure {
        Box::new(move |_| Ok(Json::encode(text)?))
    }

    fn said(callbacks: &mut Callbacks, service_id: u32, data_id: u32) -> Option<String> {
        let closure = callbacks.closure(service_id.into(), data_id.into())?;
        closure(&Message::new(service_id, data_id, Json::NULL)).ok()?.decode().ok()
    }

    #[test]
    fn a_callback_is_replaced_and_removed_at_once() {
        let routes = Arc::new(Routes::default());
        routes.register(None, None, says("any")).unwrap();
        let mut callbacks = Callbacks::new(Arc::clone(&routes));
        assert_eq!(said(&mut callbacks, 20, 5).as_deref(), Some("any"), "it was there before");
        routes.register(Some(20.into()), None, says("first")).unwrap();
        assert_eq!(said(&mut callbacks, 20, 5).as_deref(), Some("first"));
        routes.register(Some(20.into()), None, says("second")).unwrap();
        assert_eq!(said(&mut callbacks, 20, 5).as_deref(), Some("second"));
        assert!(routes.unregister(Some(20.into()), None));
        assert_eq!(said(&mut callbacks, 20, 5).as_deref(), Some("any"), "the next in the order");
        assert!(routes.unregister(None, None));
        assert_eq!(said(&mut callbacks, 20, 5), None);
        assert!(!routes.unregister(None, None));
        assert!(callbacks.closures.is_empty());
    }

    #[test]
    fn a_closure_that_is_of_no_use_is_dropped_without_a_message() {
        let routes = Arc::new(Routes::default());
        let mut callbacks = Callbacks::new(Arc::clone(&routes));
        let held = Arc::new(());
        let holder = || -> Closure {
            let held = Arc::clone(&held);
            Box::new(move |_| Ok(Json::encode(&Arc::strong_count(&held))?))
        };
        routes.register(None, None, holder()).unwrap();
        routes.register(None, None, holder()).unwrap();
        assert_eq!(Arc::strong_count(&held), 2, "the first was never taken over");
        assert!(callbacks.closure(20.into(), 1.into()).is_some());
        routes.register(None, None, says("other")).unwrap();
        callbacks.release();
        assert_eq!(Arc::strong_count(&held), 1);
        routes.register(None, None, holder()).unwrap();
        routes.clear();
        assert_eq!(Arc::strong_count(&held), 1, "nor was the last");
    }

    #[test]
    fn a_callback_registers_and_removes_from_inside() {
        let routes = Arc::new(Routes::default());
        let mut callbacks = Callbacks::new(Arc::clone(&routes));
        let inside = Arc::clone(&routes);
        let closure = Box::new(move |_: &Message| {
            inside.register(None, None, says("new"))?;
            assert!(inside.unregister(Some(20.into()), None));
            Ok(Json::encode("old")?)
        });
        routes.register(Some(20.into()), None, closure).unwrap();
        assert_eq!(said(&mut callbacks, 20, 1).as_deref(), Some("old"));
        assert_eq!(said(&mut callbacks, 20, 1).as_deref(), Some("new"));
    }
}

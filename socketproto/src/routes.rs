//! What a running endpoint serves, and how that changes: one table for all its connections.
//!
//! ```text
//!  register_callback, add_service, .. ──▶ Routes ──snapshot, when its version has changed──▶ sessions
//!                                           ▲
//!                                           └── asked by the callbacks' service for each message it runs
//! ```
//! Connections compare a version once a turn, and take a snapshot where it differs. Callbacks are looked up when they
//! run, so that one which was replaced or removed never runs again.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

use rustc_hash::FxHashMap;
use tracing::{debug, warn};

use crate::error::{Error, Result};
use crate::fault::Fault;
use crate::id::{DataId, ServiceId, Status};
use crate::message::{Json, Message};
use crate::session::dispatch::{Dispatch, Route};

/// How errors and logs call callbacks.
const CALLBACK: &str = "a callback";

/// What a callback runs.
pub(crate) type Closure = Box<dyn FnMut(&Message) -> Result<Json, Fault> + Send>;

/// What has changed for the service of all callbacks.
pub(crate) struct Adopted {
    pub(crate) version: u64,
    pub(crate) table: Arc<Dispatch>,
    /// New closures, by the entries of their routes.
    pub(crate) fresh: FxHashMap<usize, Closure>,
    /// Closures that were replaced or removed.
    pub(crate) gone: Vec<usize>,
}

/// The table of one endpoint.
pub(crate) struct Routes {
    /// Counts the changes; what a snapshot was made at tells whether it is the newest.
    version: AtomicU64,
    inner: Mutex<Inner>,
    /// The position of the callbacks' service among the handlers.
    handler: usize,
    /// How the other handlers are called, by position.
    names: Vec<Box<str>>,
    /// The time a callback may take.
    timeout: Duration,
    /// The threads on which its connections and services run, once it is started.
    home: OnceLock<Box<[ThreadId]>>,
    /// Tells the callbacks' service that it holds closures which are of no use any more.
    release: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

struct Inner {
    /// Shared with the sessions until it is changed.
    table: Arc<Dispatch>,
    /// Closures that the callbacks' service has yet to take over.
    fresh: FxHashMap<usize, Closure>,
    /// Closures that it has taken over and may drop.
    gone: Vec<usize>,
    next: usize,
    ended: bool,
    /// How often the table has been copied.
    #[cfg(test)]
    copies: usize,
}

impl Routes {
    /// A table of handlers with these names; the callbacks' service comes behind them.
    pub(crate) fn new(table: Dispatch, names: Vec<Box<str>>, timeout: Duration) -> Self {
        let inner = Inner {
            table: Arc::new(table),
            fresh: FxHashMap::default(),
            gone: Vec::new(),
            next: 0,
            ended: false,
            #[cfg(test)]
            copies: 0,
        };
        Self {
            version: AtomicU64::new(0),
            inner: Mutex::new(inner),
            handler: names.len(),
            names,
            timeout,
            home: OnceLock::new(),
            release: OnceLock::new(),
        }
    }

    /// The endpoint runs on these threads.
    pub(crate) fn settle(&self, threads: Box<[ThreadId]>) {
        // It is started once.
        let _ = self.home.set(threads);
    }

    /// Whether the endpoint runs on this thread, so that waiting here for it might never end.
    #[cfg(feature = "blocking")]
    pub(crate) fn is_home(&self) -> bool {
        self.home.get().is_some_and(|threads| threads.contains(&std::thread::current().id()))
    }

    /// Sets how the callbacks' service is told to let go of closures; it calls `gone` then.
    pub(crate) fn on_release(&self, release: impl Fn() + Send + Sync + 'static) {
        // There is one such service, started once.
        let _ = self.release.set(Box::new(release));
    }

    // For sessions and the callbacks' service

    /// The newest snapshot with its version.
    pub(crate) fn snapshot(&self) -> (u64, Arc<Dispatch>) {
        let inner = self.lock();
        (self.version(), Arc::clone(&inner.table))
    }

    /// The newest snapshot, where it is newer than this version.
    pub(crate) fn newer(&self, version: u64) -> Option<(u64, Arc<Dispatch>)> {
        (self.version() != version).then(|| self.snapshot())
    }

    /// Counts the changes.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The position of the callbacks' service among the handlers.
    pub(crate) fn handler(&self) -> usize {
        self.handler
    }

    /// What has changed for the callbacks' service.
    pub(crate) fn adopt(&self) -> Adopted {
        let mut inner = self.lock();
        Adopted {
            version: self.version(),
            table: Arc::clone(&inner.table),
            fresh: std::mem::take(&mut inner.fresh),
            gone: std::mem::take(&mut inner.gone),
        }
    }

    /// The closures that the callbacks' service may drop. Unlike a snapshot it makes no later change dearer.
    pub(crate) fn gone(&self) -> Vec<usize> {
        std::mem::take(&mut self.lock().gone)
    }

    // What changes it

    /// Sets the callback of a key; `None` stands for all ids.
    pub(crate) fn register(
        &self,
        service_id: Option<ServiceId>,
        data_id: Option<DataId>,
        closure: Closure,
    ) -> Result<()> {
        let retired = {
            let mut inner = self.lock();
            // One step with what follows: an endpoint that ends in between would keep the closure for ever.
            self.check_key(&inner, service_id, data_id)?;
            let (handler, timeout, entry) = (self.handler, self.timeout, inner.next);
            inner.next += 1;
            inner.fresh.insert(entry, closure);
            let route = Route { handler, entry, timeout, name: "callback" };
            let before = inner.table_mut().insert(service_id, data_id, route);
            self.version.fetch_add(1, Ordering::AcqRel);
            before.map(|before| inner.retire(before.entry))
        };
        let replaced = self.release(retired);
        if replaced {
            warn!(callback = key(service_id, data_id), "callback replaced");
        } else {
            debug!(callback = key(service_id, data_id), "callback registered");
        }
        Ok(())
    }

    /// Removes the callback of a key; false where there was none.
    pub(crate) fn unregister(&self, service_id: Option<ServiceId>, data_id: Option<DataId>) -> bool {
        let mut inner = self.lock();
        // A derived service stays. Where nothing changes nothing is copied.
        let there =
            inner.table.get(service_id, data_id).filter(|route| route.handler == self.handler).copied();
        let retired = there.map(|route| {
            inner.table_mut().remove(service_id, data_id);
            self.version.fetch_add(1, Ordering::AcqRel);
            inner.retire(route.entry)
        });
        drop(inner);
        let removed = self.release(retired);
        if removed {
            debug!(callback = key(service_id, data_id), "callback removed");
        }
        removed
    }

    /// Lets go of a closure; false where there was none.
    fn release(&self, retired: Option<Retired>) -> bool {
        match &retired {
            Some(Retired::First) => self.release.get().into_iter().for_each(|release| release()),
            Some(Retired::Unused(_) | Retired::Further) | None => {}
        }
        retired.is_some()
    }

    /// Declares a service, with names for its two ids.
    pub(crate) fn add_service(
        &self,
        (request, response): (ServiceId, ServiceId),
        names: Option<(&str, &str)>,
    ) -> Result<()> {
        self.change(|inner| {
            // A mistake changes nothing; asked of a copy it would cost one.
            inner.table.check_service(request, response)?;
            let table = inner.table_mut();
            table.add_service(request, response)?;
            if let Some((request_name, response_name)) = names {
                table.names_mut().name_service(request, request_name);
                table.names_mut().name_service(response, response_name);
            }
            Ok(())
        })
    }

    /// Names a datum of some service ids.
    pub(crate) fn add_data(&self, service_ids: &[ServiceId], data_id: DataId, name: &str) {
        self.change(|inner| {
            let names = inner.table_mut().names_mut();
            service_ids.iter().for_each(|service_id| names.name_data(*service_id, data_id, name));
        });
    }

    /// Names a status.
    pub(crate) fn add_status(&self, status: Status, name: &str) {
        self.change(|inner| inner.table_mut().names_mut().name_status(status, name));
    }

    /// Serves a message to peers that are not trusted.
    pub(crate) fn whitelist(&self, service_id: ServiceId, data_id: DataId) {
        self.change(|inner| inner.table_mut().whitelist(service_id, data_id));
    }

    /// Keeps messages that no callback takes for `receive`, from now on.
    pub(crate) fn buffer(&self) {
        if !self.snapshot().1.buffers() {
            self.change(|inner| inner.table_mut().buffer());
        }
    }

    /// The endpoint has ended: closures may hold its handles, and would hold them for ever.
    pub(crate) fn clear(&self) {
        let mut inner = self.lock();
        inner.ended = true;
        let callbacks = std::mem::take(&mut inner.fresh);
        // Their destructors may come back here.
        drop(inner);
        drop(callbacks);
    }

    /// One change; what it gives is dropped outside of the lock, for it may be foreign code.
    fn change<R>(&self, change: impl FnOnce(&mut Inner) -> R) -> R {
        let mut inner = self.lock();
        let changed = change(&mut inner);
        self.version.fetch_add(1, Ordering::AcqRel);
        drop(inner);
        changed
    }

    /// A key that a derived service declares, or that belongs to the framework, takes no callback.
    fn check_key(&self, inner: &Inner, service_id: Option<ServiceId>, data_id: Option<DataId>) -> Result<()> {
        if let Some(service_id) = service_id.filter(|service_id| service_id.is_reserved()) {
            return Err(Error::ReservedSid { service_id });
        }
        if inner.ended {
            return Err(Error::ShutDown);
        }
        let owner = inner.table.get(service_id, data_id).and_then(|route| self.names.get(route.handler));
        match owner {
            None => Ok(()),
            Some(owner) => Err(Error::DuplicateHandler {
                key: key(service_id, data_id).into(),
                first: owner.clone(),
                second: CALLBACK.into(),
            }),
        }
    }

    /// Each change is one step and runs no foreign code, so a poisoned lock holds sound data.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A closure that is of no use any more.
enum Retired {
    /// Nobody has taken it over; dropped by the one who retired it, outside of the lock.
    Unused(#[expect(dead_code, reason = "dropped, not read")] Closure),
    /// The first that the callbacks' service has yet to drop, so it has to be told.
    First,
    /// It has been told already.
    Further,
}

impl Inner {
    fn retire(&mut self, entry: usize) -> Retired {
        if let Some(unused) = self.fresh.remove(&entry) {
            return Retired::Unused(unused);
        }
        self.gone.push(entry);
        if self.gone.len() == 1 { Retired::First } else { Retired::Further }
    }

    /// The table, copied where a session still reads it: once for all changes between two snapshots.
    fn table_mut(&mut self) -> &mut Dispatch {
        #[cfg(test)]
        if Arc::get_mut(&mut self.table).is_none() {
            self.copies += 1;
        }
        Arc::make_mut(&mut self.table)
    }
}

impl Default for Routes {
    fn default() -> Self {
        Self::new(Dispatch::new(), Vec::new(), Duration::ZERO)
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").field("version", &self.version).finish_non_exhaustive()
    }
}

/// A key as errors and logs call it.
pub(crate) fn key(service_id: Option<ServiceId>, data_id: Option<DataId>) -> String {
    let service = service_id.map_or("any service".to_owned(), |service_id| service_id.to_string());
    let data = data_id.map_or("any data".to_owned(), |data_id| data_id.to_string());
    format!("{service} of {data}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(text: &'static str) -> Closure {
        Box::new(move |_| Ok(Json::encode(text).unwrap_or_default()))
    }

    /// A lamp serves 10/1; all else is free.
    fn routes() -> Routes {
        let mut table = Dispatch::new();
        let route = Route { handler: 0, entry: 0, timeout: Duration::ZERO, name: "on" };
        table.insert(Some(10.into()), Some(1.into()), route);
        Routes::new(table, vec!["lamp".into()], Duration::ZERO)
    }

    #[test]
    fn what_a_derived_service_declares_and_reserved_ids_take_no_callback() {
        let routes = routes();
        assert_eq!(
            routes.register(Some(10.into()), Some(1.into()), says("")).unwrap_err().to_string(),
            "read data request (10) of data 1 is served twice: by lamp and by a callback; \
             move one with `.service_at(SHIFT, ..)`"
        );
        for reserved in [0, 1, 8, 9, 0xFFFF_0000, u32::MAX] {
            let refused = routes.register(Some(reserved.into()), None, says(""));
            assert!(matches!(refused, Err(Error::ReservedSid { .. })), "{reserved}");
        }
        assert!(!routes.unregister(Some(10.into()), Some(1.into())), "the lamp stays");
        routes.register(None, None, says("")).unwrap();
        let found = |service_id: u32| routes.snapshot().1.find(service_id.into(), 1.into()).unwrap().handler;
        assert_eq!((found(10), found(20)), (0, 1), "the lamp goes first");
    }

    #[test]
    fn a_mistake_about_a_service_is_told_at_once_and_changes_nothing() {
        let routes = routes();
        let add = |request: u32, response: u32| routes.add_service((request.into(), response.into()), None);
        add(40, 41).unwrap();
        assert!(matches!(add(40, 43), Err(Error::RequestSidExists { .. })));
        assert!(matches!(add(42, 41), Err(Error::ResponseSidExists { .. })));
        assert!(matches!(add(8, 43), Err(Error::ReservedSid { .. })));
        let (_, table) = routes.snapshot();
        assert_eq!(table.response_of(40.into()), Some(41.into()));
        assert!(!table.is_response(43.into()) && table.response_of(42.into()).is_none());
    }

    #[test]
    fn many_changes_cost_one_copy() {
        let routes = routes();
        let (version, _held) = routes.snapshot();
        assert!(routes.newer(version).is_none());
        for data_id in 0..10_000 {
            routes.register(Some(20.into()), Some(data_id.into()), says("x")).unwrap();
        }
        let (version, table) = routes.newer(version).unwrap();
        assert!(table.find(20.into(), 9_999.into()).is_some());
        assert_eq!(routes.lock().copies, 1);
        for data_id in 0..10_000 {
            assert!(routes.unregister(Some(20.into()), Some(data_id.into())));
        }
        assert_eq!(routes.lock().copies, 2);
        assert!(routes.newer(version).is_some());
        assert!(routes.lock().fresh.is_empty());
    }
}

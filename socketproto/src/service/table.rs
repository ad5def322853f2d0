//! What a service offers, as data that the compiler has made.

use std::time::Duration;

use crate::id::{DataId, ServiceId};

/// What one service offers, in the order of its declaration.
#[derive(Clone, Copy, Debug)]
pub struct ServiceTable {
    name: &'static str,
    description: &'static str,
    entries: &'static [Entry],
    services: &'static [OwnService],
    hooks: bool,
    own_thread: bool,
}

impl ServiceTable {
    /// A table; the derive writes this call.
    pub const fn new(name: &'static str, description: &'static str, entries: &'static [Entry]) -> Self {
        Self { name, description, entries, services: &[], hooks: false, own_thread: false }
    }

    /// Sets the services of its own that the entries use.
    #[must_use]
    pub const fn with_services(mut self, services: &'static [OwnService]) -> Self {
        self.services = services;
        self
    }

    /// Lets the service be told of its peers, and of its start and end.
    #[must_use]
    pub const fn hooks(mut self) -> Self {
        self.hooks = true;
        self
    }

    /// Lets the service run on a thread of its own.
    #[must_use]
    pub const fn own_thread(mut self) -> Self {
        self.own_thread = true;
        self
    }

    /// The name of the service: `#[service(name = "..")]`, else the name of the struct.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The doc comment of the struct.
    pub const fn description(&self) -> &'static str {
        self.description
    }

    /// One entry for each operation on each datum.
    pub const fn entries(&self) -> &'static [Entry] {
        self.entries
    }

    /// The services beside read, write and execute: one for each `#[sid(..)]`.
    ///
    /// ```
    /// use socketproto::prelude::*;
    ///
    /// #[derive(Service)]
    /// #[sid(history, request = 40, response = 41)]
    /// #[did(1, history = fn last(count: usize) -> Vec<f64>)]
    /// struct Recorder {
    ///     values: Vec<f64>,
    /// }
    ///
    /// impl Recorder {
    ///     fn last(&mut self, count: usize) -> Vec<f64> {
    ///         self.values.iter().rev().take(count).copied().collect()
    ///     }
    /// }
    ///
    /// let history = Recorder::SERVICE.services()[0];
    /// assert_eq!((history.name(), history.request().value(), history.response().value()), ("history", 40, 41));
    /// assert_eq!(Recorder::SERVICE.entries()[0].service_id(), history.request());
    /// ```
    pub const fn services(&self) -> &'static [OwnService] {
        self.services
    }

    /// Whether the service is told of its peers: `#[service(hooks)]`.
    pub const fn has_hooks(&self) -> bool {
        self.hooks
    }

    /// Whether the service runs on a thread of its own: `#[service(own_thread)]`.
    pub const fn has_own_thread(&self) -> bool {
        self.own_thread
    }
}

/// A service beside read, write and execute: `#[sid(NAME, request = N, response = M)]`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OwnService {
    name: &'static str,
    request: ServiceId,
    response: ServiceId,
}

impl OwnService {
    /// A service; the derive writes this call.
    pub const fn new(name: &'static str, request: ServiceId, response: ServiceId) -> Self {
        Self { name, request, response }
    }

    /// Its word in `#[did(..)]`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The service id of its requests.
    pub const fn request(&self) -> ServiceId {
        self.request
    }

    /// The service id of its responses.
    pub const fn response(&self) -> ServiceId {
        self.response
    }
}

/// One operation on one datum of a service.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    service_id: ServiceId,
    data_id: DataId,
    name: &'static str,
    description: &'static str,
    public: bool,
    notify: bool,
    fallback: bool,
    exclusive: bool,
    no_cancel: bool,
    timeout: Option<Duration>,
}

impl Entry {
    /// An entry; the derive writes this call.
    pub const fn new(service_id: ServiceId, data_id: DataId, name: &'static str) -> Self {
        Self {
            service_id,
            data_id,
            name,
            description: "",
            public: false,
            notify: false,
            fallback: false,
            exclusive: false,
            no_cancel: false,
            timeout: None,
        }
    }

    /// An entry for every data id of a service that no other entry takes; the derive writes this call.
    pub const fn fallback(service_id: ServiceId, name: &'static str) -> Self {
        let mut entry = Self::new(service_id, DataId::new(0), name);
        entry.fallback = true;
        entry
    }

    /// Sets the description.
    #[must_use]
    pub const fn describe(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }

    /// Puts the entry on the authentication whitelist.
    #[must_use]
    pub const fn public(mut self) -> Self {
        self.public = true;
        self
    }

    /// Lets peers subscribe to changes. It has no effect yet.
    #[must_use]
    pub const fn notify(mut self) -> Self {
        self.notify = true;
        self
    }

    /// Lets no other request of the service begin while it runs.
    #[must_use]
    pub const fn exclusive(mut self) -> Self {
        self.exclusive = true;
        self
    }

    /// Lets it run to its end when nobody waits for its answer any more.
    #[must_use]
    pub const fn no_cancel(mut self) -> Self {
        self.no_cancel = true;
        self
    }

    /// Sets how long it may take.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The request service id: 10 read, 20 write, 30 execute, or that of an own service.
    pub const fn service_id(&self) -> ServiceId {
        self.service_id
    }

    /// The data id, before `service_at` shifts it; 0, and without meaning, where [`Entry::is_fallback`].
    pub const fn data_id(&self) -> DataId {
        self.data_id
    }

    /// The name of the datum: `name = ".."`, else the field's or method's.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The doc comment of the field; empty for methods.
    pub const fn description(&self) -> &'static str {
        self.description
    }

    /// Whether peers that have not authenticated may use it.
    pub const fn is_public(&self) -> bool {
        self.public
    }

    /// Whether peers may subscribe to it.
    pub const fn is_notify(&self) -> bool {
        self.notify
    }

    /// Whether it takes every data id that no other entry of its service takes: `#[did(.., read, fallback = method)]`.
    pub const fn is_fallback(&self) -> bool {
        self.fallback
    }

    /// Whether no other request of the service begins while it runs.
    pub const fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    /// Whether it runs to its end when its peer has gone or its time is over.
    pub const fn is_no_cancel(&self) -> bool {
        self.no_cancel
    }

    /// How long it may take; none where the endpoint's limit holds.
    pub const fn timeout(&self) -> Option<Duration> {
        self.timeout
    }
}

//! What an endpoint serves: collected while it is built, then turned into the table it runs with.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::id::{DataId, ServiceId, Status};
use crate::routes::{Closure, Routes, key};
use crate::service::{Entry, OwnService, ServiceTable};
use crate::session::dispatch::{Dispatch, Route};

/// Collects handlers; `H` is what starts one.
pub(crate) struct Registry<H> {
    handlers: Vec<Registered<H>>,
    /// Those of derived services, with the service's name.
    declared: Vec<(&'static str, OwnService)>,
    services: Vec<(ServiceId, ServiceId, Option<PairNames>)>,
    callbacks: Vec<(Option<ServiceId>, Option<DataId>, Closure)>,
    whitelist: Vec<(ServiceId, DataId)>,
    data: Vec<(Vec<ServiceId>, DataId, String)>,
    statuses: Vec<(Status, String)>,
}

/// The names of a service's request and response ids.
pub(crate) type PairNames = (String, String);

struct Registered<H> {
    /// How errors call it.
    name: String,
    routes: Vec<Declared>,
    handler: H,
}

/// One key of a handler.
struct Declared {
    service_id: ServiceId,
    /// None: all of them.
    data_id: Option<DataId>,
    entry: usize,
    name: &'static str,
    timeout: Option<Duration>,
}

impl<H> Registry<H> {
    pub(crate) const fn new() -> Self {
        Self {
            handlers: Vec::new(),
            declared: Vec::new(),
            services: Vec::new(),
            callbacks: Vec::new(),
            whitelist: Vec::new(),
            data: Vec::new(),
            statuses: Vec::new(),
        }
    }

    /// Adds a derived service, its data ids shifted.
    pub(crate) fn add_table(&mut self, table: &'static ServiceTable, shift: u32, handler: H) -> Result<()> {
        let mut routes = Vec::new();
        for (entry, declared) in table.entries().iter().enumerate() {
            let service_id = declared.service_id();
            let data_id = if declared.is_fallback() { None } else { Some(shifted(table, declared, shift)?) };
            if declared.is_public() {
                self.whitelist.extend(data_id.map(|data_id| (service_id, data_id)));
            }
            let (name, timeout) = (declared.name(), declared.timeout());
            routes.push(Declared { service_id, data_id, entry, name, timeout });
        }
        self.declared.extend(table.services().iter().map(|service| (table.name(), *service)));
        let name = if shift == 0 { table.name().to_owned() } else { format!("{} at {shift}", table.name()) };
        self.handlers.push(Registered { name, routes, handler });
        Ok(())
    }

    /// Adds a callback for one key; `None` stands for all ids. A later one for the same key replaces it.
    pub(crate) fn add_callback(
        &mut self,
        service_id: Option<ServiceId>,
        data_id: Option<DataId>,
        closure: Closure,
    ) {
        self.callbacks.push((service_id, data_id, closure));
    }

    pub(crate) fn add_service(
        &mut self,
        (request, response): (ServiceId, ServiceId),
        names: Option<PairNames>,
    ) {
        self.services.push((request, response, names));
    }

    pub(crate) fn add_to_whitelist(&mut self, service_id: ServiceId, data_id: DataId) {
        self.whitelist.push((service_id, data_id));
    }

    pub(crate) fn add_data(&mut self, service_ids: Vec<ServiceId>, data_id: DataId, name: String) {
        self.data.push((service_ids, data_id, name));
    }

    pub(crate) fn add_status(&mut self, status: Status, name: String) {
        self.statuses.push((status, name));
    }

    /// The table, and the handlers in the order of its routes; the last one, which `callbacks` makes, is the service of
    /// all callbacks.
    pub(crate) fn build(
        self,
        timeout: Duration,
        callbacks: impl FnOnce(Arc<Routes>) -> H,
    ) -> Result<(Arc<Routes>, Vec<H>)> {
        let mut dispatch = Dispatch::new();
        for (position, (owner, service)) in self.declared.iter().enumerate() {
            match clash(&self.declared[..position], service) {
                None => dispatch.add_service(service.request(), service.response())?,
                Some((_, other)) if is_same(other, service) => {}
                Some(first) => return Err(contradiction(*first, (owner, *service))),
            }
            let (request, response) =
                (format!("{} request", service.name()), format!("{} response", service.name()));
            dispatch.names_mut().name_service(service.request(), &request);
            dispatch.names_mut().name_service(service.response(), &response);
        }
        for (service_id, data_id) in self.whitelist {
            dispatch.whitelist(service_id, data_id);
        }
        let names: Vec<Box<str>> = self.handlers.iter().map(|handler| handler.name.as_str().into()).collect();
        let mut handlers = Vec::new();
        for (handler, registered) in self.handlers.into_iter().enumerate() {
            for Declared { service_id, data_id, entry, name, timeout: own } in registered.routes {
                let service = Some(service_id);
                if service_id.is_reserved() {
                    return Err(Error::ReservedSid { service_id });
                }
                if let Some(data_id) = data_id {
                    dispatch.names_mut().name_data(service_id, data_id, name);
                }
                let route = Route { handler, entry, timeout: own.unwrap_or(timeout), name };
                if let Some(before) = dispatch.insert(service, data_id, route) {
                    return Err(Error::DuplicateHandler {
                        key: key(service, data_id).into(),
                        first: names.get(before.handler).cloned().unwrap_or_default(),
                        second: registered.name.into(),
                    });
                }
            }
            handlers.push(registered.handler);
        }
        let routes = Routes::new(dispatch, names, timeout);
        for (request, response, names) in self.services {
            // A program may declare by hand what one of its services brings along.
            let brought = |(_, own): &(_, OwnService)| (own.request(), own.response()) == (request, response);
            if !self.declared.iter().any(brought) {
                let names = names.as_ref().map(|(request, response)| (request.as_str(), response.as_str()));
                routes.add_service((request, response), names)?;
            }
        }
        for (service_ids, data_id, name) in self.data {
            routes.add_data(&service_ids, data_id, &name);
        }
        for (status, name) in self.statuses {
            routes.add_status(status, &name);
        }
        for (service_id, data_id, closure) in self.callbacks {
            routes.register(service_id, data_id, closure)?;
        }
        let routes = Arc::new(routes);
        handlers.push(callbacks(Arc::clone(&routes)));
        Ok((routes, handlers))
    }
}

fn shifted(table: &ServiceTable, entry: &Entry, shift: u32) -> Result<DataId> {
    let data_id = entry.data_id();
    data_id.value().checked_add(shift).map(DataId::new).ok_or_else(|| Error::Config {
        setting: "service_at",
        reason: format!("shifting {data_id} of {} by {shift} exceeds 2^32 - 1", table.name()).into(),
    })
}

/// The first of these that shares an id with the service.
fn clash<'a>(
    declared: &'a [(&'static str, OwnService)],
    service: &OwnService,
) -> Option<&'a (&'static str, OwnService)> {
    let ids = [service.request(), service.response()];
    declared.iter().find(|(_, other)| ids.contains(&other.request()) || ids.contains(&other.response()))
}

fn is_same(a: &OwnService, b: &OwnService) -> bool {
    (a.request(), a.response()) == (b.request(), b.response())
}

fn contradiction(first: (&str, OwnService), second: (&str, OwnService)) -> Error {
    let text = |(owner, service): (&str, OwnService)| {
        let (request, response) = (service.request().value(), service.response().value());
        format!("`#[sid({}, request = {request}, response = {response})]` of {owner}", service.name())
    };
    Error::Config {
        setting: "sid",
        reason: format!("{} contradicts {}; one id has one role", text(second), text(first)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Json, Message};

    static LAMP: ServiceTable = ServiceTable::new(
        "lamp",
        "",
        &[
            Entry::new(ServiceId::READ_REQUEST, DataId::new(1), "on").public(),
            Entry::new(ServiceId::WRITE_REQUEST, DataId::new(1), "on"),
        ],
    );

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn closure() -> Closure {
        Box::new(|_| Ok(Json::NULL))
    }

    #[test]
    fn a_table_becomes_routes_to_its_entries() {
        let mut registry = Registry::new();
        registry.add_table(&LAMP, 0, "first").unwrap();
        registry.add_table(&LAMP, 100, "second").unwrap();
        let (routes, handlers) = registry.build(TIMEOUT, |_| "callbacks").unwrap();
        let (_, dispatch) = routes.snapshot();
        assert_eq!(handlers, ["first", "second", "callbacks"]);
        let found = |service_id: u32, data_id: u32| {
            dispatch.find(service_id.into(), data_id.into()).map(|route| (route.handler, route.entry))
        };
        assert_eq!(found(10, 1), Some((0, 0)));
        assert_eq!(found(20, 1), Some((0, 1)));
        assert_eq!(found(20, 101), Some((1, 1)));
        assert_eq!(found(30, 1), None);
        assert!(dispatch.is_whitelisted(11.into(), 101.into()));
        assert!(!dispatch.is_whitelisted(20.into(), 1.into()));
        let described = |service_id: u32| {
            dispatch.describe(Message::new(service_id, 101, Json::NULL).header()).to_string()
        };
        assert_eq!(described(20), "write data request (20) of on (data 101)");
        assert_eq!(described(11), "read data response (11) of on (data 101), okay (0)");
    }

    #[test]
    fn two_handlers_for_one_datum_are_an_error_that_names_both() {
        let mut registry = Registry::new();
        // Whichever is registered first.
        registry.add_callback(Some(20.into()), Some(1.into()), closure());
        registry.add_table(&LAMP, 0, ()).unwrap();
        assert_eq!(
            registry.build(TIMEOUT, |_| ()).unwrap_err().to_string(),
            "write data request (20) of data 1 is served twice: by lamp and by a callback; \
             move one with `.service_at(SHIFT, ..)`"
        );
    }

    const fn own(name: &'static str, request: u32, response: u32) -> OwnService {
        OwnService::new(name, ServiceId::new(request), ServiceId::new(response))
    }

    static RECORDER: ServiceTable = ServiceTable::new(
        "recorder",
        "",
        &[
            Entry::new(ServiceId::new(40), DataId::new(1), "last").with_timeout(Duration::from_secs(2)),
            Entry::fallback(ServiceId::new(40), "other"),
        ],
    )
    .with_services(&[own("history", 40, 41), own("erase", 42, 43)]);

    #[test]
    fn a_fallback_takes_what_is_left_and_a_declared_time_goes_first() {
        let mut registry = Registry::new();
        registry.add_table(&RECORDER, 100, ()).unwrap();
        let (_, dispatch) = registry.build(TIMEOUT, |_| ()).unwrap().0.snapshot();
        let found =
            |data_id: u32| dispatch.find(40.into(), data_id.into()).map(|route| (route.entry, route.timeout));
        assert_eq!(found(101), Some((0, Duration::from_secs(2))));
        assert_eq!(found(1), Some((1, TIMEOUT)));
        assert_eq!(dispatch.response_of(42.into()), Some(43.into()));
        let last = Message::new(40, 101, Json::NULL);
        assert_eq!(dispatch.describe(last.header()).to_string(), "history request (40) of last (data 101)");
    }

    #[test]
    fn equal_pairs_are_declared_as_often_as_one_likes_others_contradict() {
        static SAME: ServiceTable =
            ServiceTable::new("same", "", &[]).with_services(&[own("log", 42, 43), own("history", 40, 41)]);
        static CROSSED: ServiceTable =
            ServiceTable::new("crossed", "", &[]).with_services(&[own("crossed", 41, 42)]);
        let mut registry = Registry::new();
        registry.add_table(&RECORDER, 0, ()).unwrap();
        registry.add_table(&SAME, 0, ()).unwrap();
        registry.add_service((42.into(), 43.into()), None);
        assert!(registry.build(TIMEOUT, |_| ()).is_ok());

        let mut registry = Registry::new();
        registry.add_table(&RECORDER, 0, ()).unwrap();
        registry.add_table(&CROSSED, 0, ()).unwrap();
        let error = registry.build(TIMEOUT, |_| ()).unwrap_err().to_string();
        assert!(
            error.contains("of crossed contradicts `#[sid(history, request = 40, response = 41)]`"),
            "{error}"
        );
    }

    #[test]
    fn a_shift_may_not_leave_the_range() {
        let mut registry = Registry::new();
        let error = registry.add_table(&LAMP, u32::MAX, ()).unwrap_err();
        assert!(error.to_string().starts_with("service_at: shifting data 1 of lamp"), "{error}");
    }

    #[test]
    fn a_callback_for_a_reserved_service_is_refused() {
        let mut registry = Registry::new();
        registry.add_callback(Some(8.into()), None, closure());
        assert!(matches!(registry.build(TIMEOUT, |_| ()), Err(Error::ReservedSid { .. })));
    }
}

//! Which callback takes a message, and who may send it (protocol.md sections 5.3 and 6).
//!
//! A session reads a snapshot of it, with one hash look-up for a declared id; a changed one replaces it as a whole.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::error::Error;
use crate::id::{DataId, ServiceId};
use crate::message::Header;
use crate::names::Names;

/// Where a message goes: which handler of the endpoint, and which entry of its table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Route {
    pub(crate) handler: usize,
    pub(crate) entry: usize,
    pub(crate) timeout: Duration,
    pub(crate) name: &'static str,
}

/// What becomes of a request that no callback takes (protocol.md section 6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Untaken {
    /// Its datum is declared for another service: status 6.
    Declared,
    /// Its service has callbacks, for other data: status 4.
    Served,
    /// Nobody serves anything of the kind: a message for `receive`.
    Nobody,
}

/// The callbacks, services, whitelist and names of an endpoint.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dispatch {
    exact: FxHashMap<(ServiceId, DataId), Route>,
    any_data: FxHashMap<ServiceId, Route>,
    any_service: FxHashMap<DataId, Route>,
    any: Option<Route>,
    services: FxHashMap<ServiceId, ServiceId>,
    responses: FxHashMap<ServiceId, ServiceId>,
    /// Data with the services they are declared for: a request for another operation on them is status 6.
    declared: BTreeSet<(DataId, ServiceId)>,
    /// How many data each service has callbacks for.
    served: FxHashMap<ServiceId, usize>,
    whitelist: FxHashSet<(ServiceId, DataId)>,
    names: Arc<Names>,
    buffers: bool,
}

impl Dispatch {
    /// A table that knows the three built-in services.
    pub(crate) fn new() -> Self {
        let mut dispatch = Self::default();
        for (request, response) in ServiceId::BUILT_IN {
            dispatch.services.insert(request, response);
            dispatch.responses.insert(response, request);
        }
        dispatch
    }

    /// Declares a service: messages of `request` are answered with `response`.
    pub(crate) fn add_service(&mut self, request: ServiceId, response: ServiceId) -> Result<(), Error> {
        self.check_service(request, response)?;
        self.services.insert(request, response);
        self.responses.insert(response, request);
        Ok(())
    }

    /// Whether the two ids can become a service: an id has one role.
    pub(crate) fn check_service(&self, request: ServiceId, response: ServiceId) -> Result<(), Error> {
        for service_id in [request, response] {
            if service_id.is_reserved() {
                return Err(Error::ReservedSid { service_id });
            }
        }
        if request == response
            || self.services.contains_key(&request)
            || self.responses.contains_key(&request)
        {
            return Err(Error::RequestSidExists { service_id: request });
        }
        if self.services.contains_key(&response) || self.responses.contains_key(&response) {
            return Err(Error::ResponseSidExists { service_id: response });
        }
        Ok(())
    }

    /// Sets the callback of a key; `None` stands for all ids. Gives back the callback that was there.
    pub(crate) fn insert(
        &mut self,
        service_id: Option<ServiceId>,
        data_id: Option<DataId>,
        route: Route,
    ) -> Option<Route> {
        match (service_id, data_id) {
            (Some(service_id), Some(data_id)) => {
                if self.declared.insert((data_id, service_id)) {
                    let count = self.served.entry(service_id).or_default();
                    *count = count.saturating_add(1);
                }
                self.exact.insert((service_id, data_id), route)
            }
            (Some(service_id), None) => self.any_data.insert(service_id, route),
            (None, Some(data_id)) => self.any_service.insert(data_id, route),
            (None, None) => self.any.replace(route),
        }
    }

    /// Removes the callback of a key.
    pub(crate) fn remove(&mut self, service_id: Option<ServiceId>, data_id: Option<DataId>) -> Option<Route> {
        match (service_id, data_id) {
            (Some(service_id), Some(data_id)) => {
                if self.declared.remove(&(data_id, service_id)) {
                    self.serve_one_less(service_id);
                }
                self.exact.remove(&(service_id, data_id))
            }
            (Some(service_id), None) => self.any_data.remove(&service_id),
            (None, Some(data_id)) => self.any_service.remove(&data_id),
            (None, None) => self.any.take(),
        }
    }

    fn serve_one_less(&mut self, service_id: ServiceId) {
        if let Some(count) = self.served.get_mut(&service_id) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.served.remove(&service_id);
            }
        }
    }

    /// The callback of exactly this key.
    pub(crate) fn get(&self, service_id: Option<ServiceId>, data_id: Option<DataId>) -> Option<&Route> {
        match (service_id, data_id) {
            (Some(service_id), Some(data_id)) => self.exact.get(&(service_id, data_id)),
            (Some(service_id), None) => self.any_data.get(&service_id),
            (None, Some(data_id)) => self.any_service.get(&data_id),
            (None, None) => self.any.as_ref(),
        }
    }

    /// Lets peers use a message without authentication; its response is covered too.
    pub(crate) fn whitelist(&mut self, service_id: ServiceId, data_id: DataId) {
        self.whitelist.insert((service_id, data_id));
    }

    /// The callback of a message, in the seed's order of priority.
    #[inline]
    pub(crate) fn find(&self, service_id: ServiceId, data_id: DataId) -> Option<&Route> {
        self.exact
            .get(&(service_id, data_id))
            .or_else(|| self.any_data.get(&service_id))
            .or_else(|| self.any_service.get(&data_id))
            .or(self.any.as_ref())
    }

    /// What becomes of a request that `find` finds nobody for.
    pub(crate) fn untaken(&self, service_id: ServiceId, data_id: DataId) -> Untaken {
        let all = (data_id, ServiceId::new(0))..=(data_id, ServiceId::new(u32::MAX));
        // Callbacks for responses, and for messages of no service, declare nothing that could be asked for.
        if self.declared.range(all).any(|(_, other)| self.services.contains_key(other)) {
            Untaken::Declared
        } else if self.served.contains_key(&service_id) {
            Untaken::Served
        } else {
            Untaken::Nobody
        }
    }

    /// Lets messages that no callback takes be kept for `receive`. False where they are already.
    pub(crate) fn buffer(&mut self) -> bool {
        !std::mem::replace(&mut self.buffers, true)
    }

    /// Whether messages that no callback takes are kept for `receive`.
    pub(crate) fn buffers(&self) -> bool {
        self.buffers
    }

    /// The names, to be added to.
    pub(crate) fn names_mut(&mut self) -> &mut Names {
        Arc::make_mut(&mut self.names)
    }

    /// The names.
    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// A message as people read it: its service, its datum, and in a response its status.
    pub(crate) fn describe(&self, header: &Header) -> Described<'_> {
        Described { dispatch: self, header: *header }
    }

    /// The response id of a request id.
    #[inline]
    pub(crate) fn response_of(&self, request: ServiceId) -> Option<ServiceId> {
        self.services.get(&request).copied()
    }

    /// Whether the two ids are a pair here, or free to become one.
    pub(crate) fn may_pair(&self, request: ServiceId, response: ServiceId) -> bool {
        if request.is_reserved() || response.is_reserved() || request == response {
            return false;
        }
        if let Some(declared) = self.services.get(&request) {
            return *declared == response;
        }
        let is_used = |id| self.services.contains_key(id) || self.responses.contains_key(id);
        !is_used(&request) && !is_used(&response)
    }

    /// Whether messages of this id are responses.
    #[inline]
    pub(crate) fn is_response(&self, service_id: ServiceId) -> bool {
        self.responses.contains_key(&service_id)
    }

    /// Whether peers may send this message without authentication.
    pub(crate) fn is_whitelisted(&self, service_id: ServiceId, data_id: DataId) -> bool {
        let request = self.responses.get(&service_id).copied().unwrap_or(service_id);
        self.whitelist.contains(&(request, data_id))
    }

    /// Whether the application put anything on the whitelist.
    pub(crate) fn has_public_data(&self) -> bool {
        !self.whitelist.is_empty()
    }
}

/// A message, named.
pub(crate) struct Described<'a> {
    dispatch: &'a Dispatch,
    header: Header,
}

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Header { service_id, data_id, status, .. } = self.header;
        let names = &self.dispatch.names;
        let request = self.dispatch.responses.get(&service_id).copied();
        write!(f, "{} of {}", names.service(service_id), names.datum(service_id, request, data_id))?;
        if request.is_some() || !status.is_okay() {
            write!(f, ", {}", names.status(status))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Status;

    fn route(handler: usize) -> Route {
        Route { handler, entry: 0, timeout: Duration::from_secs(30), name: "x" }
    }

    fn found(dispatch: &Dispatch, service_id: u32, data_id: u32) -> Option<usize> {
        dispatch.find(service_id.into(), data_id.into()).map(|route| route.handler)
    }

    #[test]
    fn callbacks_are_found_in_the_seed_order() {
        let mut dispatch = Dispatch::new();
        dispatch.insert(None, None, route(4));
        assert_eq!(found(&dispatch, 10, 1), Some(4));
        dispatch.insert(None, Some(1.into()), route(3));
        assert_eq!(found(&dispatch, 10, 1), Some(3));
        dispatch.insert(Some(10.into()), None, route(2));
        assert_eq!(found(&dispatch, 10, 1), Some(2));
        dispatch.insert(Some(10.into()), Some(1.into()), route(1));
        assert_eq!(found(&dispatch, 10, 1), Some(1));
        assert_eq!(found(&dispatch, 10, 9), Some(2));
        assert_eq!(found(&dispatch, 20, 1), Some(3));
        assert_eq!(found(&dispatch, 20, 9), Some(4));
    }

    #[test]
    fn a_service_id_has_one_role() {
        let mut dispatch = Dispatch::new();
        let mut add = |request: u32, response: u32| dispatch.add_service(request.into(), response.into());
        assert!(add(40, 41).is_ok());
        assert!(matches!(add(40, 51), Err(Error::RequestSidExists { .. })));
        assert!(matches!(add(41, 51), Err(Error::RequestSidExists { .. })));
        assert!(matches!(add(60, 60), Err(Error::RequestSidExists { .. })));
        assert!(matches!(add(60, 41), Err(Error::ResponseSidExists { .. })));
        assert!(matches!(add(60, 10), Err(Error::ResponseSidExists { .. })));
        assert!(matches!(add(10, 61), Err(Error::RequestSidExists { .. })));
        for reserved in [0, 1, 8, 9, 0xFFFF_0000, u32::MAX] {
            assert!(matches!(add(reserved, 70), Err(Error::ReservedSid { .. })), "{reserved}");
            assert!(matches!(add(70, reserved), Err(Error::ReservedSid { .. })), "{reserved}");
        }
    }

    #[test]
    fn only_free_ids_and_declared_pairs_may_pair() {
        let mut dispatch = Dispatch::new();
        dispatch.add_service(40.into(), 41.into()).unwrap();
        let may = |request: u32, response: u32| dispatch.may_pair(request.into(), response.into());
        assert!(may(40, 41) && may(50, 51) && may(10, 11));
        assert!(!may(40, 51) && !may(50, 41) && !may(41, 40) && !may(50, 40) && !may(50, 50));
        assert!(!may(0, 51) && !may(50, 9) && !may(0xFFFF_0000, 51));
    }

    #[test]
    fn a_datum_of_another_service_is_not_permitted_an_unknown_one_is_unknown() {
        let mut dispatch = Dispatch::new();
        let untaken = |dispatch: &Dispatch, service_id: u32, data_id: u32| {
            dispatch.untaken(service_id.into(), data_id.into())
        };
        dispatch.insert(Some(10.into()), Some(1.into()), route(0));
        assert_eq!(untaken(&dispatch, 20, 1), Untaken::Declared);
        assert_eq!(untaken(&dispatch, 10, 2), Untaken::Served);
        assert_eq!(untaken(&dispatch, 20, 2), Untaken::Nobody);
        dispatch.insert(Some(11.into()), Some(2.into()), route(1));
        dispatch.insert(Some(77.into()), Some(2.into()), route(1));
        assert_eq!(
            untaken(&dispatch, 20, 2),
            Untaken::Nobody,
            "callbacks for responses and messages serve nothing"
        );
        dispatch.insert(Some(10.into()), Some(1.into()), route(2));
        assert_eq!(dispatch.remove(Some(10.into()), Some(1.into())), Some(route(2)));
        assert_eq!(untaken(&dispatch, 20, 1), Untaken::Nobody);
        assert_eq!(untaken(&dispatch, 10, 2), Untaken::Nobody);
        assert_eq!(dispatch.remove(Some(10.into()), Some(1.into())), None);
    }

    #[test]
    fn a_removed_callback_gives_way_to_the_next_in_the_order() {
        let mut dispatch = Dispatch::new();
        let keys = [(None, None), (None, Some(1)), (Some(10), None), (Some(10), Some(1))]
            .map(|(service_id, data_id)| (service_id.map(ServiceId::new), data_id.map(DataId::new)));
        for (handler, (service_id, data_id)) in keys.into_iter().enumerate() {
            dispatch.insert(service_id, data_id, route(handler));
            assert_eq!(dispatch.get(service_id, data_id), Some(&route(handler)));
        }
        for (handler, (service_id, data_id)) in keys.into_iter().enumerate().rev() {
            assert_eq!(found(&dispatch, 10, 1), Some(handler));
            dispatch.remove(service_id, data_id);
        }
        assert_eq!(found(&dispatch, 10, 1), None);
    }

    #[test]
    fn a_message_is_described_by_its_names() {
        let mut dispatch = Dispatch::new();
        let describe = |dispatch: &Dispatch, service_id: u32, status| {
            let status = Status::new(status).unwrap();
            let header =
                Header { service_id: service_id.into(), data_id: 2.into(), status, message_id: None };
            dispatch.describe(&header).to_string()
        };
        assert_eq!(describe(&dispatch, 10, 0), "read data request (10) of data 2");
        dispatch.names_mut().name_data(10.into(), 2.into(), "setpoint");
        dispatch.names_mut().name_status(Status::new(7).unwrap(), "valve stuck");
        assert_eq!(
            describe(&dispatch, 11, 7),
            "read data response (11) of setpoint (data 2), valve stuck (status 7)"
        );
        assert_eq!(describe(&dispatch, 11, 0), "read data response (11) of setpoint (data 2), okay (0)");
        assert_eq!(describe(&dispatch, 40, 0), "service 40 of data 2");
    }

    #[test]
    fn a_whitelisted_request_covers_its_response() {
        let mut dispatch = Dispatch::new();
        assert!(!dispatch.has_public_data());
        dispatch.whitelist(10.into(), 3.into());
        assert!(dispatch.is_whitelisted(10.into(), 3.into()));
        assert!(dispatch.is_whitelisted(11.into(), 3.into()));
        assert!(!dispatch.is_whitelisted(20.into(), 3.into()));
    }
}

//! Which callback takes a message, and who may send it (protocol.md sections 5.3 and 6).
//!
//! Built once when an endpoint starts, then only read: one hash look-up for a declared id.

use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::error::Error;
use crate::id::{DataId, ServiceId, Status};

/// Where a message goes: which handler of the endpoint, and which entry of its table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Route {
    pub(crate) handler: usize,
    pub(crate) entry: usize,
    pub(crate) timeout: Duration,
    pub(crate) name: &'static str,
}

/// The callbacks, services and whitelist of an endpoint.
#[derive(Debug, Default)]
pub(crate) struct Dispatch {
    exact: FxHashMap<(ServiceId, DataId), Route>,
    any_data: FxHashMap<ServiceId, Route>,
    any_service: FxHashMap<DataId, Route>,
    any: Option<Route>,
    services: FxHashMap<ServiceId, ServiceId>,
    responses: FxHashMap<ServiceId, ServiceId>,
    /// Data declared for any service: a request for another operation on them is status 6.
    declared: FxHashSet<DataId>,
    whitelist: FxHashSet<(ServiceId, DataId)>,
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
        self.services.insert(request, response);
        self.responses.insert(response, request);
        Ok(())
    }

    /// Sets the callback of a key; `None` stands for all ids. Gives back the callback that was there.
    pub(crate) fn insert(
        &mut self,
        service_id: Option<ServiceId>,
        data_id: Option<DataId>,
        route: Route,
    ) -> Option<Route> {
        if let Some(data_id) = data_id {
            self.declared.insert(data_id);
        }
        match (service_id, data_id) {
            (Some(service_id), Some(data_id)) => self.exact.insert((service_id, data_id), route),
            (Some(service_id), None) => self.any_data.insert(service_id, route),
            (None, Some(data_id)) => self.any_service.insert(data_id, route),
            (None, None) => self.any.replace(route),
        }
    }

    /// Lets peers use a message without authentication; its response is covered too.
    pub(crate) fn whitelist(&mut self, service_id: ServiceId, data_id: DataId) {
        self.whitelist.insert((service_id, data_id));
    }

    /// The callback of a message, in the seed's order of priority.
    pub(crate) fn find(&self, service_id: ServiceId, data_id: DataId) -> Option<&Route> {
        self.exact
            .get(&(service_id, data_id))
            .or_else(|| self.any_data.get(&service_id))
            .or_else(|| self.any_service.get(&data_id))
            .or(self.any.as_ref())
    }

    /// The status of a request that nobody takes.
    pub(crate) fn refusal(&self, data_id: DataId) -> Status {
        if self.declared.contains(&data_id) {
            Status::OPERATION_NOT_PERMITTED
        } else {
            Status::SERVICE_OR_DATA_UNKNOWN
        }
    }

    /// The response id of a request id.
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

#[cfg(test)]
mod tests {
    use super::*;

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
        dispatch.insert(Some(10.into()), Some(1.into()), route(0));
        assert_eq!(dispatch.refusal(1.into()), Status::OPERATION_NOT_PERMITTED);
        assert_eq!(dispatch.refusal(2.into()), Status::SERVICE_OR_DATA_UNKNOWN);
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

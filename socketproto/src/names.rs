//! Names of services, data and statuses, for people who read logs and errors.
//!
//! The built-in ones are those of [`crate::id`]; an application adds its own (`add_service`, `add_data`, `add_status`),
//! and so does every derived service.

use std::fmt;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::id::{DataId, ServiceId, Status};

/// The names an endpoint knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    services: FxHashMap<ServiceId, Arc<str>>,
    data: FxHashMap<(ServiceId, DataId), Arc<str>>,
    statuses: FxHashMap<Status, Arc<str>>,
}

impl Names {
    /// Names a service id; a later name replaces an earlier one.
    pub(crate) fn name_service(&mut self, service_id: ServiceId, name: &str) {
        self.services.insert(service_id, name.into());
    }

    /// Names a datum of a service id.
    pub(crate) fn name_data(&mut self, service_id: ServiceId, data_id: DataId, name: &str) {
        self.data.insert((service_id, data_id), name.into());
    }

    /// Names a status.
    pub(crate) fn name_status(&mut self, status: Status, name: &str) {
        self.statuses.insert(status, name.into());
    }

    /// The application's names of a service id and of its datum, where they have some.
    pub(crate) fn of(&self, service_id: ServiceId, data_id: DataId) -> (Option<Arc<str>>, Option<Arc<str>>) {
        (self.services.get(&service_id).cloned(), self.data.get(&(service_id, data_id)).cloned())
    }

    /// The service id as people read it: `history request (40)`. The application's name goes before the protocol's.
    pub(crate) fn service(&self, service_id: ServiceId) -> Named<'_, ServiceId> {
        Named { name: self.services.get(&service_id).map(AsRef::as_ref), id: service_id }
    }

    /// The datum as people read it: `setpoint (data 2)`. A response's datum may be named through its request.
    pub(crate) fn datum(
        &self,
        service_id: ServiceId,
        request: Option<ServiceId>,
        data_id: DataId,
    ) -> Named<'_, DataId> {
        let of = |service_id| self.data.get(&(service_id, data_id)).map(AsRef::as_ref);
        Named { name: of(service_id).or_else(|| request.and_then(of)), id: data_id }
    }

    /// The status as people read it: `valve stuck (status 7)`.
    pub(crate) fn status(&self, status: Status) -> Named<'_, Status> {
        Named { name: self.statuses.get(&status).map(AsRef::as_ref), id: status }
    }
}

/// An id with its name, where it has one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'a, T> {
    name: Option<&'a str>,
    id: T,
}

impl fmt::Display for Named<'_, ServiceId> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            // The number alone, as where the protocol names it.
            Some(name) => write!(f, "{name} ({})", self.id.value()),
            None => write!(f, "{}", self.id),
        }
    }
}

impl fmt::Display for Named<'_, DataId> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => write!(f, "{name} ({})", self.id),
            None => write!(f, "{}", self.id),
        }
    }
}

impl fmt::Display for Named<'_, Status> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => write!(f, "{name} (status {})", self.id.value()),
            None => write!(f, "{}", self.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_first_numbers_beside() {
        let mut names = Names::default();
        assert_eq!(names.service(10.into()).to_string(), "read data request (10)");
        assert_eq!(names.service(40.into()).to_string(), "service 40");
        assert_eq!(names.datum(10.into(), None, 2.into()).to_string(), "data 2");
        let stuck = Status::new(7).unwrap();
        assert_eq!(names.status(stuck).to_string(), "status 7");
        names.name_service(40.into(), "history request");
        names.name_service(10.into(), "ask");
        names.name_data(10.into(), 2.into(), "setpoint");
        names.name_status(stuck, "valve stuck");
        assert_eq!(names.service(40.into()).to_string(), "history request (40)");
        assert_eq!(names.service(10.into()).to_string(), "ask (10)");
        assert_eq!(names.datum(10.into(), None, 2.into()).to_string(), "setpoint (data 2)");
        assert_eq!(names.datum(11.into(), Some(10.into()), 2.into()).to_string(), "setpoint (data 2)");
        assert_eq!(names.datum(20.into(), None, 2.into()).to_string(), "data 2");
        assert_eq!(names.status(stuck).to_string(), "valve stuck (status 7)");
        assert_eq!(names.status(Status::OKAY).to_string(), "okay (0)");
    }
}

//! What servers and clients are told before they start: the settings they share.

use std::sync::Arc;

use crate::actor::gatekeeper::Authorize;
use crate::actor::{
    OnEvent, Services, StartEndpoint, new_session, starter_per_peer, starter_per_worker, starter_with_door,
};
use crate::callback::Callbacks;
use crate::credentials::{Credentials, Levels};
use crate::error::{Error, Result};
use crate::event::ConnectionEvent;
use crate::fault::Fault;
use crate::framing::Framing;
use crate::hosted::{IntoService, Served};
use crate::id::{DataId, ServiceId, Status};
use crate::limits::Limits;
use crate::message::{Json, Message};
use crate::peer::Peer;
use crate::routes::Routes;
use crate::service::{Call, Service};
use crate::session::{Config, Role, is_channel_name};
use crate::transport::Options;

/// The settings of an endpoint.
pub(crate) struct Settings {
    pub(crate) credentials: Credentials,
    pub(crate) trust_certificates: bool,
    channel_name: Option<String>,
    /// A client: whether it authenticates by itself; a server: whether it expects that of its clients.
    pub(crate) auto_auth: bool,
    limits: Limits,
    services: Services,
    authorize: Option<Authorize>,
    on_event: Option<OnEvent>,
    /// The first mistake made while building; reported by the start.
    mistake: Option<Error>,
}

impl Settings {
    pub(crate) fn new() -> Self {
        Self {
            credentials: Credentials::default(),
            trust_certificates: false,
            channel_name: None,
            auto_auth: true,
            limits: Limits::default(),
            services: Services::new(),
            authorize: None,
            on_event: None,
            mistake: None,
        }
    }

    pub(crate) fn channel_name(&mut self, name: String) {
        self.channel_name = Some(name);
    }

    pub(crate) fn limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    pub(crate) fn service(&mut self, shift: u32, service: impl IntoService) {
        let served = service.into_service();
        let added = served.and_then(|Served { table, start }| self.services.add_table(table, shift, start));
        self.note(added);
    }

    pub(crate) fn service_per_worker<S: Service>(&mut self, make: impl Fn() -> S + Send + Sync + 'static) {
        let added = self.services.add_table(S::SERVICE, 0, starter_per_worker(make));
        self.note(added);
    }

    pub(crate) fn service_per_peer<S: Service>(&mut self, make: impl Fn(Peer) -> S + Send + Sync + 'static) {
        let added = self.services.add_table(S::SERVICE, 0, starter_per_peer(make));
        self.note(added);
    }

    pub(crate) fn authorize<F>(&mut self, judge: F)
    where
        F: AsyncFn(Call<()>) -> Result<(), Fault> + Send + Sync + 'static,
    {
        let judge = Arc::new(judge);
        self.authorize = Some(Arc::new(move |call| {
            let judge = Arc::clone(&judge);
            Box::pin(async move { judge(call).await })
        }));
    }

    pub(crate) fn on_event(&mut self, follow: impl Fn(&Peer, &ConnectionEvent) + Send + Sync + 'static) {
        self.on_event = Some(Arc::new(follow));
    }

    pub(crate) fn callback<F>(&mut self, service_id: Option<ServiceId>, data_id: Option<DataId>, callback: F)
    where
        F: FnMut(&Message) -> Result<Json, Fault> + Send + 'static,
    {
        self.services.add_callback(service_id, data_id, Box::new(callback));
    }

    pub(crate) fn add_service(
        &mut self,
        request: ServiceId,
        response: ServiceId,
        names: Option<(String, String)>,
    ) {
        self.services.add_service((request, response), names);
    }

    pub(crate) fn add_data(&mut self, service_ids: Vec<ServiceId>, data_id: DataId, name: String) {
        self.services.add_data(service_ids, data_id, name);
    }

    pub(crate) fn add_status(&mut self, status: Status, name: String) {
        self.services.add_status(status, name);
    }

    pub(crate) fn whitelist(&mut self, service_id: ServiceId, data_id: DataId) {
        self.services.add_to_whitelist(service_id, data_id);
    }

    /// What the endpoint is made of.
    pub(crate) fn build(self, role: Role, options: &Options) -> Result<StartEndpoint> {
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        if let Some(name) = self.channel_name.as_deref().filter(|name| !is_channel_name(name)) {
            let reason = format!("{name:?} is not text of 1 to 64 characters without control characters");
            return Err(Error::Config { setting: "channel_name", reason: reason.into() });
        }
        self.limits.check().map_err(|(setting, reason)| Error::Config { setting, reason: reason.into() })?;
        let callbacks = |routes: Arc<Routes>| {
            starter_with_door(Callbacks::new(Arc::clone(&routes)), move |door| {
                let door = door.clone();
                routes.on_release(move || door.enter(Box::new(Callbacks::release)));
            })
        };
        let (routes, handlers) = self.services.build(self.limits.handler_timeout, callbacks)?;
        let framing = match role {
            _ if options.lossy => Some(Framing::Stp),
            _ if options.framing.is_some() => options.framing,
            Role::Server => None,
            Role::Client if options.old_peer => Some(Framing::Stp),
            Role::Client => Some(Framing::Length),
        };
        let Levels { secure, legacy } = self.credentials.levels(role, options)?;
        let config = Config {
            role,
            session: new_session()?,
            channel_name: self.channel_name.as_deref().map(Into::into),
            secret: self.credentials.is_some(),
            secure,
            legacy,
            ignore_sentinel: self.credentials.ignore_sentinel,
            trust_certificates: self.trust_certificates,
            auto_auth: self.auto_auth,
            reconnect: role == Role::Client,
            hello: !options.old_peer,
            framing,
            format: options.format,
            lossy: options.lossy,
            serial: options.serial,
            line_rate: options.line_rate,
            limits: Arc::new(self.limits),
            dispatch: routes.snapshot().1,
        };
        let secrets = self.credentials.into_secrets(Levels { secure, legacy });
        let Self { authorize, on_event, .. } = self;
        Ok(StartEndpoint { config, routes, handlers, secrets, authorize, on_event })
    }

    fn note(&mut self, added: Result<()>) {
        if let (Err(error), None) = (added, &self.mistake) {
            self.mistake = Some(error);
        }
    }
}

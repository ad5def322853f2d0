//! What builders and handles offer for registering, each in the same words.

/// The registering half of the seed library's functions, for each handle that offers it: what it changes belongs to the
/// endpoint, and holds for all its connections from their next message on.
macro_rules! registers_at_run_time {
    ($handle:ty, |$this:ident| $routes:expr) => {
        impl $handle {
            /// Runs a closure for messages of a service and datum; `None` stands for all of them. Where several match,
            /// both ids go before the service alone, the service before the datum, the datum before all (protocol.md
            /// section 6). What it returns answers a request of a registered service, and is not sent otherwise.
            ///
            /// Registering again replaces, and logs; [`unregister_callback`](Self::unregister_callback) removes. Both
            /// can be done at any time, also from inside a callback: one that runs ends, after that only the new one
            /// runs. A closure that holds a handle of its own endpoint keeps that open until it is closed or shut down.
            ///
            /// # Errors
            /// [`Error::DuplicateHandler`](crate::Error::DuplicateHandler) where a derived service declares these ids,
            /// [`Error::ReservedSid`](crate::Error::ReservedSid), and
            /// [`Error::ShutDown`](crate::Error::ShutDown) where the endpoint has ended.
            pub fn register_callback<F>(
                &self,
                service_id: Option<$crate::id::ServiceId>,
                data_id: Option<$crate::id::DataId>,
                callback: F,
            ) -> $crate::error::Result<()>
            where
                F: FnMut(&$crate::message::Message) -> Result<$crate::message::Json, $crate::fault::Fault>
                    + Send
                    + 'static,
            {
                let $this = self;
                $routes.register(service_id, data_id, Box::new(callback))
            }

            /// Removes the callback of exactly these ids; false where there is none. A message on its way to it falls to
            /// the next in the order, or is treated as if nobody took it.
            pub fn unregister_callback(
                &self,
                service_id: Option<$crate::id::ServiceId>,
                data_id: Option<$crate::id::DataId>,
            ) -> bool {
                let $this = self;
                $routes.unregister(service_id, data_id)
            }

            /// Declares a service of the application: messages of `request` are answered with `response`.
            ///
            /// # Errors
            /// [`Error::RequestSidExists`](crate::Error::RequestSidExists),
            /// [`Error::ResponseSidExists`](crate::Error::ResponseSidExists) where an id is in use: it has one role;
            /// [`Error::ReservedSid`](crate::Error::ReservedSid).
            pub fn add_service(
                &self,
                request: impl Into<$crate::id::ServiceId>,
                response: impl Into<$crate::id::ServiceId>,
            ) -> $crate::error::Result<()> {
                let $this = self;
                $routes.add_service((request.into(), response.into()), None)
            }

            /// As [`add_service`](Self::add_service), with names for logs: `"history request"`, `"history response"`.
            ///
            /// # Errors
            /// As [`add_service`](Self::add_service).
            pub fn add_named_service(
                &self,
                request: impl Into<$crate::id::ServiceId>,
                response: impl Into<$crate::id::ServiceId>,
                request_name: &str,
                response_name: &str,
            ) -> $crate::error::Result<()> {
                let $this = self;
                let names = (request_name, response_name);
                $routes.add_service((request.into(), response.into()), Some(names))
            }

            /// Names a datum in logs, for one service id or several: `10`, or `[10, 20]`. The name for requests is taken
            /// for their responses too.
            pub fn add_data(
                &self,
                service_ids: impl $crate::id::ServiceIds,
                data_id: impl Into<$crate::id::DataId>,
                name: &str,
            ) {
                let $this = self;
                $routes.add_data(&service_ids.into_service_ids(), data_id.into(), name);
            }

            /// Names a status in logs.
            pub fn add_status(&self, status: $crate::id::Status, name: &str) {
                let $this = self;
                $routes.add_status(status, name);
            }

            /// Serves a message to peers that have not authenticated, and takes its response from them.
            pub fn add_msg_to_auth_whitelist(
                &self,
                service_id: impl Into<$crate::id::ServiceId>,
                data_id: impl Into<$crate::id::DataId>,
            ) {
                let $this = self;
                $routes.whitelist(service_id.into(), data_id.into());
            }
        }
    };
}
pub(crate) use registers_at_run_time;

/// The same half before the start, for each builder: it keeps what it is told in `settings`.
macro_rules! registers_before_the_start {
    ($builder:ty) => {
        impl $builder {
            /// Runs a closure for messages of a service and datum; `None` stands for all of them. Where several match,
            /// both ids go before the service alone, the service before the datum, the datum before all (protocol.md
            /// section 6).
            ///
            /// ```
            /// use socketproto::{Json, Message, Server, ServiceId};
            ///
            /// # async fn demo() -> socketproto::Result<()> {
            /// let echo = Server::bind("mem://")
            ///     .register_callback(Some(ServiceId::READ_REQUEST), None, |message| Ok(message.json().clone()))
            ///     .start()
            ///     .await?;
            /// # Ok(()) }
            /// ```
            pub fn register_callback<F>(
                mut self,
                service_id: Option<$crate::id::ServiceId>,
                data_id: Option<$crate::id::DataId>,
                callback: F,
            ) -> Self
            where
                F: FnMut(&$crate::message::Message) -> Result<$crate::message::Json, $crate::fault::Fault>
                    + Send
                    + 'static,
            {
                self.settings.callback(service_id, data_id, callback);
                self
            }

            /// Declares a service of the application: messages of `request` are answered with `response`.
            pub fn add_service(
                mut self,
                request: impl Into<$crate::id::ServiceId>,
                response: impl Into<$crate::id::ServiceId>,
            ) -> Self {
                self.settings.add_service(request.into(), response.into(), None);
                self
            }

            /// As `add_service`, with names for logs: `"history request"`, `"history response"`.
            pub fn add_named_service(
                mut self,
                request: impl Into<$crate::id::ServiceId>,
                response: impl Into<$crate::id::ServiceId>,
                request_name: impl Into<String>,
                response_name: impl Into<String>,
            ) -> Self {
                let names = (request_name.into(), response_name.into());
                self.settings.add_service(request.into(), response.into(), Some(names));
                self
            }

            /// Names a datum in logs, for one service id or several: `10`, or `[10, 20]`.
            pub fn add_data(
                mut self,
                service_ids: impl $crate::id::ServiceIds,
                data_id: impl Into<$crate::id::DataId>,
                name: impl Into<String>,
            ) -> Self {
                self.settings.add_data(service_ids.into_service_ids(), data_id.into(), name.into());
                self
            }

            /// Names a status in logs.
            pub fn add_status(mut self, status: $crate::id::Status, name: impl Into<String>) -> Self {
                self.settings.add_status(status, name.into());
                self
            }

            /// Serves a message to peers that have not authenticated, and takes its response from them; `public` in a
            /// declaration says the same of a datum. A client needs it for a server at which it has a secret and has not
            /// authenticated.
            pub fn add_msg_to_auth_whitelist(
                mut self,
                service_id: impl Into<$crate::id::ServiceId>,
                data_id: impl Into<$crate::id::DataId>,
            ) -> Self {
                self.settings.whitelist(service_id.into(), data_id.into());
                self
            }
        }
    };
}
pub(crate) use registers_before_the_start;

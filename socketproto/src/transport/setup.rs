//! What the builders say of lines, beside their addresses.

use crate::error::Error;
#[cfg(feature = "tls")]
use crate::transport::tls::{ClientTls, ServerTls};
#[cfg(feature = "tls")]
use crate::transport::upgrade::AcceptTls;
#[cfg(feature = "websocket")]
use crate::transport::upgrade::AcceptWebSocket;
use crate::transport::upgrade::Upgrades;
#[cfg(feature = "websocket")]
use crate::transport::websocket;
use crate::transport::{Options, Place};

/// What a server says.
#[derive(Default)]
pub(crate) struct ServerSetup {
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<ServerTls>,
    /// None: as the scheme of the address has it.
    #[cfg(feature = "tls")]
    pub(crate) require_tls: Option<bool>,
    #[cfg(feature = "tls")]
    pub(crate) trust_certificates: bool,
    /// A listener of byte streams takes a WebSocket too.
    #[cfg(feature = "websocket")]
    pub(crate) websocket: bool,
    /// The pages that may connect.
    #[cfg(feature = "websocket")]
    pub(crate) origins: Vec<String>,
}

/// What a client says.
#[derive(Default)]
pub(crate) struct ClientSetup {
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<ClientTls>,
}

impl ServerSetup {
    /// Whether the settings go together with the address and the secret; `place` is none for a transport of the user's
    /// own, which encrypts by itself or not at all.
    ///
    /// # Errors
    /// [`Error::Config`] where they do not.
    #[cfg_attr(
        not(all(feature = "tls", feature = "websocket")),
        expect(unused_variables, reason = "there is less to check")
    )]
    pub(crate) fn check(
        &self,
        place: Option<&Place>,
        options: &Options,
        has_secret: bool,
    ) -> Result<(), Error> {
        #[cfg(feature = "tls")]
        {
            self.check_tls(place)?;
            if self.trust_certificates {
                self.check_trust(place, has_secret)?;
            }
        }
        #[cfg(feature = "websocket")]
        self.check_websocket(place, options)?;
        Ok(())
    }

    /// Whether certificates of clients are taken for a secret.
    pub(crate) fn trusts_certificates(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.trust_certificates;
        #[cfg(not(feature = "tls"))]
        false
    }

    /// What a listener of byte streams takes beside frames.
    #[cfg_attr(
        not(any(feature = "tls", feature = "websocket")),
        expect(unused_variables, reason = "nothing that is taken depends on it")
    )]
    pub(crate) fn upgrades(&self, place: &Place, options: &Options) -> Upgrades {
        #[cfg_attr(
            not(any(feature = "tls", feature = "websocket")),
            expect(unused_mut, reason = "nothing else to set")
        )]
        let mut upgrades =
            Upgrades { framing_is_fixed: options.framing.is_some() || options.lossy, ..Upgrades::default() };
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let tls: Box<dyn AcceptTls> = Box::new(tls.clone());
            upgrades = Upgrades { tls: Some(tls), require_tls: self.requires_tls(Some(place)), ..upgrades };
        }
        #[cfg(feature = "websocket")]
        {
            upgrades.websocket = self.websocket(place);
            upgrades.websocket_alone = matches!(place, Place::WebSocket(_));
        }
        upgrades
    }
}

#[cfg(feature = "websocket")]
impl ServerSetup {
    fn websocket(&self, place: &Place) -> Option<Box<dyn AcceptWebSocket>> {
        let place = match place {
            Place::WebSocket(place) => place.clone(),
            Place::Tcp(host) if self.websocket => websocket::Place::new(host.clone()),
            #[cfg(feature = "tls")]
            Place::Tls(host) if self.websocket => websocket::Place::new(host.clone()),
            _ => return None,
        };
        Some(Box::new(websocket::Acceptance::new(place, self.origins.clone())))
    }

    fn check_websocket(&self, place: Option<&Place>, options: &Options) -> Result<(), Error> {
        let wrong = |setting, reason: &str| Err(Error::Config { setting, reason: reason.into() });
        let is_own = matches!(place, Some(Place::WebSocket(_)));
        if self.websocket && !is_own {
            if place.and_then(|place| self.websocket(place)).is_none() {
                return wrong("websocket", "this transport takes none; listen on tcp://HOST:PORT");
            }
            websocket::Place::check(options).or_else(|reason| wrong("websocket", &reason))?;
        }
        if !self.websocket && !is_own && !self.origins.is_empty() {
            let reason = "no page can connect here; listen on ws://, or add `.websocket(true)`";
            return wrong("allowed_origins", reason);
        }
        self.origins.iter().try_for_each(|origin| {
            websocket::check_origin(origin).or_else(|reason| wrong("allowed_origins", &reason))
        })
    }
}

#[cfg(feature = "tls")]
impl ServerSetup {
    fn requires_tls(&self, place: Option<&Place>) -> bool {
        self.require_tls.unwrap_or(place.is_some_and(Place::is_tls))
    }

    fn check_tls(&self, place: Option<&Place>) -> Result<(), Error> {
        let streams = place.is_some_and(Place::can_take_tls);
        let reason = match &self.tls {
            Some(_) if !streams => {
                "this transport takes no TLS; leave `.tls(..)` out, or listen on tls://HOST:PORT"
            }
            None if self.requires_tls(place) => {
                "the server needs a certificate: `.tls(ServerTls::from_files(\"chain.pem\", \"key.pem\")?)`"
            }
            _ => return Ok(()),
        };
        Err(mistake("tls", reason))
    }

    /// Whether every peer that could connect has to show a certificate.
    fn requires_client_certificate(&self, place: Option<&Place>) -> bool {
        self.requires_tls(place) && self.tls.as_ref().is_some_and(ServerTls::requires_client_certificate)
    }

    /// Whether certificates of clients can be trusted as a secret is.
    ///
    /// # Errors
    /// [`Error::Config`] where none are asked for, or peers without one would be trusted no less for want of a secret.
    fn check_trust(&self, place: Option<&Place>, has_secret: bool) -> Result<(), Error> {
        const SETTING: &str = "trust_client_certificates";

        if !self.tls.as_ref().is_some_and(ServerTls::asks_for_certificate) {
            let reason = "clients are asked for no certificate; say whose to take with `ServerTls::client_ca_file(..)`";
            return Err(mistake(SETTING, reason));
        }
        if !has_secret && !self.requires_client_certificate(place) {
            let reason = "peers can connect without a certificate, and without a secret they would be served as well; \
                          set `.secret(..)`, or require both TLS and certificates";
            return Err(mistake(SETTING, reason));
        }
        Ok(())
    }
}

impl ClientSetup {
    /// Whether the settings go together with the address; none for a transport of the user's own.
    ///
    /// # Errors
    /// [`Error::Config`] where they do not.
    #[cfg_attr(
        not(feature = "tls"),
        expect(unused_variables, reason = "without TLS there is nothing to check")
    )]
    pub(crate) fn check(&self, place: Option<&Place>) -> Result<(), Error> {
        #[cfg(feature = "tls")]
        if self.tls.is_some() && !place.is_some_and(Place::is_tls) {
            return Err(mistake(
                "tls",
                "only addresses of tls:// are connected to by TLS, and those of wss://; write tls://HOST:PORT",
            ));
        }
        Ok(())
    }
}

#[cfg(feature = "tls")]
fn mistake(setting: &'static str, reason: &str) -> Error {
    Error::Config { setting, reason: reason.into() }
}

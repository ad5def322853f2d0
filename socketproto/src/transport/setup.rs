//! What the builders say of lines, beside their addresses.

use std::sync::Arc;

use crate::error::Error;
#[cfg(feature = "tls")]
use crate::transport::tls::ClientTls;
#[cfg(feature = "tls")]
use crate::transport::upgrade::OpenTls;
use crate::transport::upgrade::{AcceptTls, Upgrades};
#[cfg(feature = "websocket")]
use crate::transport::websocket;
use crate::transport::{Options, Place, Source};

/// What a server says.
#[derive(Default)]
pub(crate) struct ServerSetup {
    pub(crate) tls: Option<Arc<dyn AcceptTls>>,
    /// None: as the scheme of the address has it.
    pub(crate) require_tls: Option<bool>,
    pub(crate) trust_certificates: bool,
    /// A listener of byte streams takes a WebSocket too.
    pub(crate) websocket: bool,
    /// The pages that may connect.
    pub(crate) origins: Vec<String>,
    /// Lines are spread over threads.
    pub(crate) spread: bool,
}

/// What a client says.
#[derive(Default)]
pub(crate) struct ClientSetup {
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<ClientTls>,
}

impl ServerSetup {
    /// Whether the settings go together with where the server listens, and with the secret.
    ///
    /// # Errors
    /// [`Error::Config`] where they do not.
    pub(crate) fn check(&self, source: &Source, options: &Options, has_secret: bool) -> Result<(), Error> {
        self.check_tls(source)?;
        if self.trust_certificates {
            self.check_trust(source.place(), has_secret)?;
        }
        self.check_websocket(source, options)
    }

    /// What a listener of byte streams takes beside frames; `place` is none where others made it.
    pub(crate) fn upgrades(&self, place: Option<&Place>, options: &Options) -> Upgrades {
        #[cfg(feature = "websocket")]
        let websocket = websocket::acceptance(place, self.websocket, &self.origins);
        #[cfg(not(feature = "websocket"))]
        let websocket = None;
        Upgrades {
            tls: self.tls.clone(),
            require_tls: self.requires_tls(place),
            framing_is_fixed: options.framing.is_some() || options.lossy,
            websocket,
            websocket_alone: place.is_some_and(Place::is_websocket),
            spread: self.spread,
        }
    }

    fn requires_tls(&self, place: Option<&Place>) -> bool {
        self.require_tls.unwrap_or(place.is_some_and(Place::is_tls))
    }

    fn check_tls(&self, source: &Source) -> Result<(), Error> {
        let reason = match &self.tls {
            Some(_) if !source.takes_upgrades() => {
                "this transport takes no TLS; leave `.tls(..)` out, or listen on tls://HOST:PORT"
            }
            None if self.requires_tls(source.place()) => {
                "the server needs a certificate: `.tls(ServerTls::from_files(\"chain.pem\", \"key.pem\")?)`"
            }
            _ => return Ok(()),
        };
        Err(mistake("tls", reason))
    }

    /// Whether certificates of clients can be trusted as a secret is.
    ///
    /// # Errors
    /// [`Error::Config`] where none are asked for, or peers without one would be trusted no less for want of a secret.
    fn check_trust(&self, place: Option<&Place>, has_secret: bool) -> Result<(), Error> {
        const SETTING: &str = "trust_client_certificates";

        let asking = self.tls.as_ref().filter(|tls| tls.asks_for_certificate());
        let Some(tls) = asking else {
            let reason = "clients are asked for no certificate; say whose to take with `ServerTls::client_ca_file(..)`";
            return Err(mistake(SETTING, reason));
        };
        let all_show_one = self.requires_tls(place) && tls.requires_certificate();
        if !has_secret && !all_show_one {
            let reason = "peers can connect without a certificate, and without a secret they would be served as well; \
                          set `.secret(..)`, or require both TLS and certificates";
            return Err(mistake(SETTING, reason));
        }
        Ok(())
    }

    fn check_websocket(&self, source: &Source, options: &Options) -> Result<(), Error> {
        let is_own = source.place().is_some_and(Place::is_websocket);
        if self.websocket && !source.takes_upgrades() {
            return Err(mistake("websocket", "this transport takes none; listen on tcp://HOST:PORT"));
        }
        if self.websocket {
            options.check_for_websocket().map_err(|reason| mistake("websocket", &reason))?;
        }
        if !self.websocket && !is_own && !self.origins.is_empty() {
            let reason = "no page can connect here; listen on ws://, or add `.websocket(true)`";
            return Err(mistake("allowed_origins", reason));
        }
        self.origins
            .iter()
            .try_for_each(|origin| check_origin(origin).map_err(|reason| mistake("allowed_origins", &reason)))
    }
}

impl ClientSetup {
    /// Whether the settings go together with the address; none for a transport of the user's own.
    ///
    /// # Errors
    /// [`Error::Config`] where they do not.
    pub(crate) fn check(&self, place: Option<&Place>) -> Result<(), Error> {
        if self.has_tls() && !place.is_some_and(Place::is_tls) {
            return Err(mistake(
                "tls",
                "only addresses of tls:// are connected to by TLS, and those of wss://; write tls://HOST:PORT",
            ));
        }
        Ok(())
    }

    /// What encrypts the lines to a host.
    ///
    /// # Errors
    /// [`Error::Config`] where the authorities of the web cannot be read, or no certificate can be for the host.
    #[cfg(feature = "tls")]
    pub(crate) fn encrypt_to(self, host: &str) -> Result<Arc<dyn OpenTls>, Error> {
        self.tls.unwrap_or_default().for_host(host)
    }

    fn has_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }
}

/// Whether a browser could send it.
fn check_origin(origin: &str) -> Result<(), String> {
    if is_origin(origin) {
        return Ok(());
    }
    Err(format!("{origin:?} is no origin; write it as browsers do, for example https://example.com:8443"))
}

/// `SCHEME://HOST` or `SCHEME://HOST:PORT`, or what pages without an origin of their own send (RFC 6454, section 6.1).
fn is_origin(text: &str) -> bool {
    let is_host = |host: &str| {
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@*".contains(&byte))
    };
    text == "null" || text.split_once("://").is_some_and(|(scheme, host)| !scheme.is_empty() && is_host(host))
}

fn mistake(setting: &'static str, reason: &str) -> Error {
    Error::Config { setting, reason: reason.into() }
}

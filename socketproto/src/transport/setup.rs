//! What the builders say of lines, beside their addresses.

use crate::error::Error;
#[cfg(feature = "tls")]
use crate::transport::tls::{ClientTls, ServerTls};
#[cfg(feature = "tls")]
use crate::transport::upgrade::AcceptTls;
use crate::transport::upgrade::Upgrades;
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
        not(feature = "tls"),
        expect(unused_variables, reason = "without TLS there is nothing to check")
    )]
    pub(crate) fn check(&self, place: Option<&Place>, has_secret: bool) -> Result<(), Error> {
        #[cfg(feature = "tls")]
        {
            self.check_tls(place)?;
            if self.trust_certificates {
                self.check_trust(place, has_secret)?;
            }
        }
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
        not(feature = "tls"),
        expect(unused_variables, reason = "what is taken depends on it with TLS alone")
    )]
    pub(crate) fn upgrades(&self, place: &Place, options: &Options) -> Upgrades {
        let upgrades =
            Upgrades { framing_is_fixed: options.framing.is_some() || options.lossy, ..Upgrades::default() };
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let tls: Box<dyn AcceptTls> = Box::new(tls.clone());
            return Upgrades { tls: Some(tls), require_tls: self.requires_tls(Some(place)), ..upgrades };
        }
        upgrades
    }
}

#[cfg(feature = "tls")]
impl ServerSetup {
    fn requires_tls(&self, place: Option<&Place>) -> bool {
        self.require_tls.unwrap_or(matches!(place, Some(Place::Tls(_))))
    }

    fn check_tls(&self, place: Option<&Place>) -> Result<(), Error> {
        let streams = matches!(place, Some(Place::Tcp(_) | Place::Tls(_)));
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
        if self.tls.is_some() && !matches!(place, Some(Place::Tls(_))) {
            return Err(mistake(
                "tls",
                "only addresses of tls:// are connected to by TLS; write tls://HOST:PORT",
            ));
        }
        Ok(())
    }
}

#[cfg(feature = "tls")]
fn mistake(setting: &'static str, reason: &str) -> Error {
    Error::Config { setting, reason: reason.into() }
}

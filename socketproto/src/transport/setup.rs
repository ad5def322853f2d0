//! What the builders say of lines, beside their addresses.

use crate::error::Error;
use crate::transport::upgrade::Upgrades;
#[cfg(feature = "websocket")]
use crate::transport::websocket;
use crate::transport::{Options, Place};

/// What a server says.
#[derive(Default)]
pub(crate) struct ServerSetup {
    /// A listener of byte streams takes a WebSocket too.
    #[cfg(feature = "websocket")]
    pub(crate) websocket: bool,
    /// The pages that may connect.
    #[cfg(feature = "websocket")]
    pub(crate) origins: Vec<String>,
}

impl ServerSetup {
    /// What a listener of byte streams takes beside frames.
    ///
    /// # Errors
    /// [`Error::Config`] for settings that do not go together with the address.
    pub(crate) fn upgrades(&self, place: &Place, options: &Options) -> Result<Upgrades, Error> {
        let _ = place;
        let framing_is_fixed = options.framing.is_some() || options.lossy;
        #[allow(unused_mut, reason = "which features are on decides what there is to set")]
        let mut upgrades = Upgrades { framing_is_fixed, ..Upgrades::default() };
        #[cfg(feature = "websocket")]
        self.add_websocket(place, options, &mut upgrades)?;
        Ok(upgrades)
    }

    #[cfg(feature = "websocket")]
    fn add_websocket(&self, place: &Place, options: &Options, upgrades: &mut Upgrades) -> Result<(), Error> {
        let wrong = |setting, reason: String| Err(Error::Config { setting, reason: reason.into() });
        let socket = match place {
            Place::WebSocket(place) => place.clone(),
            Place::Tcp(host) if self.websocket => websocket::Place::new(host.clone()),
            _ if self.websocket => {
                return wrong("websocket", format!("{place} takes no WebSockets; use tcp://"));
            }
            _ if !self.origins.is_empty() => {
                let reason = "no WebSockets are taken; listen on ws://, or add `.websocket(true)`";
                return wrong("allowed_origins", reason.to_owned());
            }
            _ => return Ok(()),
        };
        websocket::Place::check(options).or_else(|reason| wrong("websocket", reason))?;
        upgrades.websocket = Some(Box::new(websocket::Acceptance::new(&socket, &self.origins)?));
        upgrades.websocket_alone = matches!(place, Place::WebSocket(_));
        Ok(())
    }
}

/// What a client says.
#[derive(Default)]
pub(crate) struct ClientSetup {}

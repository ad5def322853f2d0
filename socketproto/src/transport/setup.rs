//! What the builders say of lines, beside their addresses.

use crate::error::Error;
use crate::transport::upgrade::Upgrades;
use crate::transport::{Options, Place};

/// What a server says.
#[derive(Default)]
pub(crate) struct ServerSetup {}

impl ServerSetup {
    /// What a listener of byte streams takes beside frames.
    ///
    /// # Errors
    /// [`Error::Config`] for settings that do not go together with the address.
    pub(crate) fn upgrades(&self, _place: &Place, options: &Options) -> Result<Upgrades, Error> {
        Ok(Upgrades { framing_is_fixed: options.framing.is_some() || options.lossy, ..Upgrades::default() })
    }
}

/// What a client says.
#[derive(Default)]
pub(crate) struct ClientSetup {}

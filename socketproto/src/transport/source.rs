//! Where a server's lines come from.

use std::sync::Arc;

use crate::error::Error;
use crate::transport::{self, Address, Listener, OpenListener, Options, Place, ServerSetup};

/// What a server is begun with.
pub(crate) enum Source {
    Address(Address),
    /// A listener that others made.
    Open(OpenListener),
    /// A transport of the user's own, which encrypts by itself or not at all.
    Own(Listener),
}

impl Source {
    /// The place in its address; none where the user knows that alone.
    pub(crate) fn place(&self) -> Option<&Place> {
        match self {
            Self::Address(address) => Some(&address.place),
            Self::Open(_) | Self::Own(_) => None,
        }
    }

    /// How to speak there.
    ///
    /// # Errors
    /// [`Error::Address`] for options of an own transport that are none.
    pub(crate) fn options(&self) -> Result<Options, Error> {
        match self {
            Self::Address(address) => Ok(address.options.clone()),
            Self::Open(_) => Ok(Options::default()),
            Self::Own(listener) => Options::of(listener.address()),
        }
    }

    /// Whether it can take TLS and WebSocket beside frames.
    pub(crate) fn takes_upgrades(&self) -> bool {
        match self {
            Self::Address(address) => address.place.takes_upgrades(),
            Self::Open(_) => true,
            Self::Own(_) => false,
        }
    }

    /// Opens the listener.
    ///
    /// # Errors
    /// [`Error::Bind`] where it cannot be listened on.
    pub(crate) async fn open(self, setup: &ServerSetup) -> Result<Listener, Error> {
        match self {
            Self::Address(address) => transport::bind(&address, setup).await,
            Self::Open(listener) => {
                let address = listener.address().into();
                let upgrades = Arc::new(setup.upgrades(None, &Options::default()));
                listener.listen(upgrades).map_err(|source| Error::Bind { address, source })
            }
            Self::Own(listener) => Ok(listener),
        }
    }
}

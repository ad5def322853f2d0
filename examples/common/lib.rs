//! What the examples share: the thermostat, and the flags of the servers.

pub mod flags;
pub mod thermostat;

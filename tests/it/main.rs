//! Integration tests: dialogues between two peers, the golden vectors, the examples as programs, the layers.
//!
//! A test that needs a program of `examples/` says so where it is missing; `tests/run.sh` builds them all.

#[cfg(target_os = "linux")]
mod admission;
mod auth;
mod autobahn;
mod blocking;
mod both_ways;
mod browser;
#[cfg(target_os = "linux")]
#[path = "../cases/cable.rs"]
mod cable;
#[cfg(target_os = "linux")]
mod descriptors;
mod dialogues;
mod example_secrets;
mod examples;
mod failures;
mod heartbeat;
mod hooks_and_rules;
mod hosted;
mod layers;
mod limits;
mod listeners;
mod load;
mod own_transport;
mod page;
mod porting;
mod process;
mod protocol_api;
mod python;
mod python_secure;
mod reconnect;
mod runtimes;
#[cfg(target_os = "linux")]
mod serial;
mod services;
mod support;
mod tcp;
mod thermostat;
mod tls;
#[cfg(target_os = "linux")]
mod unix;
mod vectors;
mod websocket;
mod workers;

//! Services with hooks and with a thread of their own.
#![deny(warnings)]

use socketproto::prelude::*;
use socketproto::Lifecycle;

#[derive(Service, Client)]
#[service(name = "device", hooks, own_thread)]
struct Device {
    #[did(1, read)]
    peers: usize,
}

impl Lifecycle for Device {
    fn peer_connected(&mut self, _: &Peer) {
        self.peers += 1;
    }
}

#[derive(Service)]
#[service(hooks)]
struct Generic<T: 'static>
where
    Vec<T>: Clone,
{
    #[allow(dead_code)]
    held: Vec<T>,
}

impl<T: 'static> Lifecycle for Generic<T> where Vec<T>: Clone {}

fn main() {
    assert!(Device::SERVICE.has_hooks() && Device::SERVICE.has_own_thread());
    let _ = (Device { peers: 0 }, Generic { held: vec![1_u8] });
}

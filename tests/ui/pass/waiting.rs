//! Methods that wait: exclusive, blocking, never cancelled, with a time of their own.
#![deny(warnings)]

use std::rc::Rc;
use std::time::Duration;

use socketproto::prelude::*;
use socketproto::{BlockingCall, PendingCall};

#[derive(Service, Client)]
#[did(1, execute = async fn alone(cx), exclusive, no_cancel, timeout = "120s")]
#[did(2, execute = fn measure(a: u8, cx, b: String) -> Vec<u8>, blocking, exclusive, timeout = "1ms")]
#[did(3, execute = fn silent(), blocking)]
#[did(4, read = fn level() -> f64, blocking, write = fn set_level(value: f64), public)]
#[did(5, execute = fn quick(), timeout = "24h")]
struct Device {
    // Not Send: a blocking method does not see it.
    state: Rc<u8>,
}

impl Device {
    async fn alone(_: Call<Self>) {}

    fn measure(a: u8, cx: BlockingCall<Self>, b: String) -> Result<Vec<u8>, Fault> {
        cx.actor_blocking(move |this| vec![a, b.len() as u8, *this.state])
    }

    fn silent() {}

    fn level() -> f64 {
        1.0
    }

    fn set_level(_: f64) -> Result<(), &'static str> {
        Err("no")
    }

    fn quick(&mut self) {}
}

#[derive(Service)]
#[did(1, execute = fn hash(cx, value: T) -> u64, blocking)]
struct Generic<T: Send + serde::de::DeserializeOwned + 'static> {
    #[allow(dead_code)]
    value: Option<T>,
}

impl<T: Send + serde::de::DeserializeOwned + 'static> Generic<T> {
    fn hash(_: BlockingCall<Self>, _: T) -> u64 {
        1
    }
}

#[allow(dead_code)]
fn calls(client: &DeviceClient) {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<BlockingCall<Device>>();
    let _: PendingCall<Vec<u8>> = client.measure(1, String::new());
    let _: PendingCall<f64> = client.level();
}

fn main() {
    let _ = Device { state: Rc::new(1) };
    let _ = Generic { value: Some(1_u8) };
    let rows: Vec<_> = Device::SERVICE
        .entries()
        .iter()
        .map(|e| (e.name(), e.is_exclusive(), e.is_no_cancel(), e.timeout().map(|time| time.as_millis())))
        .collect();
    assert_eq!(
        rows,
        [
            ("alone", true, true, Some(120_000)),
            // A thread cannot be cancelled.
            ("measure", true, true, Some(1)),
            ("silent", false, true, None),
            ("level", false, true, None),
            ("set_level", false, true, None),
            ("quick", false, false, Some(Duration::from_secs(86_400).as_millis())),
        ]
    );
}

//! `crate = path`: a program that knows socketproto through another crate only.
#![deny(warnings)]

mod facade {
    pub mod reexport {
        pub use socketproto as protocol;
    }
}

mod inner {
    // Whoever finds this by the absolute path has not asked for the facade.
    use crate::facade::reexport::protocol::{Client, Service};

    #[derive(Service, Client)]
    #[service(crate = crate::facade::reexport::protocol, name = "lamp")]
    #[did(2, execute = async fn toggle(cx) -> bool)]
    pub struct Lamp {
        #[did(1, read, write)]
        pub on: bool,
    }

    impl Lamp {
        async fn toggle(cx: crate::facade::reexport::protocol::Call<Self>) -> bool {
            cx.actor(|lamp| {
                lamp.on = !lamp.on;
                lamp.on
            })
            .await
        }
    }
}

fn main() {
    use facade::reexport::protocol::Service;

    assert_eq!(inner::Lamp::SERVICE.name(), "lamp");
}

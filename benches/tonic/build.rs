//! Describes the service in Rust, which needs no `protoc`.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    let method = |name, route, input, output| {
        Method::builder()
            .name(name)
            .route_name(route)
            .input_type(input)
            .output_type(output)
            .codec_path("tonic_prost::ProstCodec")
            .build()
    };
    let peer = Service::builder()
        .package("bench")
        .name("Peer")
        .method(method("read", "Read", "crate::ReadRequest", "crate::ReadReply"))
        .method(method("echo", "Echo", "crate::Text", "crate::Text"))
        .build();
    Builder::new().compile(&[peer]);
}

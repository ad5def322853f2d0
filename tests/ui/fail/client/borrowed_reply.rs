use socketproto::Client;

#[derive(Client)]
struct Lamp {
    #[did(1, read)]
    label: &'static str,
}

fn main() {}

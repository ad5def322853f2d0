use socketproto::Client;

#[derive(Client)]
#[did(2, execute = fn new())]
struct Lamp {
    #[did(1, read)]
    at: u8,
}

fn main() {}

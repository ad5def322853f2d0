use socketproto::Client;

#[derive(Client)]
#[did(2, execute = fn set_on(value: bool))]
struct Lamp {
    #[did(1, read, write = set_on)]
    on: bool,
    #[did(3, read)]
    #[did(4, read, name = "another")]
    level: u8,
}

fn main() {}

use socketproto::prelude::*;

struct Lamp;

fn main() {
    let _ = Lamp::SERVICE.name();
    let _ = <Lamp as Service>::SERVICE;
}

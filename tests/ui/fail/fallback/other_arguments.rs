use socketproto::prelude::*;

#[derive(Service)]
#[did(.., read, fallback = unknown)]
struct Store;

impl Store {
    fn unknown(&mut self, _: DataId) -> Result<Json, Fault> {
        Err(Fault::unknown(""))
    }
}

fn main() {}

use socketproto::prelude::*;

#[derive(Service)]
#[did(.., read, fallback = unknown)]
struct Store;

impl Store {
    fn unknown(&mut self, _: DataId, _: Json) -> Result<u8, Fault> {
        Ok(1)
    }
}

fn main() {}

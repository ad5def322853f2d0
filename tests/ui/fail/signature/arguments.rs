use socketproto::prelude::*;

#[derive(Service)]
#[did(1, execute = fn mix(red: u8, red: u8))]
#[did(2, execute = fn set<T>(value: T))]
#[did(3, execute = fn all(
    a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8, j: u8, k: u8, l: u8, m: u8, n: u8, o: u8, p: u8,
    one_too_many: u8,
))]
struct Lamp;

fn main() {}

//! The parts of a message's way, each alone.
//!
//! `cargo bench -p socketproto --features _bench --bench micro`; behind `--` stands a part of the names to measure.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use socketproto::bench::Case;

fn parts(criterion: &mut Criterion) {
    for case in Case::all() {
        let mut group = criterion.benchmark_group("parts");
        if case.bytes() > 0 {
            group.throughput(Throughput::Bytes(case.bytes() as u64));
        }
        let mut step = case.start();
        group.bench_function(case.name(), |bencher| bencher.iter(&mut step));
        group.finish();
    }
}

criterion_group!(benches, parts);
criterion_main!(benches);

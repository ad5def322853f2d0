//! What the derive macros accept, and what they say where they do not.

/// These compile, and run.
#[test]
fn declarations_that_compile() {
    trybuild::TestCases::new().pass("ui/pass/*.rs");
}

/// These do not, and each `.stderr` beside them says what the compiler shows.
#[rustversion::attr(not(stable(1.95)), ignore = "the expected messages are those of rustc 1.95")]
#[test]
fn declarations_that_are_refused() {
    trybuild::TestCases::new().compile_fail("ui/fail/*/*.rs");
}

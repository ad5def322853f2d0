//! Integration tests of socketproto; they live in `it/`, `ui/` and `vectors/`.

//! trybuild cases.

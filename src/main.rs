//! roundel
fn main() {}

//! Chores: tidy, parity table, benchmarks, fixtures, test runs.

fn main() {}

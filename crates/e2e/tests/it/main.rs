//! One binary for all behaviour tests.

//! How do we ask the kernel? The only crate with unsafe code.

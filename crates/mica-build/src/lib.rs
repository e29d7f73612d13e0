//! How does a Dockerfile become steps?
//!
//! [`dockerfile`] is the language: it reads the text into typed instructions that know their place in it. [`ignore`]
//! tells which files of a context are left out, [`lint`] what is better not done,
//! and [`call`] what a file offers. Nothing here opens a file, looks at the clock or runs anything.

pub mod call;
pub mod dockerfile;
pub mod ignore;
pub mod lint;

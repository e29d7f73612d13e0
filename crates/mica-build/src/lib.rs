//! How does a Dockerfile become steps?
//!
//! [`dockerfile`] is the language: it reads the text into typed instructions that know their place in it. [`ignore`]
//! tells which files of a context are left out, [`lint`] what is better not done, [`call`] what a file offers, and
//! [`bake`] which builds a bake file describes. [`solve()`] plans which stages are needed and does their steps, in
//! parallel where they do not need each other, by way of a [`worker::Worker`]: nothing here opens a file, looks at the
//! clock or runs anything.

pub mod bake;
mod cache;
pub mod call;
pub mod dockerfile;
pub mod ignore;
pub mod image;
pub mod lint;
mod plan;
pub mod progress;
mod solve;
mod stage;
pub mod worker;

pub use plan::{NamedContext, Options, PlanProblem, target};
pub use solve::{SolveError, solve};

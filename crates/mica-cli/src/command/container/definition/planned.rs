//! Flags of docker's `run` and `create` that later versions bring.

use crate::args::PlannedFlag;

/// All of them.
pub const FLAGS: &[PlannedFlag] = &[PlannedFlag::switch("use-api-socket", None, "the Engine API")];

//! Flags of docker's `run` and `create` that later versions bring.

use crate::args::PlannedFlag;

const ISOLATION: &str = "isolation, limits and volumes";

/// All of them.
pub const FLAGS: &[PlannedFlag] = &[
    PlannedFlag::switch("disable-content-trust", None, "registries"),
    PlannedFlag::value("isolation", None, ISOLATION),
    PlannedFlag::value("runtime", None, ISOLATION),
    PlannedFlag::value("storage-opt", None, ISOLATION),
    PlannedFlag::switch("use-api-socket", None, "the Engine API"),
];

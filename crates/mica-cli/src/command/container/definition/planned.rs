//! Flags of docker's `run` and `create` that later versions bring.

use crate::args::PlannedFlag;

const ISOLATION: &str = "isolation, limits, volumes and health";

/// All of them.
pub const FLAGS: &[PlannedFlag] = &[
    PlannedFlag::switch("disable-content-trust", None, "registries"),
    PlannedFlag::value("health-cmd", None, ISOLATION),
    PlannedFlag::value("health-interval", None, ISOLATION),
    PlannedFlag::value("health-retries", None, ISOLATION),
    PlannedFlag::value("health-start-interval", None, ISOLATION),
    PlannedFlag::value("health-start-period", None, ISOLATION),
    PlannedFlag::value("health-timeout", None, ISOLATION),
    PlannedFlag::value("isolation", None, ISOLATION),
    PlannedFlag::switch("no-healthcheck", None, ISOLATION),
    PlannedFlag::value("runtime", None, ISOLATION),
    PlannedFlag::value("storage-opt", None, ISOLATION),
    PlannedFlag::switch("use-api-socket", None, "the Engine API"),
];

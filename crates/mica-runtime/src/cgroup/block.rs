//! Limits of block devices: weights, and rates by device.

use super::limits::Setting;
use crate::plan::{BlockLimits, Throttle, ThrottleKind};

const NO_WEIGHT: &str =
    "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.";
const NO_WEIGHT_DEVICE: &str = "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.";

/// Settings of version 1.
pub(super) fn legacy(limits: &BlockLimits) -> Vec<Setting> {
    let weight = limits.weight.map(|weight| {
        let value = weight.to_string();
        let files = vec![("blkio.weight", value.clone()), ("blkio.bfq.weight", value)];
        Setting { controller: "blkio", files, missing: NO_WEIGHT }
    });
    let weights = limits.weight_by_device.iter().map(|(device, weight)| {
        let value = format!("{device} {weight}");
        let files = vec![("blkio.weight_device", value.clone()), ("blkio.bfq.weight_device", value)];
        Setting { controller: "blkio", files, missing: NO_WEIGHT_DEVICE }
    });
    let throttles = limits.throttles.iter().map(|Throttle { kind, device, rate }| {
        let file = match kind {
            ThrottleKind::ReadBytes => "blkio.throttle.read_bps_device",
            ThrottleKind::WriteBytes => "blkio.throttle.write_bps_device",
            ThrottleKind::ReadOperations => "blkio.throttle.read_iops_device",
            ThrottleKind::WriteOperations => "blkio.throttle.write_iops_device",
        };
        Setting {
            controller: "blkio",
            files: vec![(file, format!("{device} {rate}"))],
            missing: missing(*kind),
        }
    });
    weight.into_iter().chain(weights).chain(throttles).collect()
}

/// Settings of version 2.
pub(super) fn unified(limits: &BlockLimits) -> Vec<Setting> {
    let weight = limits.weight.map(|weight| {
        let files = vec![
            ("io.bfq.weight", weight.to_string()),
            ("io.weight", format!("default {}", wide_weight(weight))),
        ];
        Setting { controller: "io", files, missing: NO_WEIGHT }
    });
    let weights = limits.weight_by_device.iter().map(|(device, weight)| {
        let files = vec![
            ("io.bfq.weight", format!("{device} {weight}")),
            ("io.weight", format!("{device} {}", wide_weight(*weight))),
        ];
        Setting { controller: "io", files, missing: NO_WEIGHT_DEVICE }
    });
    let throttles = limits.throttles.iter().map(|Throttle { kind, device, rate }| {
        let key = match kind {
            ThrottleKind::ReadBytes => "rbps",
            ThrottleKind::WriteBytes => "wbps",
            ThrottleKind::ReadOperations => "riops",
            ThrottleKind::WriteOperations => "wiops",
        };
        // A rate of zero is no limit in version 1, and is not allowed in version 2.
        let rate = if *rate == 0 { "max".to_owned() } else { rate.to_string() };
        Setting {
            controller: "io",
            files: vec![("io.max", format!("{device} {key}={rate}"))],
            missing: missing(*kind),
        }
    });
    weight.into_iter().chain(weights).chain(throttles).collect()
}

fn missing(kind: ThrottleKind) -> &'static str {
    match kind {
        ThrottleKind::ReadBytes => {
            "Your kernel does not support BPS Block I/O read limit or the cgroup is not mounted. Block I/O BPS read limit discarded."
        }
        ThrottleKind::WriteBytes => {
            "Your kernel does not support BPS Block I/O write limit or the cgroup is not mounted. Block I/O BPS write limit discarded."
        }
        ThrottleKind::ReadOperations => {
            "Your kernel does not support IOPS Block read limit or the cgroup is not mounted. Block I/O IOPS read limit discarded."
        }
        ThrottleKind::WriteOperations => {
            "Your kernel does not support IOPS Block write limit or the cgroup is not mounted. Block I/O IOPS write limit discarded."
        }
    }
}

/// A weight of version 1 (10 to 1000) as one of version 2 (1 to 10000), by the conversion that all
/// runtimes share.
fn wide_weight(weight: u16) -> u32 {
    1 + (u32::from(weight.clamp(10, 1000)) - 10) * 9999 / 990
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_cover_the_whole_range() {
        assert_eq!([10, 500, 1000, 0].map(wide_weight), [1, 4950, 10_000, 1]);
    }

    #[test]
    fn rates_name_their_device_in_either_version() {
        let throttle = |kind, rate| Throttle { kind, device: "8:16".to_owned(), rate };
        let throttles =
            vec![throttle(ThrottleKind::ReadBytes, 1024), throttle(ThrottleKind::WriteOperations, 5)];
        let limits = BlockLimits { throttles, ..BlockLimits::default() };
        let files = |settings: Vec<Setting>| -> Vec<(&str, String)> {
            settings.into_iter().flat_map(|setting| setting.files).collect()
        };
        assert_eq!(
            files(legacy(&limits)),
            [
                ("blkio.throttle.read_bps_device", "8:16 1024".to_owned()),
                ("blkio.throttle.write_iops_device", "8:16 5".to_owned())
            ]
        );
        assert_eq!(
            files(unified(&limits)),
            [("io.max", "8:16 rbps=1024".to_owned()), ("io.max", "8:16 wiops=5".to_owned())]
        );
    }
}

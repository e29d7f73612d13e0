//! Limits of block devices: `--blkio-weight-device`, `--device-read-bps` and their like.

use crate::args::{Matches, ValueError, list};
use clap::Arg;
use mica_api::types::host_config::{Resources, ThrottleDevice, WeightDevice};
use mica_model::size;

/// The flags; those of a container's definition only.
pub fn flags() -> Vec<Arg> {
    vec![
        list("blkio-weight-device", "list", "Block IO weight (relative device weight) (default [])")
            .value_parser(|typed: &str| weight(typed).map(|_| typed.to_owned())),
        list("device-read-bps", "list", "Limit read rate (bytes per second) from a device (default [])")
            .value_parser(|typed: &str| bytes(typed).map(|_| typed.to_owned())),
        list("device-read-iops", "list", "Limit read rate (IO per second) from a device (default [])")
            .value_parser(|typed: &str| operations(typed).map(|_| typed.to_owned())),
        list("device-write-bps", "list", "Limit write rate (bytes per second) to a device (default [])")
            .value_parser(|typed: &str| bytes(typed).map(|_| typed.to_owned())),
        list("device-write-iops", "list", "Limit write rate (IO per second) to a device (default [])")
            .value_parser(|typed: &str| operations(typed).map(|_| typed.to_owned())),
    ]
}

/// Puts what was typed, which was checked then, into the request.
pub fn apply(matches: &Matches, resources: &mut Resources) {
    let rates = |flag, parse: fn(&str) -> Result<ThrottleDevice, ValueError>| {
        Some(matches.list(flag).iter().filter_map(|typed| parse(typed).ok()).collect())
    };
    let weights = matches.list("blkio-weight-device");
    resources.blkio_weight_device = Some(weights.iter().filter_map(|typed| weight(typed).ok()).collect());
    resources.blkio_device_read_bps = rates("device-read-bps", bytes);
    resources.blkio_device_write_bps = rates("device-write-bps", bytes);
    resources.blkio_device_read_iops = rates("device-read-iops", operations);
    resources.blkio_device_write_iops = rates("device-write-iops", operations);
}

/// `PATH:VALUE`.
fn parts(typed: &str) -> Result<(&str, &str), ValueError> {
    let error = |reason: &str| ValueError { message: format!("{reason}: {typed}") };
    let (path, value) = typed.split_once(':').ok_or_else(|| error("bad format"))?;
    if !path.starts_with("/dev/") {
        return Err(error("bad format for device path"));
    }
    Ok((path, value))
}

fn weight(typed: &str) -> Result<WeightDevice, ValueError> {
    let (path, value) = parts(typed)?;
    let weight = value.parse().ok().filter(|weight| *weight == 0 || (10..=1000).contains(weight));
    let error = || ValueError { message: format!("invalid weight for device: {typed}") };
    Ok(WeightDevice { path: path.to_owned(), weight: weight.ok_or_else(error)? })
}

fn bytes(typed: &str) -> Result<ThrottleDevice, ValueError> {
    let (path, value) = parts(typed)?;
    let rate = size::parse_binary(value).ok().and_then(|rate| u64::try_from(rate).ok());
    let error = || ValueError {
        message: format!(
            "invalid rate for device: {typed}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
        ),
    };
    Ok(ThrottleDevice { path: path.to_owned(), rate: rate.ok_or_else(error)? })
}

fn operations(typed: &str) -> Result<ThrottleDevice, ValueError> {
    let (path, value) = parts(typed)?;
    let error = |_| ValueError {
        message: format!(
            "invalid rate for device: {typed}. The correct format is <device-path>:<number>. Number must be a positive integer"
        ),
    };
    Ok(ThrottleDevice { path: path.to_owned(), rate: value.parse().map_err(error)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_a_device_and_a_number() {
        let read = bytes("/dev/vda:2mb").unwrap();
        assert_eq!((read.path.as_str(), read.rate), ("/dev/vda", 2 << 20));
        assert_eq!(operations("/dev/vda:100").unwrap().rate, 100);
        assert_eq!(weight("/dev/vda:300").unwrap().weight, 300);
        for wrong in ["/dev/vda", "vda:1mb", "/dev/vda:x", "/dev/vda:-1"] {
            assert!(bytes(wrong).is_err() && operations(wrong).is_err(), "{wrong}");
        }
        assert!(operations("/dev/vda:1mb").is_err());
        for wrong in ["/dev/vda:9", "/dev/vda:1001", "/dev/vda:x"] {
            assert_eq!(weight(wrong).unwrap_err().message, format!("invalid weight for device: {wrong}"));
        }
    }
}

//! Limits of block devices, which are named by path and known to the kernel by number.

use crate::error::{Error, Result};
use mica_api::types::host_config::{Resources, ThrottleDevice};
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    LinuxBlockIo, LinuxBlockIoBuilder, LinuxThrottleDevice, LinuxThrottleDeviceBuilder, LinuxWeightDevice,
    LinuxWeightDeviceBuilder,
};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// The limits in the specification's terms; nothing where none are asked for.
pub(crate) fn limits(resources: &Resources) -> Result<Option<LinuxBlockIo>> {
    let weights = resources.blkio_weight_device.iter().flatten();
    let weights = weights.map(|device| Ok((numbers(&device.path)?, device.weight)));
    let weights: Vec<((i64, i64), u16)> = weights.collect::<Result<_>>()?;
    let lists = [
        rates(resources.blkio_device_read_bps.as_ref())?,
        rates(resources.blkio_device_write_bps.as_ref())?,
        rates(resources.blkio_device_read_iops.as_ref())?,
        rates(resources.blkio_device_write_iops.as_ref())?,
    ];
    if resources.blkio_weight == 0 && weights.is_empty() && lists.iter().all(Vec::is_empty) {
        return Ok(None);
    }
    document(resources.blkio_weight, &weights, &lists)
        .map(Some)
        .map_err(|source| Error::invalid(format!("the limits of block devices are not valid: {source}")))
}

type Rates = Vec<((i64, i64), u64)>;

fn rates(devices: Option<&Vec<ThrottleDevice>>) -> Result<Rates> {
    devices.into_iter().flatten().map(|device| Ok((numbers(&device.path)?, device.rate))).collect()
}

/// The major and minor number of a block device.
fn numbers(path: &str) -> Result<(i64, i64)> {
    let status =
        std::fs::metadata(path).map_err(|source| Error::io("examine the device", Path::new(path), source))?;
    if !status.file_type().is_block_device() {
        return Err(Error::invalid(format!("{path} is not a block device")));
    }
    let number = status.rdev();
    Ok((i64::from(rustix::fs::major(number)), i64::from(rustix::fs::minor(number))))
}

fn document(
    weight: u16,
    weights: &[((i64, i64), u16)],
    [read_bytes, write_bytes, reads, writes]: &[Rates; 4],
) -> std::result::Result<LinuxBlockIo, OciSpecError> {
    let weights: Vec<LinuxWeightDevice> = weights
        .iter()
        .map(|((major, minor), weight)| {
            LinuxWeightDeviceBuilder::default().major(*major).minor(*minor).weight(*weight).build()
        })
        .collect::<std::result::Result<_, _>>()?;
    let mut block = LinuxBlockIoBuilder::default()
        .weight_device(weights)
        .throttle_read_bps_device(throttles(read_bytes)?)
        .throttle_write_bps_device(throttles(write_bytes)?)
        .throttle_read_iops_device(throttles(reads)?)
        .throttle_write_iops_device(throttles(writes)?);
    if weight != 0 {
        block = block.weight(weight);
    }
    block.build()
}

fn throttles(rates: &Rates) -> std::result::Result<Vec<LinuxThrottleDevice>, OciSpecError> {
    let one = |&((major, minor), rate)| {
        LinuxThrottleDeviceBuilder::default().major(major).minor(minor).rate(rate).build()
    };
    rates.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_block_device_has_no_rate() {
        let limit = |path: &str| {
            let rates = vec![ThrottleDevice { path: path.to_owned(), rate: 1 }];
            limits(&Resources { blkio_device_read_bps: Some(rates), ..Default::default() })
        };
        assert!(limit("/dev/null").unwrap_err().to_string().contains("/dev/null is not a block device"));
        assert!(limit("/no/such").is_err());
        assert_eq!(limits(&Resources::default()).unwrap(), None);
    }
}

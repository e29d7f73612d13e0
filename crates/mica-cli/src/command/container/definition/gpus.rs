//! Devices by vendors' names: `--gpus`, and `--device vendor.com/class=name`.

use crate::args::{Matches, ValueError, text};
use clap::Arg;
use mica_api::types::host_config::{DeviceRequest, HostConfig};
use std::collections::BTreeMap;

/// The flags.
pub fn flags() -> Vec<Arg> {
    vec![
        text("gpus", "gpu-request", "GPU devices to add to the container ('all' to pass all GPUs)")
            .value_parser(|typed: &str| request(typed).map(|_| typed.to_owned())),
    ]
}

/// Puts what was typed, which was checked then, into the request. Names among the devices are taken out of `devices`.
pub fn apply(matches: &Matches, host: &mut HostConfig) {
    let names: Vec<String> = matches.list("device").into_iter().filter(|typed| is_name(typed)).collect();
    let mut requests = Vec::new();
    if !names.is_empty() {
        let driver = "cdi".to_owned();
        requests.push(DeviceRequest { driver, device_ids: Some(names), ..DeviceRequest::default() });
    }
    requests.extend(matches.text("gpus").and_then(|typed| request(&typed).ok()));
    host.resources.device_requests = Some(requests).filter(|requests| !requests.is_empty());
}

/// Whether it is `vendor.com/class=name`, which no path is.
pub fn is_name(typed: &str) -> bool {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric();
    let is_part = |text: &str, others: &str| {
        text.starts_with(is_plain)
            && text.ends_with(is_plain)
            && text.chars().all(|letter| is_plain(letter) || others.contains(letter))
    };
    let is_letter = |text: &str| text.starts_with(|letter: char| letter.is_ascii_alphabetic());
    typed.split_once('=').is_some_and(|(kind, name)| {
        kind.split_once('/').is_some_and(|(vendor, class)| {
            is_letter(vendor) && is_part(vendor, "_-.") && is_letter(class) && is_part(class, "_-")
        }) && is_part(name, "_-.:")
    })
}

/// `all`, a number, or `key=value,…` as a line of CSV.
fn request(typed: &str) -> Result<DeviceRequest, ValueError> {
    let error = |message: String| ValueError { message };
    let mut request = DeviceRequest { options: Some(BTreeMap::new()), ..DeviceRequest::default() };
    let mut capabilities = vec!["gpu".to_owned()];
    let mut seen = Vec::new();
    for field in fields(typed) {
        let (key, value) = field.split_once('=').unwrap_or(("count", field.as_str()));
        if seen.iter().any(|known| known == key) {
            return Err(error(format!("gpu request key '{key}' can be specified only once")));
        }
        seen.push(key.to_owned());
        match key {
            "driver" => value.clone_into(&mut request.driver),
            "count" if value == "all" => request.count = -1,
            "count" => {
                request.count = value.parse().map_err(|_| {
                    let syntax = format!("strconv.Atoi: parsing {value:?}: invalid syntax");
                    error(format!(
                        "invalid count ({value}): value must be either \"all\" or an integer: {syntax}"
                    ))
                })?;
            }
            "device" => request.device_ids = Some(value.split(',').map(str::to_owned).collect()),
            "capabilities" => capabilities.extend(value.split(',').map(str::to_owned)),
            "options" => {
                let pairs = value.split(',').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
                let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
                request.options = Some(pairs.collect());
            }
            _ => return Err(error(format!("unexpected key '{key}' in '{field}'"))),
        }
    }
    if request.count != 0 && request.device_ids.is_some() {
        return Err(error("cannot set both Count and DeviceIDs on device request".to_owned()));
    }
    if request.device_ids.is_none() && request.count == 0 {
        request.count = 1;
    }
    request.capabilities = Some(vec![capabilities]);
    Ok(request)
}

/// The fields of a line of CSV: quotes may enclose commas.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut is_quoted = false;
    for letter in line.chars() {
        match letter {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(String::new()),
            _ => fields.last_mut().into_iter().for_each(|field| field.push(letter)),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_docker_reads_them() {
        assert_eq!(request("all").unwrap().count, -1);
        assert_eq!(request("2").unwrap().count, 2);
        let chosen = request("\"device=0,1\",capabilities=utility").unwrap();
        assert_eq!(chosen.device_ids.unwrap(), ["0", "1"]);
        assert_eq!(chosen.capabilities.unwrap(), [["gpu", "utility"]]);
        assert_eq!(request("driver=nvidia").unwrap().count, 1);
        assert_eq!(request("x=y").unwrap_err().message, "unexpected key 'x' in 'x=y'");
        assert!(request("two").unwrap_err().message.contains("value must be either"));
        assert!(request("count=1,device=0").is_err() && request("count=1,count=2").is_err());
    }

    #[test]
    fn names_of_vendors_are_no_paths() {
        assert!(is_name("vendor.com/class=name") && is_name("nvidia.com/gpu=all"));
        for path in ["/dev/null", "/dev/a=b", "/dev/null:/dev/x=y:rwm", "a=b", "v/c=/x"] {
            assert!(!is_name(path), "{path}");
        }
    }
}

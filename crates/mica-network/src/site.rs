//! What the things of one engine are called in the kernel: its bridges, links and table.
//!
//! The engine of the default root has plain names. Others have names with a few letters of their
//! root's hash, so that any number of engines live beside each other on one host.

/// The names of one engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Empty for the default root.
    mark: String,
}

/// The root whose engine has the plain names.
const ROOT_DEFAULT: &[u8] = b"/var/lib/mica";

impl Site {
    /// The names of the engine with this root, an absolute path.
    pub fn of_root(root: &[u8]) -> Self {
        let mark = if root == ROOT_DEFAULT { String::new() } else { format!("{:06x}", hash(root) >> 40) };
        Self { mark }
    }

    /// The table of the packet filter.
    pub fn table(&self) -> String {
        if self.mark.is_empty() { "mica".to_owned() } else { format!("mica-{}", self.mark) }
    }

    /// The bridge of the default network.
    pub fn default_bridge(&self) -> String {
        if self.mark.is_empty() { "mica0".to_owned() } else { format!("mica0-{}", self.mark) }
    }

    /// The bridge of another network: 15 letters at the most, as the kernel wants.
    pub fn bridge(network_id: &str) -> String {
        format!("mc-{}", network_id.get(..12).unwrap_or(network_id))
    }

    /// The end that nobody uses of a network's pair of links.
    pub fn other_end(network_id: &str) -> String {
        format!("mo-{}", network_id.get(..12).unwrap_or(network_id))
    }

    /// The host's end of a container's link.
    pub fn host_end(endpoint_id: &str) -> String {
        format!("mv{}", endpoint_id.get(..13).unwrap_or(endpoint_id))
    }
}

/// A short fingerprint (FNV-1a, 64 bits), the same on every machine and in every version.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_root_has_plain_names_and_others_do_not() {
        let plain = Site::of_root(b"/var/lib/mica");
        assert_eq!((plain.table().as_str(), plain.default_bridge().as_str()), ("mica", "mica0"));
        let other = Site::of_root(b"/srv/mica");
        assert!(other.default_bridge().starts_with("mica0-") && other.default_bridge().len() <= 15);
        assert_ne!(other, Site::of_root(b"/srv/mica2"));
        assert_eq!(Site::bridge(&"a".repeat(64)).len(), 15);
        assert_eq!(Site::host_end(&"b".repeat(64)).len(), 15);
    }
}

//! The values that a template handles: JSON, borrowed where possible, and objects with methods.

use serde_json::Value as Json;
use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

/// Something whose fields are computed when they are asked for, such as a row of a listing.
pub trait Object {
    /// What docker calls its type in messages: `*formatter.ContainerContext`.
    fn type_name(&self) -> &str;

    /// The value of a field; nothing if there is no such field.
    fn field(&self, name: &str) -> Option<Json>;

    /// The value of a method with one argument, such as `{{.Label "name"}}`.
    fn method(&self, _name: &str, _argument: &str) -> Option<Json> {
        None
    }

    /// All the fields, in the order of `{{json .}}`.
    fn all(&self) -> Json;
}

/// A value.
#[derive(Clone)]
pub enum Value<'a> {
    /// A key that a map does not have: `<no value>`.
    Missing,
    /// Data that the caller owns.
    Data {
        /// The data.
        json: &'a Json,
        /// What docker's type for it is.
        nature: Nature,
    },
    /// Data that a function made.
    Made(Rc<Json>),
    /// Something with methods.
    Object(&'a dyn Object),
}

/// What docker's own types say about a value and JSON does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// A structure or list: missing fields are mistakes, null is an empty list.
    Plain,
    /// A map with keys of people's choice, such as labels; null is an empty map.
    Map,
    /// Something that may be absent: null is nil.
    Pointer,
}

impl Nature {
    /// What the value of a field is by its name, and for a name of two meanings by what it is a part of.
    fn of(field: &str, whole: &Json) -> Self {
        match field {
            // The options of a log driver; elsewhere it is a structure.
            "Config" if whole.get("Type").is_some() => Self::Map,
            _ => Self::named(field),
        }
    }

    fn named(field: &str) -> Self {
        match field {
            "Annotations" | "Attributes" | "Containers" | "Data" | "DriverOpts" | "ExposedPorts"
            | "Labels" | "Metadata" | "Networks" | "Options" | "Opts" | "PortBindings" | "Ports"
            | "StorageOpt" | "Sysctls" | "Tmpfs" | "Volumes" => Self::Map,
            "" | "Descriptor" | "Health" | "Healthcheck" | "IPAMConfig" | "Init" | "MemorySwappiness"
            | "OomKillDisable" | "PidsLimit" | "SizeRootFs" | "SizeRw" | "StopTimeout" => Self::Pointer,
            _ => Self::Plain,
        }
    }
}

/// The value of a field that docker's types have, but that documents leave out when it is empty.
pub(super) fn omitted(field: &str) -> Option<Json> {
    Some(match field {
        "Annotations" | "AuxiliaryAddresses" | "ExposedPorts" | "Labels" | "StorageOpt" | "Sysctls"
        | "Tmpfs" | "Volumes" => Json::Object(serde_json::Map::new()),
        "Cmd" | "Entrypoint" | "Env" | "LinkLocalIPs" | "Mounts" | "OnBuild" | "Shell" => {
            Json::Array(Vec::new())
        }
        "Author" | "Comment" | "DockerVersion" | "Driver" | "Gateway" | "IPRange" | "IPv4Address"
        | "IPv6Address" | "MacAddress" | "Name" | "OsVersion" | "Runtime" | "StopSignal" | "Subnet"
        | "User" | "Variant" | "VolumeDriver" | "WorkingDir" => "".into(),
        "ArgsEscaped" | "NetworkDisabled" => false.into(),
        field if Nature::named(field) == Nature::Pointer => Json::Null,
        _ => return None,
    })
}

/// What a document calls a field for which docker's own programs have another name: both are asked for.
pub(super) fn written_name(field: &str) -> Option<&'static str> {
    Some(match field {
        "APIVersion" => "ApiVersion",
        "AuxAddress" => "AuxiliaryAddresses",
        "CPUCfsPeriod" => "CpuCfsPeriod",
        "CPUCfsQuota" => "CpuCfsQuota",
        "CPUCount" => "CpuCount",
        "CPUPercent" => "CpuPercent",
        "CPUPeriod" => "CpuPeriod",
        "CPUQuota" => "CpuQuota",
        "CPURealtimePeriod" => "CpuRealtimePeriod",
        "CPURealtimeRuntime" => "CpuRealtimeRuntime",
        "CPUShares" => "CpuShares",
        "DNS" => "Dns",
        "DNSOptions" => "DnsOptions",
        "DNSSearch" => "DnsSearch",
        "HTTPProxy" => "HttpProxy",
        "HTTPSProxy" => "HttpsProxy",
        "HostIP" => "HostIp",
        "ID" => "Id",
        _ => return None,
    })
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => formatter.write_str("Missing"),
            Self::Object(object) => formatter.write_str(object.type_name()),
            _ => self.json().fmt(formatter),
        }
    }
}

impl<'a> From<Json> for Value<'a> {
    fn from(json: Json) -> Self {
        Self::Made(Rc::new(json))
    }
}

impl<'a> Value<'a> {
    /// A borrowed document.
    pub const fn data(json: &'a Json) -> Self {
        Self::Data { json, nature: Nature::Plain }
    }

    /// The value as JSON; what is missing is null.
    pub fn json(&self) -> Cow<'_, Json> {
        match self {
            Self::Missing => Cow::Owned(Json::Null),
            Self::Data { json, .. } => Cow::Borrowed(json),
            Self::Made(json) => Cow::Borrowed(json),
            Self::Object(object) => Cow::Owned(object.all()),
        }
    }

    /// Whether `if` takes it for true: not null, false, zero or empty.
    pub fn is_true(&self) -> bool {
        match &*self.json() {
            Json::Null => false,
            Json::Bool(value) => *value,
            Json::Number(number) => number.as_f64() != Some(0.0),
            Json::String(text) => !text.is_empty(),
            Json::Array(items) => !items.is_empty(),
            Json::Object(map) => !map.is_empty(),
        }
    }

    /// The name of its type in messages.
    pub fn type_name(&self) -> String {
        match self {
            Self::Object(object) => object.type_name().to_owned(),
            _ => type_name(&self.json()).to_owned(),
        }
    }

    /// A part of it, borrowed from where the whole is borrowed from.
    pub(super) fn child(&self, pick: impl Fn(&Json) -> Option<&Json>, name: &str) -> Option<Self> {
        match self {
            Self::Data { json, .. } => {
                pick(json).map(|part| Self::Data { json: part, nature: Nature::of(name, json) })
            }
            _ => pick(&self.json()).map(|json| json.clone().into()),
        }
    }

    /// Whether it is data with named fields.
    pub(super) fn is_document(&self) -> bool {
        !matches!(self, Self::Object(_)) && self.json().is_object()
    }

    /// Whether missing keys are no mistake here.
    pub(super) const fn is_free(&self) -> bool {
        matches!(self, Self::Data { nature: Nature::Map, .. } | Self::Made(_))
    }
}

/// Go's name for the type of decoded JSON.
pub(super) fn type_name(json: &Json) -> &'static str {
    match json {
        Json::Null => "<nil>",
        Json::Bool(_) => "bool",
        Json::Number(number) if number.is_f64() => "float64",
        Json::Number(_) => "int",
        Json::String(_) => "string",
        Json::Array(_) => "[]interface {}",
        Json::Object(_) => "map[string]interface {}",
    }
}

//! Readings of JSON as Go's decoder has them: null is the zero value, a set is an object of
//! whatever, a command may be a single string.

use mica_model::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// A value, or its default for null.
pub(super) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    Many(Vec<Option<String>>),
    One(String),
}

/// A list of strings, or one string for a list of one.
pub(super) fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    Ok(Option::<Words>::deserialize(deserializer)?.map(|words| match words {
        Words::Many(many) => many.into_iter().map(Option::unwrap_or_default).collect(),
        Words::One(one) => vec![one],
    }))
}

/// Labels, of which some may be null.
pub(super) fn labels<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let labels: Option<BTreeMap<String, Option<String>>> = Option::deserialize(deserializer)?;
    Ok(labels.into_iter().flatten().map(|(name, value)| (name, value.unwrap_or_default())).collect())
}

/// An instant; what isn't one is "never", since nothing depends on it.
pub(super) fn timestamp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse().ok()).unwrap_or(Timestamp::NEVER))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
pub(super) fn is_never(instant: &Timestamp) -> bool {
    instant.is_never()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
pub(super) fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Go's `map[string]struct{}`.
pub(super) mod set {
    use super::{BTreeMap, Deserialize, Deserializer, IgnoredAny};
    use serde::{Serialize, Serializer};
    use std::collections::BTreeSet;

    #[derive(Serialize)]
    struct Empty {}

    pub(in crate::config) fn serialize<S: Serializer>(
        set: &BTreeSet<String>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(set.iter().map(|member| (member, Empty {})))
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeSet<String>, D::Error> {
        let members: Option<BTreeMap<String, IgnoredAny>> = Option::deserialize(deserializer)?;
        Ok(members.into_iter().flatten().map(|(member, _)| member).collect())
    }
}

//! Filters of listings, `--filter label=a=b --filter status=exited`: a set of values by key, with
//! docker's rules of matching.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};

/// What a listing shall be narrowed to. Its JSON is the Engine API's: `{"label":{"a=b":true}}`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filters {
    values: BTreeMap<String, BTreeSet<String>>,
}

/// Why filters cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// No `=` in the argument.
    #[error("bad format of filter (expected name=value)")]
    Format,
    /// A key that the listing does not know.
    #[error("invalid filter '{key}'")]
    Key {
        /// The key.
        key: String,
    },
    /// Values that the key does not take.
    #[error("invalid filter '{key}=[{}]'", values.join(" "))]
    Value {
        /// The key.
        key: String,
        /// All its values.
        values: Vec<String>,
    },
}

impl FilterError {
    /// What kind of failure this is.
    pub const fn kind(&self) -> crate::ErrorKind {
        crate::ErrorKind::InvalidArgument
    }
}

impl Filters {
    /// Adds an argument `key=value` of the command line; an empty one changes nothing.
    ///
    /// # Errors
    /// [`FilterError::Format`] without a `=`.
    pub fn add_argument(&mut self, argument: &str) -> Result<(), FilterError> {
        if argument.is_empty() {
            return Ok(());
        }
        let (key, value) = argument.split_once('=').ok_or(FilterError::Format)?;
        self.add(&key.trim().to_lowercase(), value.trim());
        Ok(())
    }

    /// Adds one value to those of `key`.
    pub fn add(&mut self, key: &str, value: &str) {
        self.values.entry(key.to_owned()).or_default().insert(value.to_owned());
    }

    /// Forgets all the values of `key`.
    pub fn remove(&mut self, key: &str) {
        self.values.remove(key);
    }

    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Whether `key` was given.
    pub fn contains(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// The values of `key` in alphabetical order.
    pub fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.values.get(key).into_iter().flatten().map(String::as_str)
    }

    /// The keys in alphabetical order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Checks that only `accepted` keys were given.
    ///
    /// # Errors
    /// [`FilterError::Key`] for the first other one.
    pub fn validate(&self, accepted: &[&str]) -> Result<(), FilterError> {
        match self.keys().find(|key| !accepted.contains(key)) {
            Some(key) => Err(FilterError::Key { key: key.to_owned() }),
            None => Ok(()),
        }
    }

    /// Whether any value of `key` satisfies `test`; true when the key was not given.
    pub fn any_match(&self, key: &str, mut test: impl FnMut(&str) -> bool) -> bool {
        !self.contains(key) || self.values(key).any(&mut test)
    }

    /// Whether one of the values is `source`; true when the key was not given.
    pub fn exact_match(&self, key: &str, source: &str) -> bool {
        self.any_match(key, |value| value == source)
    }

    /// Whether one of the values is `source` or a beginning of it; true when the key was not given.
    pub fn fuzzy_match(&self, key: &str, source: &str) -> bool {
        self.any_match(key, |value| source.starts_with(value))
    }

    /// Whether one of the values is `source` or a regular expression found in it, as docker has it
    /// for the names and ids of containers; true when the key was not given. An expression that
    /// cannot be read matches nothing.
    pub fn pattern_match(&self, key: &str, source: &str) -> bool {
        self.any_match(key, |value| {
            value == source || regex_lite::Regex::new(value).is_ok_and(|pattern| pattern.is_match(source))
        })
    }

    /// Whether every value `name` or `name=value` of `key` is among `pairs`; true when the key was
    /// not given. This is how labels are matched.
    pub fn match_kv_list<'a>(&self, key: &str, pairs: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.values(key).all(|wanted| match wanted.split_once('=') {
            Some((name, value)) => pairs(name) == Some(value),
            None => pairs(wanted).is_some(),
        })
    }

    /// The truth of `key`, or `default` when it was not given: `true`, `1`, `false`, `0`.
    ///
    /// # Errors
    /// [`FilterError::Value`] for anything else, or for several values.
    pub fn boolean(&self, key: &str, default: Option<bool>) -> Result<Option<bool>, FilterError> {
        let values: Vec<&str> = self.values(key).collect();
        match values.as_slice() {
            [] if !self.contains(key) => Ok(default),
            ["true" | "1"] => Ok(Some(true)),
            ["false" | "0"] => Ok(Some(false)),
            _ => Err(self.bad_value(key)),
        }
    }

    /// The error for values of `key` that the listing cannot use.
    pub fn bad_value(&self, key: &str) -> FilterError {
        FilterError::Value { key: key.to_owned(), values: self.values(key).map(str::to_owned).collect() }
    }
}

impl Serialize for Filters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let inner = |set: &BTreeSet<String>| set.iter().map(|value| (value.clone(), true)).collect();
        serializer.collect_map(
            self.values
                .iter()
                .map(|(key, set)| (key, inner(set)))
                .collect::<Vec<(_, BTreeMap<String, bool>)>>(),
        )
    }
}

/// The two forms that clients send: a map of maps, or (before API 1.22) a map of lists.
#[derive(Deserialize)]
#[serde(untagged)]
enum WireValues {
    Set(BTreeMap<String, bool>),
    List(Vec<String>),
}

impl<'de> Deserialize<'de> for Filters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = BTreeMap::<String, WireValues>::deserialize(deserializer)?;
        let set = |values| match values {
            WireValues::Set(map) => {
                map.into_iter().filter(|(_, chosen)| *chosen).map(|(value, _)| value).collect()
            }
            WireValues::List(list) => list.into_iter().collect(),
        };
        Ok(Self { values: wire.into_iter().map(|(key, values)| (key, set(values))).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(arguments: &[&str]) -> Filters {
        let mut filters = Filters::default();
        for argument in arguments {
            filters.add_argument(argument).unwrap();
        }
        filters
    }

    #[test]
    fn arguments_are_trimmed_and_keys_lowered() {
        let filters = filters(&["Label = a=b ", "", "label=c"]);
        assert_eq!(filters.values("label").collect::<Vec<_>>(), ["a=b", "c"]);
        let error = Filters::default().add_argument("x").unwrap_err();
        assert_eq!(error.to_string(), "bad format of filter (expected name=value)");
    }

    #[test]
    fn unknown_keys_are_named() {
        let filters = filters(&["statsu=x"]);
        assert_eq!(filters.validate(&["statsu"]), Ok(()));
        assert_eq!(filters.validate(&["status"]).unwrap_err().to_string(), "invalid filter 'statsu'");
    }

    #[test]
    fn labels_must_all_match() {
        let labels = |name: &str| match name {
            "a" => Some("b"),
            "empty" => Some(""),
            _ => None,
        };
        for (arguments, matches) in [
            (&[][..], true),
            (&["label=a"], true),
            (&["label=a=b"], true),
            (&["label=a=c"], false),
            (&["label=a", "label=z"], false),
            (&["label=empty="], true),
        ] {
            assert_eq!(filters(arguments).match_kv_list("label", labels), matches, "{arguments:?}");
        }
    }

    #[test]
    fn names_match_by_any_value() {
        let filters = filters(&["name=^web", "name=(", "id=ab", "status=exited"]);
        assert!(filters.pattern_match("name", "web1"));
        assert!(filters.pattern_match("name", "("));
        assert!(!filters.pattern_match("name", "my-web"));
        assert!(filters.fuzzy_match("id", "abc") && !filters.fuzzy_match("id", "cab"));
        assert!(filters.exact_match("status", "exited") && !filters.exact_match("status", "exit"));
        assert!(filters.exact_match("absent", "anything"));
    }

    #[test]
    fn truth_is_one_of_four_words() {
        assert_eq!(filters(&["dangling=1"]).boolean("dangling", None), Ok(Some(true)));
        assert_eq!(filters(&["dangling=false"]).boolean("dangling", None), Ok(Some(false)));
        assert_eq!(filters(&[]).boolean("dangling", Some(true)), Ok(Some(true)));
        let error = filters(&["dangling=x", "dangling=1"]).boolean("dangling", None).unwrap_err();
        assert_eq!(error.to_string(), "invalid filter 'dangling=[1 x]'");
    }

    #[test]
    fn json_is_that_of_the_engine_api() {
        let filters = filters(&["label=a=b", "label=c"]);
        let json = r#"{"label":{"a=b":true,"c":true}}"#;
        assert_eq!(serde_json::to_string(&filters).unwrap(), json);
        assert_eq!(serde_json::from_str::<Filters>(json).unwrap(), filters);
        assert_eq!(serde_json::from_str::<Filters>(r#"{"label":["c","a=b"]}"#).unwrap(), filters);
        assert_eq!(
            serde_json::from_str::<Filters>(r#"{"label":{"x":false}}"#).unwrap().values("label").count(),
            0
        );
    }
}

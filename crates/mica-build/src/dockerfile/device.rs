//! `RUN --device=…`: the devices that a command asks for.

use super::flag;

/// A wish for devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceWish {
    /// `vendor.com/class` (the first one), `vendor.com/class=name`, `vendor.com/class=*` (all), or a class that files
    /// give to devices by a note.
    pub name: String,
    /// Whether the build fails where there is none.
    pub is_required: bool,
}

/// What can be wrong with a wish.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceProblem {
    /// Nothing says which device.
    #[error("invalid device {text:?}: a name is missing")]
    NoName {
        /// The whole value.
        text: String,
    },
    /// More than one word that could be the name.
    #[error("unexpected field '{field}' in device {text:?}")]
    Unexpected {
        /// The field.
        field: String,
        /// The whole value.
        text: String,
    },
    /// `required` with something that is neither true nor false.
    #[error("invalid value for required: {value}")]
    Required {
        /// The value.
        value: String,
    },
}

impl DeviceWish {
    /// Reads `name[,required]`.
    ///
    /// # Errors
    /// When it is something else.
    pub fn parse(text: &str) -> Result<Self, DeviceProblem> {
        let mut wish = Self::default();
        for field in text.split(',').filter(|field| !field.is_empty()) {
            match field.split_once('=').unwrap_or((field, "true")) {
                (key, value) if key.eq_ignore_ascii_case("required") => {
                    let required = || DeviceProblem::Required { value: value.to_owned() };
                    wish.is_required = flag::boolean(value).ok_or_else(required)?;
                }
                (key, value) if key.eq_ignore_ascii_case("name") && wish.name.is_empty() => {
                    value.clone_into(&mut wish.name);
                }
                _ if wish.name.is_empty() => field.clone_into(&mut wish.name),
                _ => {
                    return Err(DeviceProblem::Unexpected { field: field.to_owned(), text: text.to_owned() });
                }
            }
        }
        match wish.name.is_empty() {
            true => Err(DeviceProblem::NoName { text: text.to_owned() }),
            false => Ok(wish),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_wish_has_a_name_and_may_be_required() {
        let wish = |text: &str| DeviceWish::parse(text).map(|wish| (wish.name, wish.is_required));
        assert_eq!(wish("vendor.com/class=x"), Ok(("vendor.com/class=x".to_owned(), false)));
        assert_eq!(wish("vendor.com/class=*,required"), Ok(("vendor.com/class=*".to_owned(), true)));
        assert_eq!(wish("Required=false,name=gpu"), Ok(("gpu".to_owned(), false)));
        for wrong in ["", "required", "a,b", "a,required=x"] {
            assert!(wish(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            if let Ok(wish) = DeviceWish::parse(&text) {
                prop_assert!(text.contains(&wish.name));
            }
        }
    }
}

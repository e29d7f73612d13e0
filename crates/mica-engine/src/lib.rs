//! What does the user's wish mean? The only crate that knows more than one room.

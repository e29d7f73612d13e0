//! What did you type, what do you see? Commands, output, errors.

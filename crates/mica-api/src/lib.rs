//! The typed requests and answers that every door speaks.

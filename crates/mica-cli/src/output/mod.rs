//! What people see: the printer, tables, templates, words for sizes and times, progress.

pub mod format;
pub mod progress;
pub mod table;
pub mod template;
pub mod time;
pub mod ui;
pub mod units;

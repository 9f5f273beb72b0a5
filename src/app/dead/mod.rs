//! Letters: which ones a command is about.

pub(in crate::app) mod selection;

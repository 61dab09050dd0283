//! The integration tests, as they come.

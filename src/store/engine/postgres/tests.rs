//! What the unit tests of the engine share. Holds no test of its own.

pub(crate) mod server;

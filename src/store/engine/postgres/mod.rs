//! What only PostgreSQL can do. The logic of the store stands above, once for every engine.

pub(crate) mod connect;

//! Reading for people.

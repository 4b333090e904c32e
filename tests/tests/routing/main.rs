//! Routing and traffic management compared with the real Envoy, a suite a
//! subject: see [`ringway_tests::comparison`].

mod metadata;
mod mirroring;

//! Tests of the reactor as a whole, each on both drivers.

mod basics;

//! `/memory`: how much the process takes, from the kernel. The allocator keeps
//! no accounts that could be asked cheaply, so what Envoy reports of tcmalloc's
//! caches is zero.

use std::fs;

use serde_json::json;

use super::endpoint::{Endpoint, Process};
use super::reply::Reply;
use super::request::Query;

pub(super) const ENDPOINT: Endpoint = Endpoint {
    path: "/memory",
    mutates: false,
    help: "print how much memory the process takes",
    params: &[],
    handle,
};

pub(super) const TCMALLOC: Endpoint = Endpoint {
    path: "/memory/tcmalloc",
    mutates: false,
    help: "print the statistics of tcmalloc (if it is the allocator)",
    params: &[],
    handle: |_: &Process, _: &Query| {
        Reply::error(
            hyper::StatusCode::NOT_IMPLEMENTED,
            "The current build does not use tcmalloc",
        )
    },
};

fn handle(_: &Process, _: &Query) -> Reply {
    let memory = Memory::now();
    // `envoy.admin.v3.Memory`: proto JSON writes 64-bit numbers as strings.
    Reply::json(&json!({
        "allocated": memory.allocated_bytes.to_string(),
        "heap_size": memory.heap_bytes.to_string(),
        "pageheap_unmapped": "0",
        "pageheap_free": "0",
        "total_thread_cache": "0",
        "total_physical_bytes": memory.physical_bytes.to_string(),
    }))
}

/// What the kernel says of this process's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// Anonymous memory that is in use.
    pub(super) allocated_bytes: u64,
    /// Address space of heap and other private data.
    pub(super) heap_bytes: u64,
    /// Resident memory, with code and shared pages.
    pub(super) physical_bytes: u64,
}

impl Memory {
    /// All zero where `/proc` cannot be read.
    pub(super) fn now() -> Self {
        Self::parse(&fs::read_to_string("/proc/self/status").unwrap_or_default())
    }

    fn parse(status: &str) -> Self {
        // "RssAnon:	   1234 kB"
        let bytes = |name: &str| {
            (status.lines())
                .filter_map(|line| line.split_once(':'))
                .find(|(given, _)| *given == name)
                .and_then(|(_, value)| value.split_whitespace().next()?.parse::<u64>().ok())
                .map_or(0, |kib| kib * 1024)
        };
        Self {
            allocated_bytes: bytes("RssAnon"),
            heap_bytes: bytes("VmData"),
            physical_bytes: bytes("VmRSS"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_numbers_are_read() {
        let status = "Name:\tx\nVmRSS:\t    2048 kB\nRssAnon:\t     512 kB\nVmData:\t   4096 kB\n";
        let memory = Memory {
            allocated_bytes: 512 << 10,
            heap_bytes: 4 << 20,
            physical_bytes: 2 << 20,
        };
        assert_eq!(Memory::parse(status), memory);
        assert_eq!(Memory::parse("nonsense\n:::"), Memory::default());
        assert!(Memory::now().physical_bytes > 0);
    }
}

//! Which families of addresses this machine has, the loopback's apart
//! (`filter_unroutable_families`). As in Envoy they are looked at for each
//! question: interfaces come and go.

use std::fs;
use std::net::Ipv4Addr;

/// Whether any interface but the loopback has an address of the family.
/// True where the kernel does not tell.
pub(super) fn has_ipv4() -> bool {
    fs::read_to_string("/proc/net/fib_trie").map_or(true, |table| is_in_trie(&table))
}

/// The same of the other family.
pub(super) fn has_ipv6() -> bool {
    fs::read_to_string("/proc/net/if_inet6").map_or(true, |list| is_in_list(&list))
}

/// The kernel's routing table: addresses of its own are leaves of their own.
fn is_in_trie(table: &str) -> bool {
    let mut last = Ipv4Addr::LOCALHOST;
    table.lines().any(|line| {
        let line = line.trim_start();
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse().unwrap_or(Ipv4Addr::LOCALHOST);
        }
        line.starts_with("/32 host LOCAL") && !last.is_loopback()
    })
}

/// An address and what belongs to it in each line.
fn is_in_list(list: &str) -> bool {
    const LOOPBACK: &str = "00000000000000000000000000000001";
    list.lines().any(|line| !line.starts_with(LOOPBACK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_others_than_the_loopback() {
        let lo = "Local:\n  +-- 127.0.0.0/8 2 0 2\n     |-- 127.0.0.0\n        /8 host LOCAL\n     \
                  |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 127.255.255.255\n        \
                  /32 link BROADCAST\n";
        let other = "     |-- 192.0.2.2\n        /32 host LOCAL\n";
        let broadcast = "     |-- 192.0.2.255\n        /32 link BROADCAST\n";
        assert!(!is_in_trie(""));
        assert!(!is_in_trie(lo));
        assert!(!is_in_trie(&format!("{lo}{broadcast}")));
        assert!(is_in_trie(&format!("{lo}{other}")));
        let lo = "00000000000000000000000000000001 01 80 10 80       lo\n";
        let other = "fe8000000000000000fc00fffe000001 04 40 20 80     eth0\n";
        assert!(!is_in_list(""));
        assert!(!is_in_list(lo));
        assert!(is_in_list(&format!("{lo}{other}")));
    }
}

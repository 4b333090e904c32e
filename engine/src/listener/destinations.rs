//! The listeners of a worker by the addresses that they stand for: where a connection
//! goes on that was led to another one (`use_original_dst`).

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::{Rc, Weak};

use ringway_config::core::Address;

use super::Serving;

thread_local! {
    static BY_ADDRESS: RefCell<HashMap<SocketAddr, Weak<Serving>>> = RefCell::default();
}

/// Enters a listener, also one that has no socket: it has no connections but those
/// that others give it.
pub(super) fn enter(serving: &Rc<Serving>) {
    BY_ADDRESS.with_borrow_mut(|known| {
        for address in addresses(serving) {
            known.insert(address, Rc::downgrade(serving));
        }
    });
}

/// Takes out a listener that ends.
pub(super) fn remove(serving: &Rc<Serving>) {
    BY_ADDRESS.with_borrow_mut(|known| {
        for address in addresses(serving) {
            let is_ours = |known: &Weak<Serving>| known.as_ptr() == Rc::as_ptr(serving);
            if known.get(&address).is_some_and(is_ours) {
                known.remove(&address);
            }
        }
    });
}

/// The listener for an address, or for its port on any address.
pub(super) fn find(address: SocketAddr) -> Option<Rc<Serving>> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    BY_ADDRESS.with_borrow(|known| {
        let found = known.get(&address);
        let found = found.or_else(|| known.get(&SocketAddr::new(any, address.port())));
        found.and_then(Weak::upgrade)
    })
}

/// Those that were bound, or those of the configuration where nothing was.
fn addresses(serving: &Serving) -> impl Iterator<Item = SocketAddr> {
    let shared = &serving.shared;
    let of_config = match shared.addresses.is_empty() {
        true => usize::MAX,
        false => 0,
    };
    let all = (shared.addresses.iter()).chain(shared.config.addresses().take(of_config));
    all.filter_map(|address| match address {
        Address::Socket(address) => Some(*address),
        Address::Pipe { .. } => None,
    })
}

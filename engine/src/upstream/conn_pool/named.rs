//! Pools of a host for the requests that ask it for one name, or for more
//! ([`TransportSocketOptions`]): whoever was asked for another may be another.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use super::{Pool, Speaks};
use crate::transport_sockets::options::{NameUse, Said, TransportSocketOptions};
use crate::transport_sockets::tls::Asked;
use crate::upstream::host::Host;

/// The pools of one host by name, in lower case, and by what the name is for; those of
/// which filters have said more by all of that.
#[derive(Default)]
pub struct NamedPools {
    by_name: RefCell<HashMap<Box<str>, ByUse>>,
    by_said: RefCell<HashMap<Said, Rc<NamedPool>>>,
    /// Names at which those that nobody uses any more are looked for.
    sweep_at: Cell<usize>,
}

/// The pools of a name by [`NameUse`].
type ByUse = [Option<Rc<NamedPool>>; NameUse::COUNT];

/// Names that a host has before any is forgotten.
const NAMES_MIN: usize = 64;

/// The pools of one name.
pub(super) struct NamedPool {
    /// What its hosts are asked for.
    pub asked: Asked,
    http1: Pool,
    multiplexed: Pool,
    bytes: Pool,
}

impl NamedPool {
    /// The one for what `options` ask of a host; `None` if that is nothing.
    pub(super) fn find(host: &Host, options: &TransportSocketOptions) -> Option<Rc<Self>> {
        let pools = || host.named_pools.get_or_init(Box::default);
        if let Some(said) = options.said() {
            return Some(pools().of_said(said));
        }
        let (name, uses) = options.name()?;
        let lower;
        let name = match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => {
                lower = name.to_ascii_lowercase();
                &*lower
            }
            false => name,
        };
        let pools = pools();
        if let Some(found) = pools
            .by_name
            .borrow()
            .get(name)
            .and_then(|own| own[uses as usize].as_ref())
        {
            return Some(Rc::clone(found));
        }
        pools.sweep();
        let own = Self::new(options.wanted());
        let mut by_name = pools.by_name.borrow_mut();
        by_name.entry(name.into()).or_default()[uses as usize] = Some(Rc::clone(&own));
        Some(own)
    }

    fn new(wanted: Said) -> Rc<Self> {
        Rc::new(Self {
            asked: Asked::new(wanted),
            http1: Pool::default(),
            multiplexed: Pool::default(),
            bytes: Pool::default(),
        })
    }

    /// Whether a request or a connection has it.
    fn is_used(self: &Rc<Self>) -> bool {
        Rc::strong_count(self) > 1 || !self.all().into_iter().all(Pool::is_empty)
    }

    pub(super) fn pool(&self, speaks: Speaks) -> &Pool {
        match speaks {
            Speaks::Http1 => &self.http1,
            Speaks::Http2 | Speaks::Negotiated => &self.multiplexed,
            Speaks::Bytes => &self.bytes,
        }
    }

    fn all(&self) -> [&Pool; 3] {
        [&self.http1, &self.multiplexed, &self.bytes]
    }
}

impl NamedPools {
    fn of_said(&self, said: &Said) -> Rc<NamedPool> {
        if let Some(found) = self.by_said.borrow().get(said) {
            return Rc::clone(found);
        }
        self.sweep();
        let own = NamedPool::new(said.clone());
        let mut by_said = self.by_said.borrow_mut();
        by_said.insert(said.clone(), Rc::clone(&own));
        own
    }

    /// Forgets what nobody uses any more, once there is much of it.
    fn sweep(&self) {
        let (mut by_name, mut by_said) = (self.by_name.borrow_mut(), self.by_said.borrow_mut());
        if by_name.len() + by_said.len() < self.sweep_at.get().max(NAMES_MIN) {
            return;
        }
        by_name.retain(|_, own| own.iter().flatten().any(NamedPool::is_used));
        by_said.retain(|_, own| own.is_used());
        self.sweep_at.set(2 * (by_name.len() + by_said.len()));
    }

    pub(super) fn for_each(&self, mut f: impl FnMut(&Pool)) {
        // Whatever `f` closes may end a request that asks for a name.
        let (by_name, by_said) = (self.by_name.borrow(), self.by_said.borrow());
        let named = by_name.values().flatten().flatten();
        let all: Vec<_> = named.chain(by_said.values()).map(Rc::clone).collect();
        drop((by_name, by_said));
        for own in all {
            own.all().into_iter().for_each(&mut f);
        }
    }
}

//! From a host name to a virtual host, without a scan and without an
//! allocation.
//!
//! Precedence, as `VirtualHost.domains` documents it: the exact name, then
//! suffix wildcards (`*.foo.com`, `*-bar.foo.com`), longest first, then prefix
//! wildcards (`foo.*`), longest first, then `*`. A wildcard stands for at
//! least one character. Host names are compared without regard to ASCII case.

/// Maps host names to the index of their virtual host.
#[derive(Debug)]
pub(super) struct DomainIndex {
    exact: NameTable,
    suffixes: WildcardTable,
    prefixes: WildcardTable,
    any: Option<u32>,
}

/// A domain that was there already.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Duplicate;

impl Default for DomainIndex {
    fn default() -> Self {
        DomainIndex {
            exact: NameTable::default(),
            suffixes: WildcardTable::new(Side::End),
            prefixes: WildcardTable::new(Side::Start),
            any: None,
        }
    }
}

impl DomainIndex {
    /// Makes `domain` lead to `virtual_host`.
    pub(super) fn insert(&mut self, domain: &str, virtual_host: u32) -> Result<(), Duplicate> {
        let domain = domain.as_bytes();
        match domain {
            b"*" => match self.any.replace(virtual_host) {
                None => Ok(()),
                Some(first) => {
                    self.any = Some(first);
                    Err(Duplicate)
                }
            },
            [b'*', suffix @ ..] => self.suffixes.insert(suffix, virtual_host),
            [prefix @ .., b'*'] => self.prefixes.insert(prefix, virtual_host),
            name => self
                .exact
                .insert(name, hash_lower(name.iter()), virtual_host),
        }
    }

    /// The virtual host of every request, whatever its host name: `*` is the
    /// only domain.
    pub(super) fn only_any(&self) -> Option<u32> {
        let names = [&self.exact, &self.suffixes.names, &self.prefixes.names];
        let has_others = names.iter().any(|table| !table.entries.is_empty());
        self.any.filter(|_| !has_others)
    }

    /// The virtual host of a host name.
    pub(super) fn find(&self, host: &[u8]) -> Option<u32> {
        self.exact
            .find(host, hash_lower(host.iter()))
            .or_else(|| self.suffixes.find(host))
            .or_else(|| self.prefixes.find(host))
            .or(self.any)
    }
}

/// Wildcards with the star on one side, by their length without the star.
#[derive(Debug)]
struct WildcardTable {
    side: Side,
    names: NameTable,
    /// Lengths that occur, shortest first.
    lengths: Vec<usize>,
}

/// Where in a host name the text of a wildcard stands.
#[derive(Debug, Clone, Copy)]
enum Side {
    Start,
    End,
}

impl WildcardTable {
    fn new(side: Side) -> Self {
        WildcardTable {
            side,
            names: NameTable::default(),
            lengths: Vec::new(),
        }
    }

    fn insert(&mut self, name: &[u8], virtual_host: u32) -> Result<(), Duplicate> {
        let hash = match self.side {
            Side::Start => hash_lower(name.iter()),
            Side::End => hash_lower(name.iter().rev()),
        };
        self.names.insert(name, hash, virtual_host)?;
        if let Err(at) = self.lengths.binary_search(&name.len()) {
            self.lengths.insert(at, name.len());
        }
        Ok(())
    }

    /// The virtual host of the longest wildcard that fits. The hash of a
    /// longer part of the name goes on from that of a shorter one, so each
    /// byte is looked at once.
    fn find(&self, host: &[u8]) -> Option<u32> {
        let mut longest = None;
        let (mut hash, mut hashed) = (FNV_OFFSET, 0);
        for length in self
            .lengths
            .iter()
            .take_while(|length| **length < host.len())
        {
            let part = match self.side {
                Side::Start => {
                    hash = add_lower(hash, host[hashed..*length].iter());
                    &host[..*length]
                }
                Side::End => {
                    let added = &host[host.len() - length..host.len() - hashed];
                    hash = add_lower(hash, added.iter().rev());
                    &host[host.len() - length..]
                }
            };
            hashed = *length;
            longest = self.names.find(part, fold(hash)).or(longest);
        }
        longest
    }
}

/// An open-addressing hash table of lower-case names. The standard map could
/// not be asked with a name in mixed case without copying it first.
#[derive(Debug, Default)]
struct NameTable {
    /// Indices into `entries` plus one; zero is a free slot. A power of two
    /// long, at most half full.
    slots: Vec<u32>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    name: Box<[u8]>,
    virtual_host: u32,
}

impl NameTable {
    fn insert(&mut self, name: &[u8], hash: u64, virtual_host: u32) -> Result<(), Duplicate> {
        if self.find(name, hash).is_some() {
            return Err(Duplicate);
        }
        self.entries.push(Entry {
            hash,
            name: name.to_ascii_lowercase().into(),
            virtual_host,
        });
        self.rebuild_if_full();
        let last = self.entries.len() - 1;
        self.place(last);
        Ok(())
    }

    fn find(&self, name: &[u8], hash: u64) -> Option<u32> {
        if self.entries.is_empty() {
            return None;
        }
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while let Some(index) = self.slots[slot].checked_sub(1) {
            let entry = &self.entries[index as usize];
            if entry.hash == hash && entry.name.eq_ignore_ascii_case(name) {
                return Some(entry.virtual_host);
            }
            slot = (slot + 1) & mask;
        }
        None
    }

    fn place(&mut self, index: usize) {
        let mask = self.slots.len() - 1;
        let mut slot = self.entries[index].hash as usize & mask;
        while self.slots[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = u32::try_from(index + 1).expect("fewer than 2^32 domains fit in memory");
    }

    fn rebuild_if_full(&mut self) {
        if self.entries.len() * 2 <= self.slots.len() {
            return;
        }
        self.slots = vec![0; (self.entries.len() * 4).next_power_of_two()];
        for index in 0..self.entries.len() - 1 {
            self.place(index);
        }
    }
}

/// FNV-1a over the lower-cased bytes, with the high bits folded down. The
/// names in the table come from the configuration, so a client cannot make
/// them collide.
fn hash_lower<'b>(bytes: impl Iterator<Item = &'b u8>) -> u64 {
    fold(add_lower(FNV_OFFSET, bytes))
}

fn add_lower<'b>(hash: u64, bytes: impl Iterator<Item = &'b u8>) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.fold(hash, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(PRIME)
    })
}

fn fold(hash: u64) -> u64 {
    hash ^ (hash >> 32)
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

#[cfg(test)]
mod tests {
    use super::*;

    fn index(domains: &[&str]) -> DomainIndex {
        let mut index = DomainIndex::default();
        for (i, domain) in domains.iter().enumerate() {
            index.insert(domain, i as u32).unwrap();
        }
        index
    }

    #[test]
    fn precedence() {
        let domains = [
            "*",
            "www.foo.com",
            "*.foo.com",
            "*-bar.foo.com",
            "*.com",
            "foo.*",
            "foo.bar.*",
            "www.*",
            "a*b",
            "*mid*",
            "",
        ];
        let index = index(&domains);
        for (host, domain) in [
            ("www.foo.com", "www.foo.com"),
            ("WWW.Foo.COM", "www.foo.com"),
            ("x.foo.com", "*.foo.com"),
            ("x.y.foo.com", "*.foo.com"),
            ("baz-bar.foo.com", "*-bar.foo.com"),
            ("-bar.foo.com", "*.foo.com"),
            (".foo.com", "*.com"),
            (".com", "*"),
            ("foo.com", "*.com"),
            ("foo.org", "foo.*"),
            ("foo.bar.org", "foo.bar.*"),
            ("foo.", "*"),
            ("www.", "*"),
            ("WWW.x", "www.*"),
            ("a*b", "a*b"),
            ("axb", "*"),
            ("xmid*", "*mid*"),
            ("www.foo.com:80", "www.*"),
            ("", ""),
            ("other", "*"),
        ] {
            let found = index
                .find(host.as_bytes())
                .map(|found| domains[found as usize]);
            assert_eq!(found, Some(domain), "{host}");
        }
    }

    #[test]
    fn nothing_matches_without_a_star() {
        let index = index(&["a.com", "*.b.com"]);
        assert_eq!(index.find(b""), None);
        assert_eq!(index.find(b"b.com"), None);
        assert_eq!(index.find(b"a.com:80"), None);
        assert_eq!(index.find(b"A.com"), Some(0));
        assert_eq!(DomainIndex::default().find(b"x"), None);
    }

    #[test]
    fn duplicates_are_found_in_any_case_and_the_first_stays() {
        let mut index = index(&["a.com", "*.b.com", "c.*", "*"]);
        for domain in ["A.COM", "*.B.com", "C.*", "*"] {
            assert_eq!(index.insert(domain, 9), Err(Duplicate), "{domain}");
        }
        assert_eq!(index.find(b"zzz"), Some(3));
    }

    #[test]
    fn many_names_are_all_found() {
        let names: Vec<String> = (0..5_000).map(|i| format!("h{i}.example")).collect();
        let mut index = DomainIndex::default();
        for (i, name) in names.iter().enumerate() {
            index.insert(name, i as u32).unwrap();
        }
        for (i, name) in names.iter().enumerate() {
            assert_eq!(index.find(name.as_bytes()), Some(i as u32));
        }
        assert_eq!(index.find(b"h5000.example"), None);
    }
}

use super::*;

fn list(h: &HeaderMap) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    h.iter()
        .map(|(name, value)| (text(name.as_bytes()), text(value)))
        .collect()
}

#[test]
fn order_and_duplicates_are_kept() {
    let mut h = HeaderMap::new();
    h.append(HeaderId::Method, b"GET");
    h.append_name(b"x-b", b"1");
    h.append_name(b"accept", b"a");
    h.append(HeaderId::Accept, b"b");
    h.append_name(b"x-b", b"2");
    assert_eq!(h.len(), 5);
    assert_eq!(h.byte_size(), 10 + 4 + 7 + 7 + 4);
    assert_eq!(h.get(HeaderId::Accept), Some(&b"a"[..]));
    assert_eq!(h.get_name(b"accept"), Some(&b"a"[..]));
    assert_eq!(h.get_name(b"x-b"), Some(&b"1"[..]));
    assert_eq!(h.get_name(b"x-c"), None);
    assert_eq!(h.get(HeaderId::Host), None);
    assert_eq!(h.get_all(HeaderId::Accept).count(), 2);
    assert_eq!(h.get_all(HeaderId::Host).count(), 0);
    let all: Vec<_> = h.get_all_name(b"x-b").collect();
    assert_eq!(all, [b"1", b"2"]);
    let names: Vec<_> = h.iter().map(|(name, _)| name).collect();
    assert_eq!(names[2], HeaderName::Known(HeaderId::Accept));
    assert_eq!(names[4], HeaderName::Other(b"x-b"));
}

#[test]
fn setting_keeps_the_first_position() {
    let mut h = HeaderMap::new();
    for (name, value) in [("via", "1"), ("x", "2"), ("via", "3"), ("x", "4")] {
        h.append_name(name.as_bytes(), value.as_bytes());
    }
    h.set(HeaderId::Via, b"new");
    h.set_name(b"x", b"newer");
    h.set_name(b"y", b"added");
    h.set_with(HeaderId::Date, |value| value.extend_from_slice(b"today"));
    h.append_with(HeaderId::Date, |_| {});
    let expected = [
        ("via", "new"),
        ("x", "newer"),
        ("y", "added"),
        ("date", "today"),
        ("date", ""),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(list(&h), expected);
}

#[test]
fn removing() {
    let mut h = HeaderMap::new();
    for name in ["via", "x", "date", "via", "x"] {
        h.append_name(name.as_bytes(), b"v");
    }
    assert!(h.remove(HeaderId::Via) && !h.remove(HeaderId::Via));
    assert!(h.remove_name(b"x") && !h.remove_name(b"x"));
    assert!(!h.contains(HeaderId::Via) && h.contains(HeaderId::Date));
    h.retain(|name, _| name != HeaderName::Known(HeaderId::Date));
    assert!(h.is_empty() && !h.contains(HeaderId::Date));
}

#[test]
fn memory_is_kept_until_it_is_given_back() {
    let mut h = HeaderMap::new();
    h.append(HeaderId::Via, &[b'v'; 10_000]);
    h.shrink(100);
    assert_eq!(h.get(HeaderId::Via).map(<[u8]>::len), Some(10_000));
    h.clear();
    assert!(h.arena.capacity() >= 10_000);
    h.shrink(20_000);
    assert!(h.arena.capacity() >= 10_000);
    h.shrink(1000);
    assert!(h.arena.capacity() <= 1000);
    assert!(h.is_empty() && !h.contains(HeaderId::Via));
}

#[test]
fn it_behaves_like_a_list_of_pairs() {
    const NAMES: [&[u8]; 6] = [
        b"via",
        b"date",
        b"x-a",
        b"x-b",
        b":path",
        b"x-envoy-retry-on",
    ];
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut h = HeaderMap::new();
    let mut model: Vec<(&[u8], Vec<u8>)> = Vec::new();
    for _ in 0..20_000 {
        let name = NAMES[rng.usize(..NAMES.len())];
        let value = vec![b'v'; rng.usize(0..9)];
        match rng.u8(0..20) {
            0..9 => {
                h.append_name(name, &value);
                model.push((name, value));
            }
            9..14 => {
                h.set_name(name, &value);
                match model.iter().position(|(n, _)| *n == name) {
                    None => model.push((name, value)),
                    Some(first) => {
                        model[first].1 = value;
                        let mut at = 0;
                        model.retain(|(n, _)| {
                            at += 1;
                            at <= first + 1 || *n != name
                        });
                    }
                }
            }
            14..17 => {
                let removed = h.remove_name(name);
                assert_eq!(removed, model.iter().any(|(n, _)| *n == name));
                model.retain(|(n, _)| *n != name);
            }
            17..19 => {
                h.retain(|n, v| n.as_bytes() != name || v.len() % 2 == 0);
                model.retain(|(n, v)| *n != name || v.len() % 2 == 0);
            }
            _ => {
                if model.len() > 12 {
                    h.clear();
                    model.clear();
                }
            }
        }
        let pairs: Vec<_> = h.iter().map(|(n, v)| (n.as_bytes(), v.to_vec())).collect();
        assert_eq!(pairs, model);
        for name in NAMES {
            let first = model.iter().find(|(n, _)| *n == name);
            assert_eq!(h.get_name(name), first.map(|(_, v)| &v[..]));
            if let Some(id) = HeaderId::from_lower(name) {
                assert_eq!(h.contains(id), first.is_some());
            }
        }
    }
}

//! A compact radix tree: which candidates are worth a look for a path.
//!
//! Every candidate has a key that the paths it takes begin with. A node stands
//! for the bytes on the way to it from the root, and holds the candidates that
//! have these bytes as their key. The nodes that a path passes on its way down
//! hold all candidates that it may belong to, and nothing else, however many
//! others there are.
//!
//! All nodes are in one list, the children of a node side by side, so a step
//! down is a search for one byte among those that the labels of the children
//! begin with, and a comparison of the label.

use super::string_match::Case;
use std::ops::Range;

/// What a candidate asks of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// To be the key.
    Whole,
    /// To begin with the key.
    Prefix,
}

/// A candidate while a tree is built.
#[derive(Debug)]
pub(super) struct Entry {
    /// What all its paths begin with.
    pub(super) key: Vec<u8>,
    /// How much of a path the key is.
    pub(super) reach: Reach,
    /// Its number: candidates are tried in this order.
    pub(super) number: u32,
}

/// An immutable tree of candidates.
#[derive(Debug)]
pub(super) struct PathTree {
    case: Case,
    nodes: Box<[Node]>,
    /// The first byte of each node's label, by node.
    first_bytes: Box<[u8]>,
    /// The bytes of all labels.
    labels: Box<[u8]>,
    /// Ascending in each node.
    candidates: Box<[u32]>,
}

#[derive(Debug, Default)]
struct Node {
    /// In `labels`: the bytes between the parent and this node.
    label: Span,
    /// In `nodes`.
    children: Span,
    /// In `candidates`: those whose path ends here.
    whole: Span,
    /// In `candidates`: those whose path may go on.
    prefix: Span,
    /// The nearest node above that has candidates of the latter kind.
    above: Option<u32>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn new(range: Range<usize>) -> Self {
        let number = |at| u32::try_from(at).expect("fewer than 2^32 bytes of keys fit in memory");
        Span {
            start: number(range.start),
            end: number(range.end),
        }
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl PathTree {
    /// The lowest number below `limit` of a candidate for `path` that passes,
    /// or `limit`. The most specific candidates are tried first, and after a
    /// success only those of lower numbers.
    pub(super) fn first(&self, path: &[u8], limit: u32, passes: impl Fn(u32) -> bool) -> u32 {
        let mut best = limit;
        let mut try_all = |span: Span| {
            let numbers = self.candidates[span.range()].iter();
            if let Some(found) = numbers
                .take_while(|number| **number < best)
                .find(|number| passes(**number))
            {
                best = *found;
            }
        };
        let (node, is_whole) = self.descend(path);
        if is_whole {
            try_all(node.whole);
        }
        let mut next = Some(node);
        while let Some(node) = next {
            try_all(node.prefix);
            next = node.above.map(|above| &self.nodes[above as usize]);
        }
        best
    }

    /// The last node on the way of `path`, and whether the path ends there.
    fn descend(&self, path: &[u8]) -> (&Node, bool) {
        let mut node = &self.nodes[0];
        let mut rest = path;
        while let Some(byte) = rest.first() {
            let byte = match self.case {
                Case::Sensitive => *byte,
                Case::Insensitive => byte.to_ascii_lowercase(),
            };
            let children = node.children.range();
            let Some(child) = memchr::memchr(byte, &self.first_bytes[children.clone()]) else {
                return (node, false);
            };
            let child = &self.nodes[children.start + child];
            let label = &self.labels[child.label.range()];
            if !self.case.starts_with(rest, label) {
                return (node, false);
            }
            rest = &rest[label.len()..];
            node = child;
        }
        (node, true)
    }

    /// Builds the tree.
    pub(super) fn new(case: Case, mut entries: Vec<Entry>) -> Self {
        if case == Case::Insensitive {
            for entry in &mut entries {
                entry.key.make_ascii_lowercase();
            }
        }
        entries.sort_by(|a, b| (&a.key, a.number).cmp(&(&b.key, b.number)));
        Builder {
            entries,
            nodes: vec![Node::default()],
            first_bytes: vec![0],
            labels: Vec::new(),
            candidates: Vec::new(),
        }
        .build(case)
    }
}

/// Lays the nodes out level by level: no recursion, however long the keys.
struct Builder {
    /// By key, then by number.
    entries: Vec<Entry>,
    nodes: Vec<Node>,
    first_bytes: Vec<u8>,
    labels: Vec<u8>,
    candidates: Vec<u32>,
}

/// What is below a node: its entries, and how many bytes of their keys are on
/// the way to it.
type Below = (Range<usize>, usize);

impl Builder {
    fn build(mut self, case: Case) -> PathTree {
        let mut below: Vec<Below> = vec![(0..self.entries.len(), 0)];
        let mut number = 0;
        while number < self.nodes.len() {
            let (range, depth) = below[number].clone();
            let here = self.take_candidates(number, range.clone(), depth);
            let first_child = self.nodes.len();
            let above = match self.nodes[number].prefix.range().is_empty() {
                true => self.nodes[number].above,
                false => Some(number as u32),
            };
            let mut rest = here..range.end;
            while !rest.is_empty() {
                let group = self.group(rest.clone(), depth);
                below.push(self.add_child(group.clone(), depth, above));
                rest.start = group.end;
            }
            self.nodes[number].children = Span::new(first_child..self.nodes.len());
            number += 1;
        }
        PathTree {
            case,
            nodes: self.nodes.into(),
            first_bytes: self.first_bytes.into(),
            labels: self.labels.into(),
            candidates: self.candidates.into(),
        }
    }

    /// Gives a node the entries whose keys end there; they are the first of
    /// `range`. Gives where the others begin.
    fn take_candidates(&mut self, node: usize, range: Range<usize>, depth: usize) -> usize {
        let ending = self.entries[range.clone()]
            .iter()
            .take_while(|entry| entry.key.len() == depth)
            .count();
        let mut take = |reach| {
            let start = self.candidates.len();
            let entries = self.entries[range.start..range.start + ending].iter();
            let wanted = entries.filter(|entry| entry.reach == reach);
            self.candidates.extend(wanted.map(|entry| entry.number));
            Span::new(start..self.candidates.len())
        };
        self.nodes[node].whole = take(Reach::Whole);
        self.nodes[node].prefix = take(Reach::Prefix);
        range.start + ending
    }

    /// The first entries of `range` that go on with the same byte.
    fn group(&self, range: Range<usize>, depth: usize) -> Range<usize> {
        let byte = self.entries[range.start].key[depth];
        let same = self.entries[range.clone()].partition_point(|entry| entry.key[depth] <= byte);
        range.start..range.start + same
    }

    fn add_child(&mut self, group: Range<usize>, depth: usize, above: Option<u32>) -> Below {
        let first = &self.entries[group.start].key[depth..];
        let last = &self.entries[group.end - 1].key[depth..];
        // The entries are sorted, so what these two share all share.
        let shared = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        let start = self.labels.len();
        self.labels.extend_from_slice(&first[..shared]);
        self.first_bytes.push(first[0]);
        self.nodes.push(Node {
            label: Span::new(start..self.labels.len()),
            above,
            ..Node::default()
        });
        (group, depth + shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(case: Case, keys: &[(&str, Reach)]) -> PathTree {
        let entries = keys.iter().enumerate().map(|(number, (key, reach))| Entry {
            key: key.as_bytes().to_vec(),
            reach: *reach,
            number: number as u32,
        });
        PathTree::new(case, entries.collect())
    }

    /// All candidates that are tried when none passes.
    fn tried(tree: &PathTree, path: &str) -> Vec<u32> {
        let tried = std::cell::RefCell::new(Vec::new());
        let found = tree.first(path.as_bytes(), 100, |number| {
            tried.borrow_mut().push(number);
            false
        });
        assert_eq!(found, 100);
        let mut tried = tried.into_inner();
        tried.sort_unstable();
        tried
    }

    #[test]
    fn only_candidates_on_the_way_are_tried() {
        use Reach::{Prefix, Whole};
        let keys = [
            ("/", Prefix),
            ("/api", Whole),
            ("/api", Prefix),
            ("/api/v1", Prefix),
            ("/apple", Whole),
            ("", Prefix),
            ("/api", Whole),
            ("/b", Whole),
        ];
        let tree = tree(Case::Sensitive, &keys);
        for (path, expected) in [
            ("", &[5][..]),
            ("/", &[0, 5]),
            ("/ap", &[0, 5]),
            ("/api", &[0, 1, 2, 5, 6]),
            ("/apis", &[0, 2, 5]),
            ("/api/v1/x", &[0, 2, 3, 5]),
            ("/apple", &[0, 4, 5]),
            ("/applE", &[0, 5]),
            ("/b", &[0, 5, 7]),
            ("/c", &[0, 5]),
            ("x", &[5]),
        ] {
            assert_eq!(tried(&tree, path), expected, "{path}");
        }
    }

    #[test]
    fn letters_of_both_cases_when_case_does_not_matter() {
        let tree = tree(
            Case::Insensitive,
            &[("/Ab", Reach::Whole), ("/aB/C", Reach::Prefix)],
        );
        for (path, expected) in [
            ("/aB", &[0][..]),
            ("/AB/c/D", &[1]),
            ("/ab/d", &[]),
            ("/a", &[]),
        ] {
            assert_eq!(tried(&tree, path), expected, "{path}");
        }
    }

    #[test]
    fn the_lowest_number_that_passes_wins() {
        let keys = [
            ("/a", Reach::Prefix),
            ("/", Reach::Prefix),
            ("/a/b", Reach::Whole),
        ];
        let tree = tree(Case::Sensitive, &keys);
        let first =
            |limit, passing: &[u32]| tree.first(b"/a/b", limit, |number| passing.contains(&number));
        assert_eq!(first(9, &[0, 1, 2]), 0);
        assert_eq!(first(9, &[1, 2]), 1);
        assert_eq!(first(9, &[2]), 2);
        assert_eq!(first(9, &[]), 9);
        assert_eq!(first(1, &[1, 2]), 1);
        assert_eq!(first(0, &[0, 1, 2]), 0);
    }

    #[test]
    fn an_empty_tree_has_no_candidates() {
        assert_eq!(tried(&tree(Case::Sensitive, &[]), "/a"), &[] as &[u32]);
    }

    #[test]
    fn deep_chains_of_keys_are_built_without_recursion() {
        let keys: Vec<_> = (1..=5_000).map(|length| "/a".repeat(length)).collect();
        let keys: Vec<_> = keys
            .iter()
            .map(|key| (key.as_str(), Reach::Whole))
            .collect();
        let tree = tree(Case::Sensitive, &keys);
        let path = "/a".repeat(5_000);
        assert_eq!(tree.first(path.as_bytes(), 9_999, |_| true), 4_999);
    }
}

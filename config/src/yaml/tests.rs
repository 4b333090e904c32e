use super::*;

/// The tree as JSON-like text with the position of every node.
fn show(node: &Node) -> String {
    let value = match &node.value {
        Value::Scalar(Scalar::Null) => "null".into(),
        Value::Scalar(Scalar::Bool(value, _)) => value.to_string(),
        Value::Scalar(Scalar::Number { text, .. }) => text.clone(),
        Value::Scalar(Scalar::Text(text)) => format!("{text:?}"),
        Value::Sequence(items) => {
            let items: Vec<_> = items.iter().map(|item| show(item)).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Mapping(entries) => {
            let entries: Vec<_> = entries
                .iter()
                .map(|e| format!("{}@{}={}", e.key, e.key_position, show(&e.node)))
                .collect();
            format!("{{{}}}", entries.join(" "))
        }
    };
    format!("{value}@{}", node.position)
}

fn read(text: &str) -> (Option<String>, String) {
    let mut found = Diagnostics::new();
    let tree = parse(text, &"f".into(), &mut found);
    (tree.map(|tree| show(&tree)), found.to_string())
}

#[test]
fn every_node_knows_its_place() {
    for (text, tree) in [
        ("a: 1", "{a@1:1=1@1:4}@1:1"),
        (
            "a:\n- x\n- {b: on}\n",
            "{a@1:1=[\"x\"@2:3 {b@3:4=true@3:7}@3:3]@2:3}@1:1",
        ),
        ("é: 'y'", "{é@1:1=\"y\"@1:4}@1:1"),
        ("a: |\n  x\n  y\n", "{a@1:1=\"x\\ny\\n\"@2:3}@1:1"),
        ("a: !!str 1", "{a@1:1=\"1\"@1:4}@1:1"),
        ("a: ! 1", "{a@1:1=\"1\"@1:4}@1:1"),
        ("a:", "{a@1:1=null@1:2}@1:1"),
        ("---\na: b\n...\n", "{a@2:1=\"b\"@2:4}@2:1"),
        // An alias repeats the node with the place where it was written.
        (
            "a: &x {b: 1}\nc: *x",
            "{a@1:1={b@1:8=1@1:11}@1:4 c@2:1={b@1:8=1@1:11}@1:4}@1:1",
        ),
        // Nothing is merged.
        (
            "x: &x {a: 1}\ny: {<<: *x, a: 3}",
            "{x@1:1={a@1:8=1@1:11}@1:4 y@2:1={<<@2:5={a@1:8=1@1:11}@1:4 a@2:13=3@2:16}@2:4}@1:1",
        ),
        ("<<: 1", "{<<@1:1=1@1:5}@1:1"),
        ("'<<': 1", "{<<@1:1=1@1:7}@1:1"),
        ("!ignore x: &x [1]\na: *x", "{a@2:1=[1@1:16]@1:12}@1:1"),
    ] {
        assert_eq!(read(text), (Some(tree.into()), String::new()), "{text}");
    }
}

#[test]
fn what_is_refused_says_where() {
    for (text, reason) in [
        ("", "f:1:1: the document is empty"),
        ("# only a comment", "f:2:1: the document is empty"),
        (
            "a: 1\n---\nb: 2",
            "f:2:1: only one YAML document is allowed in a file",
        ),
        ("? [a]\n: b", "f:1:3: a key must be a string"),
        (
            "a: &x [*x]",
            "f:1:8: the alias stands inside its own anchor",
        ),
    ] {
        assert_eq!(read(text), (None, reason.into()), "{text}");
    }
    for text in ["a: *x", "{{ x }}: 1: 2", "a: [", "a: \"x", "%bad"] {
        let (tree, reason) = read(text);
        assert_eq!(tree, None, "{text}");
        assert!(reason.starts_with("f:"), "{text}: {reason}");
    }
}

/// Where the tab is, which the scanner finds while it looks for the end of what is before
/// it.
#[test]
fn tabs_are_where_they_are() {
    for (text, place) in [
        ("a:\n  b:\n\tc: 1\n", "f:3:2: "),
        ("a:\n  b: x\n\tc: 1\n", "f:3:1: "),
        ("a:\n  b: x\n\n  \n \tc: 1\n", "f:5:2: "),
        ("a:\n  b: x\r\n\tc: 1\r\n", "f:3:1: "),
        ("- b\n\t- c\n", "f:2:1: "),
        ("é:\n  x: ü ö\n\tb: 1\n", "f:3:1: "),
    ] {
        let (tree, found) = read(text);
        assert_eq!(tree, None, "{text:?}");
        assert!(
            found.starts_with(place) && found.contains("tab"),
            "{text:?}: {found}"
        );
    }
}

#[test]
fn repeated_keys_are_all_reported() {
    let (tree, found) = read("a: 1\nb: {c: 1, c: 2}\na: 3\n");
    assert!(tree.is_some());
    assert_eq!(
        found,
        "f:2:11: the key \"c\" is already given at 2:5\nf:3:1: the key \"a\" is already given at 1:1"
    );
}

#[test]
fn deep_nesting_is_refused() {
    for open in ["[", "{a: ", "- "] {
        let (tree, found) = read(&open.repeat(200_000 / open.len()));
        assert_eq!(tree, None);
        assert!(
            found.ends_with("nested more than 100 levels deep"),
            "{open}: {found}"
        );
    }
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        let line = format!(
            "a{i}: &a{i} [{}]\n",
            vec![format!("*a{}", i - 1); 10].join(", ")
        );
        bomb.push_str(&line);
    }
    let (tree, found) = read(&bomb);
    assert_eq!(tree, None);
    assert!(
        found.ends_with("aliases expand to more than 500000 nodes"),
        "{found}"
    );
}

//! Files that Envoy takes and that are refused here on purpose, as the README
//! says: those that cannot mean what they say.

use crate::{ROUTER, file, validate};
use ringway_tests::programs;

/// What the README says, a file, and what is said of it.
fn cases() -> Vec<(&'static str, String, &'static str)> {
    const CLUSTER: &str = "  - { name: a, type: STATIC }";
    let route = |route: &str| file(CLUSTER, ROUTER, &format!("              - {route}"));
    let scopes = "          scoped_routes:
            name: s
            scope_key_builder: { fragments: [{ header_value_extractor: { name: x, index: 0 } }] }
            scoped_route_configurations_list:
              scoped_route_configurations:
              - { name: one, key: { fragments: [{ string_key: k }] }, route_configuration: { name: one } }
              - { name: two, key: { fragments: [{ string_key: k }] }, route_configuration: { name: two } }";
    let scoped = file(CLUSTER, ROUTER, "");
    let begin = scoped.find("          route_config:").expect("it is there");
    let scoped = format!("{}{scopes}\n", &scoped[..begin]);
    vec![
        (
            "a key that is there twice in YAML",
            route("{ match: { prefix: /, prefix: /a }, route: { cluster: a } }"),
            "the key \"prefix\" is already given",
        ),
        (
            "a single value or an object where a list belongs",
            route("{ match: { prefix: / }, route: { cluster: a }, request_headers_to_remove: x }"),
            "expected a list of a string, got the string \"x\"",
        ),
        (
            "a single value or an object where a list belongs",
            route("{ match: { prefix: /, headers: { name: x } }, route: { cluster: a } }"),
            "expected a list of envoy.config.route.v3.HeaderMatcher, got an object",
        ),
        (
            "names of headers to add or remove with spaces in them",
            route(
                "{ match: { prefix: / }, route: { cluster: a }, request_headers_to_add: [{ header: \
                 { key: a b, value: x } }] }",
            ),
            "\"a b\" is not the name of a header",
        ),
        (
            "names of headers to add or remove with spaces in them",
            route(
                "{ match: { prefix: / }, route: { cluster: a }, request_headers_to_remove: [a b] }",
            ),
            "\"a b\" is not the name of a header",
        ),
        (
            "two scopes with one key",
            scoped,
            "the scope \"one\" has this key already",
        ),
        (
            "headers to add that say how a message is framed",
            route(
                "{ match: { prefix: / }, route: { cluster: a }, request_headers_to_add: [{ header: \
                 { key: content-length, value: \"1\" } }] }",
            ),
            "cannot be added: it says where the message ends",
        ),
        (
            "a path template with an asterisk inside a word",
            route(
                "{ match: { path_match_policy: { name: t, typed_config: { \"@type\": \
                 type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig, \
                 path_template: /a*b } } }, route: { cluster: a } }",
            ),
            "the asterisk in \"a*b\" is not an operator",
        ),
        (
            "`update_frequency: 0`",
            route(
                "{ match: { prefix: / }, route: { cluster: a, retry_policy: { retry_on: 5xx, \
                 retry_priority: { name: p, typed_config: { \"@type\": \
                 type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig, \
                 update_frequency: 0 } } } } }",
            ),
            "update_frequency: 0 given, must be greater than 0",
        ),
    ]
}

#[test]
fn what_the_readme_lists_is_refused_here_and_nowhere_else() {
    let readme = programs::workspace().join("README.md");
    let readme = std::fs::read_to_string(readme).expect("the README");
    let begin = readme.find("A few files that Envoy takes are refused");
    let list = &readme[begin.expect("the list")..];
    let list = list.lines().next().unwrap_or_default();
    let envoy = programs::envoy("what_the_readme_lists_is_refused_here_and_nowhere_else");
    for (phrase, text, expected) in cases() {
        assert!(list.contains(phrase), "{phrase:?} is not in {list:?}");
        let (is_good, said) = validate(&programs::ringway(), &text);
        assert!(!is_good, "{phrase}: {text}");
        assert!(said.contains(expected), "{phrase}: {said}");
        if let Some(envoy) = &envoy {
            let (is_good, said) = validate(envoy, &text);
            assert!(is_good, "Envoy refuses it too: {phrase}: {said}\n{text}");
        }
    }
}

/// A header that no request can have is looked for in vain, here as there.
#[test]
fn headers_that_are_only_read_may_have_any_name() {
    for (name, is_good) in [("a b", true), ("a:b", true), ("\"a\\nb\"", false)] {
        let route = format!(
            "              - {{ match: {{ prefix: / }}, route: {{ cluster: a, hash_policy: [{{ \
             header: {{ header_name: {name} }} }}] }} }}"
        );
        let text = file("  - { name: a, type: STATIC }", ROUTER, &route);
        let envoy = programs::envoy("headers_that_are_only_read_may_have_any_name");
        for program in envoy.into_iter().chain([programs::ringway()]) {
            let (taken, said) = validate(&program, &text);
            assert_eq!(taken, is_good, "{name} {}: {said}", program.display());
        }
    }
}

//! Header mutations: the order of their levels, and the mistakes with their
//! places.

use super::golden::lower_yaml;
use super::*;
use crate::ClusterNames;

fn first_route(routes: &RouteConfiguration, _: &ClusterNames) -> String {
    let route = &routes.virtual_hosts()[0].routes[0];
    let names: Vec<_> = route
        .header_mutations
        .iter()
        .map(|id| {
            let mutations = routes.header_mutations().get(id);
            format!("{:?}", mutations.request.add[0].name)
        })
        .collect();
    names.join(" ")
}

#[test]
fn the_order_of_levels() {
    let with = |first_line: &str| {
        format!(
            "{first_line}\nrequest_headers_to_add: [{{header: {{key: c, value: v}}}}]\n\
             virtual_hosts:\n- name: h\n  domains: ['*']\n  \
             request_headers_to_add: [{{header: {{key: via, value: v}}}}]\n  \
             routes:\n  - match: {{prefix: /}}\n    redirect: {{}}\n    \
             request_headers_to_add: [{{header: {{key: R, value: v}}}}]"
        )
    };
    assert_eq!(
        lower_yaml(&with("name: r"), first_route),
        "Other([114]) Known(Via) Other([99])"
    );
    assert_eq!(
        lower_yaml(
            &with("most_specific_header_mutations_wins: true"),
            first_route
        ),
        "Other([99]) Known(Via) Other([114])"
    );
}

#[test]
fn levels_without_mutations_do_not_count() {
    let text = "virtual_hosts:\n- name: h\n  domains: ['*']\n  \
         request_headers_to_add: [{header: {key: a, value: v}}]\n  \
         routes:\n  - match: {prefix: /}\n    redirect: {}\n";
    assert_eq!(lower_yaml(text, first_route), "Other([97])");
    let none = "virtual_hosts: [{name: h, domains: ['*'], \
         routes: [{match: {prefix: /}, redirect: {}}]}]";
    assert_eq!(lower_yaml(none, first_route), "");
    assert!(MutationLevels::default().is_empty());
}

#[test]
fn lists_have_a_limit() {
    let with = |count: usize| {
        let list = vec!["{header: {key: a, value: b}}"; count].join(", ");
        format!(
            "virtual_hosts: [{{name: h, domains: ['*'], routes: [{{match: {{prefix: /}}, \
             redirect: {{}}, request_headers_to_add: [{list}]}}]}}]"
        )
    };
    assert_eq!(lower_yaml(&with(1000), first_route), "Other([97])");
    let found = lower_yaml(&with(1001), first_route);
    assert!(
        found.contains("routes[0].request_headers_to_add: "),
        "{found}"
    );
}

#[test]
fn mistakes() {
    for (list, expected) in [
        (
            "request_headers_to_add: [{header: {key: ':path', value: x}}]",
            "header.key: :-prefixed or host headers may not be modified",
        ),
        (
            "response_headers_to_add: [{header: {key: Host, value: x}}]",
            "header.key: :-prefixed or host headers may not be modified",
        ),
        (
            "response_headers_to_remove: [':status']",
            "response_headers_to_remove[0]: :-prefixed or host headers may not be removed",
        ),
        (
            "request_headers_to_remove: [a, HOST]",
            "request_headers_to_remove[1]: :-prefixed or host headers may not be removed",
        ),
        (
            "request_headers_to_remove: ['a b']",
            "request_headers_to_remove[0]: \"a b\" is not the name of a header",
        ),
        (
            "request_headers_to_add: [{header: {key: 'a:b', value: x}}]",
            "header.key: \"a:b\" is not the name of a header",
        ),
        (
            "request_headers_to_add: [{header: {key: Content-Length, value: '1'}}]",
            "header.key: cannot be added: it says where the message ends",
        ),
        (
            "response_headers_to_add: [{header: {key: transfer-encoding, value: x}}]",
            "header.key: cannot be added: it says where the message ends",
        ),
        (
            "request_headers_to_add: [{header: {key: a, value: \"\\x01\"}}]",
            "header.value: a header's value cannot hold control characters",
        ),
        (
            "request_headers_to_add: [{header: {key: a, value: b}, append: true, append_action: ADD_IF_ABSENT}]",
            "append: only one of append and append_action may be set",
        ),
        ("request_headers_to_add: [{append: true}]", "header: "),
        (
            "request_headers_to_add: [{header: {value: b}}]",
            "header.key: ",
        ),
        (
            "request_headers_to_add: [{header: {key: a, value: \"b\\nc\"}}]",
            "header.value: ",
        ),
        (
            "request_headers_to_add: [{header: {key: a, raw_value: eA==}}]",
            "header.raw_value: not supported yet",
        ),
    ] {
        for place in ["route", "host", "configuration"] {
            let at = |which: &str| if which == place { list } else { "" };
            let text = format!(
                "{}\nvirtual_hosts:\n- name: h\n  domains: ['*']\n  {}\n  routes:\n  \
                 - match: {{prefix: /}}\n    redirect: {{}}\n    {}",
                at("configuration"),
                at("host"),
                at("route"),
            );
            let found = lower_yaml(&text, first_route);
            assert!(found.contains(expected), "{place}: {list}: {found}");
            assert!(found.contains("routes.yaml:"), "{found}");
        }
    }
}

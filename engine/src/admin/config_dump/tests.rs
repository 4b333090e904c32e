use super::*;

fn dump() -> Value {
    let cluster = |name: &str| {
        json!({
            "cluster": {
                "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
                "name": name,
                "type": "STATIC",
            },
            "last_updated": "2026-01-01T00:00:00Z",
        })
    };
    json!({ "configs": [
        {
            "@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump",
            "bootstrap": { "node": { "id": "n", "cluster": "c" }, "admin": {} },
            "last_updated": "2026-01-01T00:00:00Z",
        },
        {
            "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
            "static_clusters": [cluster("one"), cluster("two")],
        },
        {
            "@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
            "static_listeners": [{ "listener": { "name": "main" } }],
        },
    ] })
}

fn ask(query: &str) -> Result<Value, (u16, String)> {
    let query = Query::parse(query).expect("it is valid");
    select(dump(), &query).map_err(|(status, reason)| (status.as_u16(), reason))
}

#[test]
fn without_parameters_everything_is_printed() {
    assert_eq!(ask(""), Ok(dump()));
}

#[test]
fn a_resource_gives_its_elements_with_their_type() {
    let clusters = ask("resource=static_clusters").expect("it is there");
    let configs = clusters["configs"].as_array().expect("a list");
    assert_eq!(configs.len(), 2);
    assert_eq!(
        configs[0]["@type"],
        "type.googleapis.com/envoy.admin.v3.ClustersConfigDump.StaticCluster"
    );
    assert_eq!(configs[1]["cluster"]["name"], "two");
    assert_eq!(ask("resource=dynamic_active_clusters"), Ok(json!({})));
}

#[test]
fn a_mask_keeps_fields_of_sections_or_of_elements() {
    assert_eq!(
        ask("mask=bootstrap.node.id"),
        Ok(json!({ "configs": [{
            "@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump",
            "bootstrap": { "node": { "id": "n" } },
        }] }))
    );
    assert_eq!(
        ask("resource=static_clusters&mask=cluster.name&name_regex=one"),
        Ok(json!({ "configs": [{
            "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump.StaticCluster",
            "cluster": {
                "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
                "name": "one",
            },
        }] }))
    );
}

#[test]
fn a_mask_without_paths_masks_nothing() {
    assert_eq!(ask("mask=,"), Ok(dump()));
    let all = ask("resource=static_clusters");
    assert_eq!(ask("resource=static_clusters&mask=,"), all);
    // Where there is no element, there is nothing that a path could name.
    assert_eq!(
        ask("resource=dynamic_active_clusters&mask=foo"),
        Ok(json!({}))
    );
    let versions = ask("mask=version_info").expect("some sections have one");
    assert_eq!(versions["configs"].as_array().map(Vec::len), Some(2));
}

#[test]
fn names_must_match_as_a_whole() {
    let named = |query: &str| {
        let selected = ask(query).expect("it is valid");
        selected["configs"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(named("resource=static_clusters&name_regex=t.*"), 1);
    assert_eq!(named("resource=static_clusters&name_regex=on"), 0);
    assert_eq!(
        ask("resource=static_clusters&name_regex=nope"),
        Ok(json!({}))
    );
    let all = ask("name_regex=main").expect("it is valid");
    assert_eq!(all["configs"].as_array().map(Vec::len), Some(3));
    assert_eq!(all["configs"][1].get("static_clusters"), None);
    assert!(all["configs"][2].get("static_listeners").is_some());
}

#[test]
fn what_cannot_be_done_is_refused() {
    for (query, status, reason) in [
        ("resource=foo", 404, "foo not found in config dump"),
        (
            "resource=bootstrap",
            400,
            "bootstrap is not a repeated field. Use ?mask=bootstrap to get only this field",
        ),
        (
            "mask=foo",
            400,
            "FieldMask foo could not be successfully applied to any configs.",
        ),
        (
            "mask=static_clusters.cluster",
            400,
            "FieldMask static_clusters.cluster could not be successfully applied to any configs.",
        ),
        (
            "mask=bootstrap.node.foo",
            400,
            "FieldMask bootstrap.node.foo could not be successfully applied to any configs.",
        ),
        (
            "resource=static_clusters&mask=foo",
            400,
            "FieldMask foo could not be successfully used.",
        ),
        (
            "resource=static_clusters&mask=cluster",
            400,
            "FieldMask cluster could not be successfully used.",
        ),
        (
            "resource=static_clusters&mask=last_updated,cluster.foo",
            400,
            "FieldMask last_updated,cluster.foo could not be successfully used.",
        ),
    ] {
        assert_eq!(ask(query), Err((status, reason.to_owned())), "{query}");
    }
    let (status, reason) = ask("name_regex=[").expect_err("it is no expression");
    assert_eq!(status, 400);
    assert!(
        reason.starts_with("INVALID_ARGUMENT: Error while parsing name_regex from [: "),
        "{reason}"
    );
}

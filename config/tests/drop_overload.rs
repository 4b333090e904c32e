//! Parts of requests that an assignment of hosts refuses.

use ringway_config::runtime::RuntimeValues;
use ringway_config::{Format, LoadOptions, bootstrap, endpoint, load};

/// What the cluster with these parts refuses, or all that is wrong with them.
fn lower(drops: &str) -> Result<Option<endpoint::DropOverload>, String> {
    let text = format!(
        "static_resources: {{ clusters: [ {{ name: c, load_assignment: {{ cluster_name: c, \
         policy: {{ drop_overloads: [ {drops} ] }} }} }} ] }}"
    );
    let loaded = load(&text, "f", Format::Yaml, &LoadOptions::default());
    let loaded = loaded.map_err(|found| found.to_string())?;
    let snapshot = bootstrap::lower(&loaded).map_err(|found| found.to_string())?;
    Ok(snapshot.clusters[0].assignment.policy.drop_overload)
}

#[test]
fn parts_are_of_a_million() {
    for (drops, parts) in [
        ("", None),
        ("{ category: a }", None),
        ("{ category: a, drop_percentage: { numerator: 0 } }", None),
        (
            "{ category: a, drop_percentage: { numerator: 3 } }",
            Some(30_000),
        ),
        (
            "{ category: a, drop_percentage: { numerator: 3, denominator: TEN_THOUSAND } }",
            Some(300),
        ),
        (
            "{ category: a, drop_percentage: { numerator: 1000000, denominator: MILLION } }",
            Some(1_000_000),
        ),
    ] {
        let drop = lower(drops).expect("a good cluster");
        assert_eq!(drop.map(|drop| drop.parts), parts, "{drops}");
    }
}

#[test]
fn a_part_is_refused_by_the_number() {
    use endpoint::Refused::{All, Some as Part};
    let runtime = RuntimeValues::default();
    let of = |numerator: u32| {
        let drops = format!("{{ category: a, drop_percentage: {{ numerator: {numerator} }} }}");
        lower(&drops).expect("a good cluster").expect("a part")
    };
    assert_eq!(of(30).refuses(299_999, &runtime), Some(Part));
    assert_eq!(of(30).refuses(300_000, &runtime), None);
    assert_eq!(of(30).refuses(1_000_000, &runtime), Some(Part));
    assert_eq!(of(100).refuses(u64::MAX, &runtime), Some(All));
}

#[test]
fn what_no_part_can_be_is_refused() {
    let one = "{ category: a, drop_percentage: { numerator: 1 } }";
    for (drops, path, reason) in [
        (
            format!("{one}, {one}"),
            "policy.drop_overloads[1]",
            "only one category",
        ),
        (
            "{ category: a, drop_percentage: { numerator: 101 } }".into(),
            "policy.drop_overloads[0].drop_percentage",
            "more than all",
        ),
        (
            "{ drop_percentage: { numerator: 1 } }".into(),
            "policy.drop_overloads[0].category",
            "",
        ),
    ] {
        let said = lower(&drops).expect_err("it is refused");
        let line = said.lines().find(|line| line.contains(path));
        assert!(line.is_some_and(|line| line.contains(reason)), "{said}");
    }
}

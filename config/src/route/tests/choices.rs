//! Which cluster a request goes to: distributions with a seed and bounds, and
//! the mistakes of `weighted_clusters` and plugins with their places.

use super::golden::lower_yaml;
use super::*;
use crate::load::{Format, LoadOptions, load};
use envoy_types::pb::envoy::config::core::v3::RuntimeFractionalPercent;
use envoy_types::pb::envoy::r#type::v3::FractionalPercent;
use envoy_types::pb::envoy::r#type::v3::fractional_percent::DenominatorType;
use envoy_types::pb::google::protobuf::UInt32Value;
use proto::route_action::ClusterSpecifier as Specifier;
use proto::weighted_cluster::{ClusterWeight, RandomValueSpecifier};

/// Requests of a distribution test.
const COUNT: u32 = 100_000;

const SEED: u64 = 20_261_125;

fn weighted(clusters: &[(&str, u32)]) -> proto::WeightedCluster {
    proto::WeightedCluster {
        clusters: clusters
            .iter()
            .map(|(name, weight)| ClusterWeight {
                name: (*name).into(),
                weight: Some(UInt32Value { value: *weight }),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

/// A lowered route to `clusters` for `/`, and after it one to the cluster
/// `last`.
struct Choices {
    routes: RouteConfiguration,
    names: Names,
    runtime: RuntimeValues,
}

impl Choices {
    fn new(clusters: proto::WeightedCluster) -> Self {
        let specifiers = [
            Specifier::WeightedClusters(clusters),
            Specifier::Cluster("last".into()),
        ];
        let routes = specifiers
            .map(|specifier| forward(|action| action.cluster_specifier = Some(specifier)));
        Self::of(routes)
    }

    /// A share of the requests goes to `a`, the others to `last`.
    fn fraction(fraction: RuntimeFractionalPercent) -> Self {
        let first = Specifier::WeightedClusters(weighted(&[("a", 1)]));
        let mut routes = [first, Specifier::Cluster("last".into())]
            .map(|specifier| forward(|action| action.cluster_specifier = Some(specifier)));
        let matched = routes[0].r#match.as_mut().expect("it matches a path");
        matched.runtime_fraction = Some(fraction);
        Self::of(routes)
    }

    fn of(routes: [proto::Route; 2]) -> Self {
        let message = configuration(vec![host("v", &["*"], routes.into())]);
        let names = Names::default();
        let mut found = Diagnostics::new();
        let marks = Marks::default();
        let mut cx = Cx::new(&mut found, &marks, None, &names);
        let routes = lower(&message, &mut cx).expect("it is valid");
        let runtime = RuntimeValues::default();
        Choices {
            routes,
            names,
            runtime,
        }
    }

    fn with_runtime(mut self, values: &[(&str, u64)]) -> Self {
        let file = "layered_runtime: {layers: [{name: a, admin_layer: {}}]}\n";
        let loaded = load(file, "f.yaml", Format::Yaml, &LoadOptions::default()).expect("valid");
        let mut runtime = crate::bootstrap::lower(&loaded).expect("valid").runtime;
        let values: Vec<_> = values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.to_string()))
            .collect();
        runtime.modify(&values).expect("there is an admin layer");
        self.runtime = runtime.values(&self.names.runtime_keys);
        self
    }

    fn cluster(&self, headers: &HeaderMap, random: u64) -> String {
        let input = MatchInput {
            headers,
            random,
            runtime: &self.runtime,
            metadata: crate::metadata::Metadata::EMPTY,
            filter_state: crate::filter_state::FilterState::EMPTY,
            remote: std::net::Ipv4Addr::LOCALHOST.into(),
            peer_certificate: PeerCertificate::default(),
        };
        let RouteMatch::Route(SelectedRoute { route, .. }) = self.routes.find(&input) else {
            panic!("every request has a route");
        };
        let Action::Forward(forward) = &route.action else {
            panic!("every request is forwarded");
        };
        let clusters = &self.names.clusters;
        let find = |name: &[u8]| clusters.find(std::str::from_utf8(name).ok()?);
        let choice = forward.cluster.choose(&input, find);
        let cluster = choice.cluster.map_or("-".into(), |id| clusters.name(id));
        let weighted = forward.cluster.weighted(choice).map(|entry| &entry.cluster);
        if let Some(WeightedName::Fixed(id)) = weighted {
            assert_eq!(choice.cluster, Some(*id));
        }
        assert_eq!(weighted.is_none(), &*cluster == "last", "{choice:?}");
        cluster.to_string()
    }

    /// How many of [`COUNT`] requests go to a cluster.
    fn share(&self, cluster: &str) -> u32 {
        let headers = request("h", "/", &[]);
        let mut random = Random(SEED);
        (0..COUNT)
            .filter(|_| self.cluster(&headers, random.next()) == cluster)
            .count() as u32
    }
}

/// Within four standard deviations of a binomial distribution: a right
/// implementation fails with one seed of 16,000.
fn assert_share(got: u32, expected: f64, what: &str) {
    let count = f64::from(COUNT);
    let deviation = (count * expected * (1.0 - expected)).sqrt();
    let difference = (f64::from(got) - count * expected).abs();
    assert!(
        difference <= 4.0 * deviation,
        "{what}: {got} of {count}, expected a share of {expected}"
    );
}

#[test]
fn routes_take_their_fraction() {
    use DenominatorType::{Hundred, Million, TenThousand};
    let fraction = |numerator, denominator: DenominatorType, key: &str| RuntimeFractionalPercent {
        default_value: Some(FractionalPercent {
            numerator,
            denominator: denominator.into(),
        }),
        runtime_key: key.into(),
    };
    for (numerator, denominator, share) in [
        (0, Hundred, 0.0),
        (1, Hundred, 0.01),
        (99, Hundred, 0.99),
        (100, Hundred, 1.0),
        (37, TenThousand, 0.0037),
        (9_999, TenThousand, 0.9999),
        (500, Million, 0.0005),
        (2_000_000, Million, 1.0),
    ] {
        let choices = Choices::fraction(fraction(numerator, denominator, ""));
        let what = format!("{numerator} of {denominator:?}");
        assert_share(choices.share("a"), share, &what);
    }
    for (value, share) in [(0, 0.0), (30, 0.3), (101, 1.0)] {
        let choices = Choices::fraction(fraction(50, Hundred, "share"));
        let choices = choices.with_runtime(&[("share", value)]);
        assert_share(choices.share("a"), share, &format!("runtime says {value}"));
    }
}

#[test]
fn requests_are_spread_by_weight() {
    let lists: [&[(&str, u32)]; 4] = [
        &[("a", 99), ("b", 1)],
        &[("a", 50), ("b", 30), ("c", 20)],
        &[("z", 0), ("a", 1), ("y", 0), ("b", 3), ("x", 0)],
        &[("a", u32::MAX - 1), ("b", 1)],
    ];
    for list in lists {
        let total: f64 = list.iter().map(|(_, weight)| f64::from(*weight)).sum();
        let choices = Choices::new(weighted(list));
        for (name, weight) in list {
            let expected = f64::from(*weight) / total;
            assert_share(
                choices.share(name),
                expected,
                &format!("{name} of {list:?}"),
            );
        }
    }
}

/// A cluster without weight is not taken even once.
#[test]
fn weight_0_takes_nothing() {
    let choices = Choices::new(weighted(&[("a", 0), ("b", 1), ("c", 0)]));
    assert_eq!(choices.share("b"), COUNT);
}

#[test]
fn runtime_values_replace_weights() {
    let clusters = || proto::WeightedCluster {
        runtime_key_prefix: "split".into(),
        ..weighted(&[("a", 1), ("b", 1)])
    };
    let choices = Choices::new(clusters()).with_runtime(&[("split.a", 3)]);
    assert_share(choices.share("a"), 0.75, "a with 3 of 4");
    let choices = Choices::new(clusters()).with_runtime(&[("split.a", 0)]);
    assert_eq!(choices.share("b"), COUNT);
    // Nothing is left, or too much: the next route is taken.
    for values in [
        [("split.a", 0), ("split.b", 0)],
        [("split.a", u64::from(u32::MAX)), ("split.b", 1)],
        [("split.a", u64::MAX), ("split.b", u64::MAX)],
    ] {
        let choices = Choices::new(clusters()).with_runtime(&values);
        assert_eq!(choices.cluster(&request("h", "/", &[]), 0), "last");
    }
}

/// What Envoy 1.40 made of `x-random`, for a request whose own number is 5.
#[test]
fn a_header_decides_when_it_is_one_number() {
    let choices = Choices::new(proto::WeightedCluster {
        random_value_specifier: Some(RandomValueSpecifier::HeaderName("X-Random".into())),
        ..weighted(&[("a", 1), ("b", 1)])
    });
    for (values, expected) in [
        (&["0"][..], "a"),
        (&["1"], "b"),
        (&["+2"], "a"),
        (&["00000000000000000000000000002"], "a"),
        (&["18446744073709551614"], "a"),
        (&[" 2\t"], "a"),
        // The request's own number counts.
        (&["18446744073709551616"], "b"),
        (&["-2"], "b"),
        (&["+"], "b"),
        (&["2.0"], "b"),
        (&["0x2"], "b"),
        (&["2,2"], "b"),
        (&["2", "2"], "b"),
        (&[""], "b"),
        (&["\u{e9}"], "b"),
        (&[], "b"),
    ] {
        let fields: Vec<_> = values.iter().map(|value| ("x-random", *value)).collect();
        let got = choices.cluster(&request("h", "/", &fields), 5);
        assert_eq!(got, expected, "{values:?}");
    }
}

#[test]
fn a_header_names_a_cluster_of_the_weighted() {
    let mut clusters = weighted(&[("a", 1), ("", 1)]);
    clusters.clusters[1].cluster_header = "X-Cluster".into();
    let choices = Choices::new(clusters);
    for (name, random, expected) in [
        ("last", 0, "a"),
        ("a", 1, "a"),
        ("nobody", 1, "-"),
        ("", 1, "-"),
        ("\u{e9}", 1, "-"),
    ] {
        let headers = request("h", "/", &[("x-cluster", name)]);
        assert_eq!(choices.cluster(&headers, random), expected, "{name}");
    }
}

/// Each mistake of an action with its place in the file.
#[test]
fn mistakes() {
    let none = |_: &RouteConfiguration, _: &crate::ClusterNames| String::new();
    let text = lower_yaml(include_str!("../golden/wrong_actions.yaml"), none);
    assert_eq!(text, include_str!("../golden/wrong_actions.txt"), "{text}");
}

/// What Envoy takes, too, and what cannot mean what it says.
#[test]
fn odd_things_are_warned_of() {
    let none = |_: &_, _: &_| String::new();
    let text = lower_yaml(include_str!("../golden/odd.yaml"), none);
    assert_eq!(text, include_str!("../golden/odd.txt"), "{text}");
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

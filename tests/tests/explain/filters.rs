//! Which filters run, and who may ask for another protocol.

use crate::asking::{Request, connect, get, items, line_of, text};
use crate::setting::{UPGRADE, on_each_driver, scene};
use serde_json::Value;

/// The faults of the filters all apply, so that the status tells which filter
/// was the first one, and with which configuration.
#[test]
fn the_filters_that_run_are_told() {
    const OFF_HERE: &str = "off, turned off in the list of filters";
    const OFF: &str = "off, turned off by the route";
    const OWN: &str = "runs, with its own configuration";
    const OF_ROUTE: &str = "runs, configured by the route";
    const OF_HOST: &str = "runs, configured by the virtual host";
    const LAST: &str = "runs, the last one";
    const UPGRADE_TO_OWN: &[(&str, &str)] = &[UPGRADE, ("upgrade", "own")];
    let table: &[(Request, &str, &[&str])] = &[
        (
            get("a.example", "/plain", &[]),
            "501",
            &[OWN, OWN, OFF_HERE, LAST],
        ),
        (
            get("a.example", "/nowhere", &[]),
            "501",
            &[OWN, OWN, OFF_HERE, LAST],
        ),
        (get("nobody", "/", &[]), "501", &[OWN, OWN, OFF_HERE, LAST]),
        (
            get("a.example", "/first-off", &[]),
            "502",
            &[OFF, OWN, OFF_HERE, LAST],
        ),
        (
            get("a.example", "/both-off", &[]),
            "200",
            &[OFF, OFF, OFF_HERE, LAST],
        ),
        (
            get("a.example", "/sleeper", &[]),
            "503",
            &[OFF, OFF, OWN, LAST],
        ),
        (
            get("a.example", "/route", &[]),
            "511",
            &[OF_ROUTE, OWN, OFF_HERE, LAST],
        ),
        (
            get("a.example", "/weighted", &[("x-random", "0")]),
            "521",
            &[
                "runs, configured by the weighted cluster",
                OWN,
                OFF_HERE,
                LAST,
            ],
        ),
        (
            get("a.example", "/weighted", &[("x-random", "1")]),
            "522",
            &[OF_ROUTE, OWN, OFF_HERE, LAST],
        ),
        (
            get("b.example", "/plain", &[]),
            "531",
            &[OF_HOST, OWN, OFF_HERE, LAST],
        ),
        (
            get("b.example", "/on", &[]),
            "531",
            &[OF_HOST, OWN, OFF_HERE, LAST],
        ),
        (
            get("b.example", "/nowhere", &[]),
            "501",
            &[OWN, OWN, OFF_HERE, LAST],
        ),
        (
            get("a.example", "/plain", UPGRADE_TO_OWN),
            "541",
            &[OWN, LAST],
        ),
    ];
    // What a whole route configuration says counts in its own scope only.
    let scoped: &[(Request, &str, &[&str])] = &[
        (
            get("a", "/", &[("x-s", "configured")]),
            "551",
            &[
                "off, turned off by the route configuration",
                "off, turned off by the virtual host",
                "runs, configured by the route configuration",
                LAST,
            ],
        ),
        (
            get("a", "/", &[("x-s", "other")]),
            "501",
            &[OWN, OWN, OFF_HERE, LAST],
        ),
        (get("a", "/", &[]), "501", &[OWN, OWN, OFF_HERE, LAST]),
    ];
    let of = |listener| move |row| (listener, row);
    on_each_driver(|scene| {
        let rows = table.iter().map(of("filtered"));
        for (listener, (request, status, expected)) in rows.chain(scoped.iter().map(of("scoped"))) {
            let told = request.ask(scene, listener, "");
            let filters = items(&told["filters"]);
            let short = |one: &Value| format!("{}, {}", text(&one["value"]), text(&one["note"]));
            let found: Vec<_> = filters.iter().map(short).collect();
            assert_eq!(&found, expected, "{request:?}\n{told:#}");

            let seen = scene.play(&request.case(listener));
            assert_eq!(&seen["log[0].code"], status, "{request:?}");
            let mut running = filters.iter().filter(|one| one["value"] == "runs");
            let first = running.next().expect("the router, if no other");
            let line = line_of(scene, &first["set_at"]);
            let says_so = line.contains(&format!("http_status: {status},"));
            assert!(says_so || *status == "200", "{request:?}: {line}");
            for off in filters.iter().filter(|one| one["value"] == "off") {
                let line = line_of(scene, &off["set_at"]);
                assert!(line.contains("disabled: true"), "{request:?}: {line}");
            }
        }
        let told = get("a.example", "/sleeper", &[]).ask(scene, "filtered", "");
        let sleeper = &items(&told["filters"])[2];
        assert_eq!(sleeper["turned_on_by"]["value"], "the route");
        let line = line_of(scene, &sleeper["turned_on_by"]["set_at"]);
        assert!(line.starts_with("sleeper:"), "{line}");
    });
}

#[test]
fn who_decides_about_an_upgrade_is_told() {
    let scene = scene();
    for (path, kind, allowed, who, line) in [
        (
            "/plain",
            "websocket",
            true,
            "allowed: the connection manager",
            "websocket",
        ),
        (
            "/plain",
            "closed",
            false,
            "refused: the connection manager",
            "enabled: false",
        ),
        (
            "/open",
            "rare",
            true,
            "allowed: the route",
            "upgrade_type: rare",
        ),
        (
            "/shut",
            "websocket",
            false,
            "refused: the route",
            "enabled: false",
        ),
        (
            "/plain",
            "rare",
            false,
            "refused: neither route nor connection manager knows it",
            "",
        ),
    ] {
        let request = get("a", path, &[UPGRADE]);
        let told = request.ask(&scene, "decisions", &format!("&h.upgrade={kind}"));
        let upgrade = &told["upgrade"];
        assert_eq!(upgrade["value"], kind, "{told:#}");
        assert_eq!(upgrade["allowed"], allowed, "{told:#}");
        assert_eq!(upgrade["note"], who, "{told:#}");
        match line {
            "" => assert_eq!(upgrade["set_at"], "default"),
            line => assert!(
                line_of(&scene, &upgrade["set_at"]).contains(line),
                "{told:#}"
            ),
        }
    }
    // This one ends here: no head goes to the host.
    let told = connect("a:443", &[("x-ends", "1")]).ask(&scene, "decisions", "");
    assert_eq!(told["upgrade"]["note"], "allowed: the route", "{told:#}");
    let sent = &told["request_as_it_is_sent_upstream"];
    assert!(
        sent["value"].is_null() && sent["items"].is_null(),
        "{told:#}"
    );
    assert!(line_of(&scene, &sent["set_at"]).contains("connect_config"));
}

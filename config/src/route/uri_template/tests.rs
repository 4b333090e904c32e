//! Templates against paths, and which templates there are.

use super::*;

fn template(text: &str) -> PathTemplate {
    PathTemplate::parse(text).unwrap_or_else(|reason| panic!("{text}: {reason}"))
}

#[test]
fn paths() {
    for (text, yes, no) in [
        ("/", &["/"][..], &["", "/a", "//"][..]),
        ("/a", &["/a"], &["/", "/a/", "/A", "/ab"]),
        ("/a/", &["/a/"], &["/a", "/a//"]),
        (
            "/a/*",
            &["/a/x", "/a/x*y", "/a/x=y", "/a/%20", "/a/x;y"],
            &[
                "/a/", "/a/x/", "/a/x/y", "/a/[x]", "/a/x|", "/a/x\"", "/a/é",
            ],
        ),
        ("/a/**", &["/a/", "/a/x/y", "/a//"], &["/a", "/ab", "/a/x|"]),
        ("/a/{x}", &["/a/x"], &["/a/", "/a/x/"]),
        ("/a/{x=*}", &["/a/x"], &["/a/", "/a/x/"]),
        ("/a/{x=**}", &["/a/", "/a/x/y"], &["/a"]),
        (
            "/a/{x=b/*}/c",
            &["/a/b/1/c"],
            &["/a/b/c", "/a/c/1/c", "/a/b/1"],
        ),
        (
            "/**.mpd",
            &["/x.mpd", "/x/y.mpd", "/.mpd", "/a.mpd.mpd"],
            &["/x.mpdx", "/mpd"],
        ),
        (
            "/*.json",
            &["/x.json", "/x.json.json"],
            &["/.json", "/x.jsonx", "/x/y.json"],
        ),
        ("/v{x}", &["/v1"], &["/v", "/v1/2", "/w1"]),
        ("/{x}.json", &["/1.json"], &["/.json", "/1xjson"]),
        ("/v{x}w", &["/v1w", "/vww"], &["/vw", "/v1", "/v1w/"]),
        ("/{x}a/b", &["/xa/b", "/aa/b"], &["/a/b", "/x/b"]),
        ("/**/c", &["//c", "/x/y/c"], &["/c", "/x/cc"]),
        ("/v{x=**}", &["/v", "/v1/2"], &["/w"]),
        ("/v{x=**}/b", &["/v/b", "/v1/2/b"], &["/vb"]),
        ("/{x=a/**}/z", &["/a/b/c/z", "/a//z"], &["/a/z"]),
        ("/*/", &["/x/"], &["/x", "//"]),
        ("/a(b)+c.$", &["/a(b)+c.$"], &["/abbc."]),
        (
            "/{x=a/*}.json",
            &["/a/b.json"],
            &["/a/.json", "/a/b/c.json"],
        ),
        ("/{x=a/*}b/c", &["/a/xb/c", "/a/bb/c"], &["/a/b/c"]),
        ("/{x=*/b}.c/d", &["/a/b.c/d"], &["/a/b/d", "/b.c/d"]),
    ] {
        let template = template(text);
        for path in yes {
            assert!(template.matches(path.as_bytes()), "{text} {path}");
            let prefix = template.literal_prefix();
            assert!(path.as_bytes().starts_with(&prefix), "{text} {path}");
        }
        for path in no {
            assert!(!template.matches(path.as_bytes()), "{text} {path}");
        }
    }
}

#[test]
fn each_prefix_of_a_fitting_path_is_answered() {
    let (template, path) = (template("/a/{x=b/*}.c/d{y}e/**.f"), b"/a/b/1.c/d2e/3/4.f");
    for end in 0..path.len() {
        assert!(!template.matches(&path[..end]), "{end}");
    }
    assert!(template.matches(path));
}

#[test]
fn refusals() {
    for (text, reason) in [
        ("a", "does not begin with a slash"),
        ("", "does not begin with a slash"),
        ("//", "nothing between two slashes"),
        ("/a//b", "nothing between two slashes"),
        ("/a//", "nothing between two slashes"),
        ("/*//", "nothing between two slashes"),
        ("/{x}//", "nothing between two slashes"),
        ("/{x=/a}", "nothing between two slashes"),
        ("/{x=a/}", "nothing between two slashes"),
        ("/{x=a//b}", "nothing between two slashes"),
        ("/**a/b", "must be the end of the template"),
        ("/*.json/", "must be the end of the template"),
        ("/**.mpd/", "must be the end of the template"),
        ("/**/*", "only literal text may follow a **"),
        ("/**/a/**", "only literal text may follow a **"),
        ("/**/{x}", "only literal text may follow a **"),
        ("/v{x=**}/*", "only literal text may follow a **"),
        ("/{x=**}/{y}", "only literal text may follow a **"),
        ("/{x}{y}", "has characters that no path has"),
        ("/{x}-{y}", "has characters that no path has"),
        ("/*{x}", "has characters that no path has"),
        ("/x}", "has characters that no path has"),
        ("/v{x}}", "has characters that no path has"),
        ("/{a={b}}", "has characters that no path has"),
        ("/a b", "has characters that no path has"),
        ("/a?b", "has characters that no path has"),
        ("/a#", "has characters that no path has"),
        ("/é", "has characters that no path has"),
        ("/[a]", "has characters that no path has"),
        ("/a\\b", "has characters that no path has"),
        ("/a|b", "has characters that no path has"),
        ("/{1x}", "cannot be the name of a variable"),
        ("/{}", "cannot be the name of a variable"),
        ("/{_x}", "cannot be the name of a variable"),
        ("/{x=}", "the pattern of variable \"x\" is empty"),
        ("/{x", "a bracket is not closed"),
        ("/a{b", "closed in the same segment"),
        ("/v{x=a/*}w", "closed in the same segment"),
        ("/{x}/{x}", "is there twice"),
        ("/{a}/{b}/{c}/{d}/{e}/{f}", "more than 5 variables"),
        ("/{abcdefghijklmnopq}", "longer than 16 characters"),
        ("/v*", "is not an operator"),
        ("/***", "is not an operator"),
        ("/{x=***}", "is not an operator"),
        ("/{x=*a}", "is not an operator"),
        ("/{x=a*}", "is not an operator"),
        ("/{x}*", "is not an operator"),
        ("/*b*", "is not an operator"),
    ] {
        match PathTemplate::parse(text) {
            Ok(_) => panic!("{text} was accepted"),
            Err(found) => assert!(found.contains(reason), "{text}: {found}"),
        }
    }
    for text in [
        "/{a}/{b}/{c}/{d}/{e}",
        "/{abcdefghijklmnop}",
        "/{x_1}",
        "/a=b",
        "/%zz",
        "/{a=b=c}",
        "/{x=a}/b",
    ] {
        template(text);
    }
}

#[test]
fn rewrites() {
    for (text, rewrite, path, expected) in [
        ("/{a}/{b}", "/{b}/{a}", "/cat/dog", "/dog/cat"),
        ("/v/{l=lang/*}/*", "/{l}", "/v/lang/en/x.m4s", "/lang/en"),
        (
            "/c/{format}/{lang}/{id}/{file}.vtt",
            "/{lang}/{format}/{file}.vtt",
            "/c/hls/en-us/12345/en_193913.vtt",
            "/en-us/hls/en_193913.vtt",
        ),
        ("/a/{x=**}", "/b/{x}", "/a/", "/b/"),
        ("/a/{x=**}/z", "/{x}{x}!", "/a/1/2/z", "/1/21/2!"),
        ("/v{x}w", "/{x}", "/vvww", "/vw"),
        ("/{x}", "/*=", "/1", "/*="),
        ("/{x}", "/{x}", "/no/fit", "/no/fit"),
    ] {
        let rewrite = TemplateRewrite::parse(rewrite, &template(text)).unwrap();
        let mut out = Vec::new();
        rewrite.write(path.as_bytes(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{text} {path}");
    }
    for (rewrite, reason) in [
        ("{x}", "does not begin with a slash"),
        ("/a//b", "nothing between two slashes"),
        ("/a b", "characters that no path has"),
        ("/a?b", "characters that no path has"),
        ("/a}", "characters that no path has"),
        ("/{x", "a bracket is not closed"),
        ("/{}", "has no variable \"\""),
        ("/{y}", "has no variable \"y\""),
        ("/{x=*}", "has no variable \"x=*\""),
    ] {
        let found = TemplateRewrite::parse(rewrite, &template("/{x}")).unwrap_err();
        assert!(found.contains(reason), "{rewrite}: {found}");
    }
}

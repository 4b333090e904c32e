//! `/`: the endpoints as a page, with links and, for what changes something,
//! buttons.

use std::fmt::Write;

use super::endpoint::{ENDPOINTS, Endpoint, Process};
use super::reply::{HTML, Reply};
use super::request::Query;

pub(super) const ENDPOINT: Endpoint = Endpoint {
    path: "/",
    mutates: false,
    help: "the endpoints as a page",
    params: &[],
    handle: |_: &Process, _: &Query| Reply {
        content_type: HTML,
        ..Reply::text(page())
    },
};

fn page() -> String {
    let mut page = String::from(HEAD);
    for endpoint in ENDPOINTS {
        let path = endpoint.path;
        let command = match endpoint.mutates {
            true => format!(
                "<form action='{path}' method='post'><button>{}</button></form>",
                &path[1..]
            ),
            false => format!("<a href='{path}'>{}</a>", &path[1..]),
        };
        let command = if path == "/" {
            "home".to_owned()
        } else {
            command
        };
        let help = endpoint.help.replace('&', "&amp;");
        let _ = writeln!(page, "<tr><td>{command}</td><td>{help}</td></tr>");
    }
    page.push_str(FOOT);
    page
}

const HEAD: &str = "\
<!DOCTYPE html>
<html lang='en'>
<head>
<title>Ringway Admin</title>
<style>
body { font-family: sans-serif; }
td, th { padding: 4px; text-align: left; }
tr:nth-child(even) { background-color: #eee; }
form { margin: 0; }
</style>
</head>
<body>
<table>
<thead><tr><th>Command</th><th>Description</th></tr></thead>
<tbody>
";

const FOOT: &str = "\
</tbody>
</table>
</body>
</html>
";

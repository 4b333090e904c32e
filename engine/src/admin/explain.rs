//! `/explain`: what would happen to a request, and why.

use super::endpoint::{Endpoint, Process};
use super::reply::Reply;
use super::request::Query;
use crate::explain::{PARAMETERS, Question};

pub(super) const ENDPOINT: Endpoint = Endpoint {
    path: "/explain",
    mutates: false,
    help: "say what would happen to a request and which line of the configuration says so",
    params: PARAMETERS,
    handle,
};

fn handle(process: &Process, query: &Query) -> Reply {
    let pairs = query.pairs().iter();
    let pairs = pairs.map(|(name, value)| (name.as_str(), value.as_str()));
    let explanation = Question::parse(pairs).and_then(|question| process.view.explain(&question));
    match (explanation, query.get("format")) {
        (Ok(fact), Some("json")) => Reply::json(&fact.to_json()),
        (Ok(fact), _) => {
            let mut text = String::new();
            fact.write_text(0, &mut text);
            Reply::text(text)
        }
        (Err(error), _) => Reply::bad_request(format!("{error}\n")),
    }
}

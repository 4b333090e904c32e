//! Which copies of the request go to other clusters.

use ringway_codecs::header::HeaderId;
use ringway_config::route::{MirrorTarget, RequestMirrorPolicy};

use super::fact::Fact;
use super::forward::{Way, maintained};
use crate::filters::http::router::{self, NotMirrored};
use crate::http::exchange::Exchange;

/// The `request_mirror_policies`, the cluster's, this route's or inherited, each with whether
/// it copies the request.
pub(super) fn explain(way: &Way<'_>, exchange: &Exchange) -> Fact {
    let policies = (way.cluster.request_policies.mirror(way.forward)).unwrap_or_default();
    let items = policies.iter().map(|policy| one(policy, way, exchange));
    Fact::new("mirrors").items(items.collect())
}

fn one(policy: &RequestMirrorPolicy, way: &Way<'_>, exchange: &Exchange) -> Fact {
    let cx = way.cx;
    let target = router::mirror_target(policy, exchange, cx.sources.runtime, |name| {
        cx.find_cluster(name)
    });
    let target = target.and_then(|id| match cx.cluster(id) {
        Some(_) => Ok(id),
        None => Err(NotMirrored::NoCluster),
    });
    let name = |id| cx.sources.names.clusters.name(id);
    let fact = match (&policy.target, &target) {
        (MirrorTarget::Cluster(id), _) => Fact::new(&*name(*id)),
        (MirrorTarget::Header(_), Ok(id)) => Fact::new(&*name(*id)),
        (MirrorTarget::Header(header), Err(_)) => Fact::new(format!(
            "the cluster that {} names",
            String::from_utf8_lossy(header)
        )),
    };
    let path = &policy.source.path;
    let mut parts = Vec::from_iter(cx.written("share", &format!("{path}.runtime_fraction")));
    let maintained = target.as_ref().ok().and_then(|id| {
        let (percent, place) = maintained(cx.cluster(*id)?, cx)?;
        let fact = Fact::new("maintenance mode").value(format!("{percent}%"));
        let fact = fact.note("of its copies are not sent").place(place);
        Some((percent, fact))
    });
    let is_closed = matches!(maintained, Some((100, _)));
    parts.extend(maintained.map(|(_, fact)| fact));
    let fact = match target {
        Ok(_) if is_closed => {
            let note = "the runtime says that the cluster is in maintenance";
            fact.value("not copied").note(note)
        }
        Ok(_) => {
            let mut request = exchange.request.clone();
            router::set_mirror_authority(policy, &mut request);
            let authority = request.get(HeaderId::Authority).unwrap_or_default();
            parts.push(Fact::new("authority").value(String::from_utf8_lossy(authority)));
            fact.value("copied")
        }
        Err(why) => fact.value("not copied").note(match why {
            NotMirrored::Connect => "what follows a CONNECT cannot be copied",
            NotMirrored::NotInShare => "the request is not in the share",
            NotMirrored::NoCluster => "there is no such cluster",
        }),
    };
    fact.place(cx.place(path)).parts(parts)
}

//! The certificates in use, as admin shows them: what listeners and clusters have now,
//! whatever their secrets were before.

use std::sync::Arc;
use std::time::SystemTime;

use prost_types::Timestamp;
use serde_json::{Value, json};

use crate::admin::Expiry;
use crate::listener::SharedListener;
use crate::transport_sockets::tls::{ClientContext, Listed, ServerContext};
use crate::upstream::cluster::SharedCluster;

/// `envoy.admin.v3.Certificates`
pub(super) fn dump(listeners: &[Arc<SharedListener>], clusters: &[Arc<SharedCluster>]) -> Value {
    let of_listeners = server_contexts(listeners).map(|tls| context(tls.trusted(), tls.own()));
    let of_clusters = client_contexts(clusters).map(|tls| context(tls.trusted(), tls.own()));
    json!({ "certificates": of_listeners.chain(of_clusters).collect::<Vec<_>>() })
}

/// When the first of them ends, and the first response of OCSP.
pub(super) fn expiry(listeners: &[Arc<SharedListener>], clusters: &[Arc<SharedCluster>]) -> Expiry {
    let now = unix_now();
    let mut expiry = Expiry::default();
    let mut note_certificate = |end: Option<i64>| {
        let days = end.map(|end| (end - now).max(0) / DAY_SECONDS);
        let days = days.map_or(u32::MAX, |days| u32::try_from(days).unwrap_or(u32::MAX));
        expiry.certificate_days = expiry.certificate_days.min(days);
    };
    client_contexts(clusters).for_each(|tls| note_certificate(tls.expires()));
    let mut responses = Vec::new();
    for tls in server_contexts(listeners) {
        note_certificate(tls.expires());
        let own = tls.own().filter_map(|own| own.ocsp.as_ref());
        responses.extend(own.map(|response| response.next_update.unwrap_or(now)));
    }
    let first = responses.into_iter().min();
    expiry.ocsp_seconds = first.map(|end| u64::try_from(end - now).unwrap_or(0));
    expiry
}

fn server_contexts(listeners: &[Arc<SharedListener>]) -> impl Iterator<Item = Arc<ServerContext>> {
    let chains = (listeners.iter()).flat_map(|listener| listener.chains.iter().flatten());
    chains.filter_map(|chain| chain.tls.as_ref()?.get())
}

fn client_contexts(clusters: &[Arc<SharedCluster>]) -> impl Iterator<Item = Arc<ClientContext>> {
    let sockets = clusters.iter().flat_map(|cluster| cluster.sockets.iter());
    sockets.filter_map(|socket| socket.tls.as_ref()?.get())
}

/// The certificates of a context (`envoy.admin.v3.Certificate`).
fn context<'a>(
    trusted: impl Iterator<Item = Listed>,
    own: impl Iterator<Item = &'a Listed>,
) -> Value {
    json!({
        "ca_cert": trusted.map(|one| certificate(&one)).collect::<Vec<_>>(),
        "cert_chain": own.map(certificate).collect::<Vec<_>>(),
    })
}

/// `envoy.admin.v3.CertificateDetails`
fn certificate(one: &Listed) -> Value {
    let facts = &one.facts;
    let names = |kind: &'static str, names: &[String]| -> Vec<Value> {
        names.iter().map(|name| json!({ kind: name })).collect()
    };
    let all = [
        names("dns", &facts.dns_sans),
        names("uri", &facts.uri_sans),
        names("ip_address", &facts.ip_sans),
    ];
    let time = |seconds| Timestamp { seconds, nanos: 0 }.to_string();
    let now = unix_now();
    let left = facts.not_after - now;
    let mut details = json!({
        "path": if one.file.is_empty() { "<inline>" } else { &one.file },
        "serial_number": facts.serial,
        "subject_alt_names": all.concat(),
        "days_until_expiration": (left.max(0) / DAY_SECONDS).to_string(),
        "valid_from": time(facts.not_before),
        "expiration_time": time(facts.not_after),
    });
    if let Some(response) = &one.ocsp {
        details["ocsp_details"] = json!({
            "valid_from": time(response.this_update),
            // One that does not say how long it holds does not any more.
            "expiration": time(response.next_update.unwrap_or(now)),
        });
    }
    details
}

fn unix_now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs().cast_signed())
}

const DAY_SECONDS: i64 = 24 * 60 * 60;

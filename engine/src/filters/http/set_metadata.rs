//! Metadata that every request gets (`envoy.filters.http.set_metadata`).

use envoy_types::pb::envoy::extensions::filters::http::set_metadata::v3 as pb;
use envoy_types::pb::google::protobuf::Any;
use ringway_config::context::{Cx, unpack};
use ringway_config::metadata::Struct;

use super::{Flow, HttpFilter, StreamContext};
use crate::stats::Store;
use crate::stats_struct;

stats_struct! {
    /// `http.<stat_prefix>.set_metadata.*`.
    pub struct SetMetadataStats {
        counters: [overwrite_denied],
    }
}

/// The compiled filter.
pub struct SetMetadata {
    entries: Box<[Entry]>,
    stats: Option<SetMetadataStats>,
}

struct Entry {
    namespace: Box<str>,
    value: Struct,
    /// A namespace that is there already gets more values; otherwise it stays
    /// as it is, and that is counted.
    allow_overwrite: bool,
}

impl SetMetadata {
    /// Compiles `envoy.extensions.filters.http.set_metadata.v3.Config`.
    pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        let proto = unpack::<pb::Config>(any, cx)?;
        let mut entries = Vec::new();
        #[expect(
            deprecated,
            reason = "Envoy still accepts the one entry of old, which comes first"
        )]
        if let Some(value) = &proto.value
            && !proto.metadata_namespace.is_empty()
        {
            entries.push(Entry {
                namespace: proto.metadata_namespace.as_str().into(),
                value: Struct::from_proto(value),
                allow_overwrite: true,
            });
        }
        entries.extend(proto.metadata.iter().filter_map(|entry| {
            Some(Entry {
                namespace: entry.metadata_namespace.as_str().into(),
                value: Struct::from_proto(entry.value.as_ref()?),
                allow_overwrite: entry.allow_overwrite,
            })
        }));
        Some(Self {
            entries: entries.into(),
            stats: None,
        })
    }
}

impl HttpFilter for SetMetadata {
    fn name(&self) -> &'static str {
        "envoy.filters.http.set_metadata"
    }

    fn register(&mut self, store: &Store, prefix: &str) {
        self.stats = Some(SetMetadataStats::new(
            store,
            &format!("{prefix}set_metadata."),
        ));
    }

    fn request_headers(&self, stream: &mut StreamContext<'_>) -> Flow {
        let metadata = stream.exchange.info.metadata_mut();
        for entry in &self.entries {
            if metadata.get(&entry.namespace).is_none() || entry.allow_overwrite {
                metadata.entry(&entry.namespace).update(&entry.value);
            } else if let Some(stats) = &self.stats {
                stats.overwrite_denied.inc();
            }
        }
        Flow::Continue
    }
}

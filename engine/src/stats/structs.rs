//! The macro that makes a struct of statistics.

/// Declares a struct whose fields are statistics and whose constructor registers
/// them under a prefix: the names of the fields are the last parts of the names.
///
/// ```
/// ringway::stats_struct! {
///     /// What a cache counts.
///     pub struct CacheStats {
///         counters: [hits, misses],
///         gauges: [entries],
///         histograms: [lookup_time: Milliseconds],
///     }
/// }
/// let store = ringway::stats::Store::new();
/// let stats = CacheStats::new(&store, "cache.main.");
/// store.shard(None).install();
/// stats.hits.inc();
/// assert_eq!(store.value("cache.main.hits"), Some(1));
/// ```
#[macro_export]
macro_rules! stats_struct {
    (
        $(#[$meta:meta])*
        $visibility:vis struct $name:ident {
            $(counters: [$($counter:ident),* $(,)?],)?
            $(gauges: [$($gauge:ident),* $(,)?],)?
            $(histograms: [$($histogram:ident: $unit:ident),* $(,)?],)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        $visibility struct $name {
            $($(
                #[doc = concat!("`", stringify!($counter), "`")]
                pub $counter: $crate::stats::Counter,
            )*)?
            $($(
                #[doc = concat!("`", stringify!($gauge), "`")]
                pub $gauge: $crate::stats::Gauge,
            )*)?
            $($(
                #[doc = concat!("`", stringify!($histogram), "`")]
                pub $histogram: $crate::stats::Histogram,
            )*)?
        }

        impl $name {
            /// Registers the statistics; `prefix` ends with a dot or is empty.
            #[must_use]
            pub fn new(store: &$crate::stats::Store, prefix: &str) -> Self {
                Self {
                    $($(
                        $counter: store.counter(
                            &format!("{prefix}{}", stringify!($counter))),
                    )*)?
                    $($(
                        $gauge: store.gauge(
                            &format!("{prefix}{}", stringify!($gauge))),
                    )*)?
                    $($(
                        $histogram: store.histogram(
                            &format!("{prefix}{}", stringify!($histogram)),
                            $crate::stats::Unit::$unit),
                    )*)?
                }
            }
        }
    };
}

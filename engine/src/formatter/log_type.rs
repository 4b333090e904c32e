//! Why an access log is written.

/// When an access log is written; the names are Envoy's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AccessLogType {
    /// Not an access log: a header or a local reply is formatted.
    NotSet,
    /// A TCP proxy's upstream is connected.
    TcpUpstreamConnected,
    /// A TCP session goes on.
    TcpPeriodic,
    /// A TCP session ended.
    TcpConnectionEnd,
    /// A TCP session began.
    TcpConnectionStart,
    /// A request's head arrived.
    DownstreamStart,
    /// A request goes on.
    DownstreamPeriodic,
    /// A request ended.
    #[default]
    DownstreamEnd,
    /// A tunnel was established.
    DownstreamTunnelSuccessfullyEstablished,
    /// An upstream connection was assigned.
    UpstreamPoolReady,
    /// An upstream request goes on.
    UpstreamPeriodic,
    /// An upstream request ended.
    UpstreamEnd,
}

impl AccessLogType {
    /// All types.
    pub const ALL: &'static [AccessLogType] = &[
        AccessLogType::NotSet,
        AccessLogType::TcpUpstreamConnected,
        AccessLogType::TcpPeriodic,
        AccessLogType::TcpConnectionEnd,
        AccessLogType::TcpConnectionStart,
        AccessLogType::DownstreamStart,
        AccessLogType::DownstreamPeriodic,
        AccessLogType::DownstreamEnd,
        AccessLogType::DownstreamTunnelSuccessfullyEstablished,
        AccessLogType::UpstreamPoolReady,
        AccessLogType::UpstreamPeriodic,
        AccessLogType::UpstreamEnd,
    ];

    /// The name, as in `envoy.data.accesslog.v3.AccessLogType`.
    pub const fn as_str(self) -> &'static str {
        match self {
            AccessLogType::NotSet => "NotSet",
            AccessLogType::TcpUpstreamConnected => "TcpUpstreamConnected",
            AccessLogType::TcpPeriodic => "TcpPeriodic",
            AccessLogType::TcpConnectionEnd => "TcpConnectionEnd",
            AccessLogType::TcpConnectionStart => "TcpConnectionStart",
            AccessLogType::DownstreamStart => "DownstreamStart",
            AccessLogType::DownstreamPeriodic => "DownstreamPeriodic",
            AccessLogType::DownstreamEnd => "DownstreamEnd",
            AccessLogType::DownstreamTunnelSuccessfullyEstablished => {
                "DownstreamTunnelSuccessfullyEstablished"
            }
            AccessLogType::UpstreamPoolReady => "UpstreamPoolReady",
            AccessLogType::UpstreamPeriodic => "UpstreamPeriodic",
            AccessLogType::UpstreamEnd => "UpstreamEnd",
        }
    }
}

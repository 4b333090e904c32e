//! Listeners whose connections somebody is asked about, as a proxy is told of them.

use std::fmt::Write as _;

use crate::files::Files;

/// A listener that asks.
#[derive(Clone)]
pub struct Listener {
    pub name: String,
    /// What the server is told to say.
    decision: &'static str,
    /// The cluster of the server.
    cluster: &'static str,
    /// More of `grpc_service`.
    call: &'static str,
    /// More of the filter.
    fields: &'static str,
    /// A filter behind it.
    behind: &'static str,
    /// The filter at the end of the chain.
    pub terminal: Terminal,
    /// It speaks TLS and asks for a certificate.
    tls: bool,
    /// It looks at ClientHellos before that.
    inspects: bool,
    /// What of headers of PROXY protocol, which its connections begin with then, is kept.
    rules: Option<&'static str>,
}

/// What ends a chain.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// To a host that sends back what it gets.
    Tcp,
    /// To a host that speaks first.
    Greeting,
    Echo,
    Http,
}

/// A listener in front of the host that sends back what it gets.
pub fn asks(name: &str, decision: &'static str) -> Listener {
    Listener {
        name: name.to_owned(),
        decision,
        cluster: "auth",
        call: "timeout: 20s",
        fields: "",
        behind: "",
        terminal: Terminal::Tcp,
        tls: false,
        inspects: true,
        rules: None,
    }
}

/// What the filter has decided, in this form.
macro_rules! decided {
    ($form:literal) => {
        concat!("%FILTER_STATE(envoy.filters.network.ext_authz", $form, ")%")
    };
}

/// What differs from run to run in a log is not in it.
const LOG: &str = concat!(
    "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% ",
    "received %BYTES_RECEIVED% sent %BYTES_SENT% %UPSTREAM_CLUSTER% ",
    "%DYNAMIC_METADATA(envoy.filters.network.ext_authz)% decided ",
    decided!(""),
    " ",
    decided!(":TYPED"),
    " ",
    decided!(":PLAIN"),
    " ",
    decided!(":FIELD:check_result"),
    " ",
    decided!(":FIELD:status_code"),
    " ",
    decided!(":FIELD:other"),
);

/// The same in JSON, but for what expressions know of it.
const JSON: &str = concat!(
    "typed: \"",
    decided!(""),
    "\", plain: \"",
    decided!(":PLAIN"),
    "\", status: \"",
    decided!(":FIELD:status_code"),
    "\"",
);

/// Expressions about the object, `OBJECT`.
const EXPRESSIONS: &[&str] = &[
    "OBJECT",
    "OBJECT.check_result",
    "OBJECT['status_code'] + 1",
    "OBJECT.other",
    "type(OBJECT) == map",
    "size(OBJECT)",
    "OBJECT == OBJECT",
    "OBJECT == {'check_result': 'OK'}",
    "'status_code' in OBJECT",
    "1 in OBJECT",
    "has(OBJECT.other)",
];

impl Listener {
    /// It asks another cluster.
    pub fn of(self, cluster: &'static str) -> Self {
        Self { cluster, ..self }
    }

    /// Its calls do not take long.
    pub fn soon(self) -> Self {
        let call = "timeout: 0.3s";
        Self { call, ..self }
    }

    /// More of its filter.
    pub fn with(self, fields: &'static str) -> Self {
        Self { fields, ..self }
    }

    /// It has another filter behind it.
    pub fn before(self, behind: &'static str) -> Self {
        Self { behind, ..self }
    }

    /// Its chain ends in another way.
    pub fn ends(self, terminal: Terminal) -> Self {
        Self { terminal, ..self }
    }

    /// It speaks TLS.
    pub fn secure(self) -> Self {
        Self { tls: true, ..self }
    }

    /// It does not look at ClientHellos itself.
    pub fn uninspected(self) -> Self {
        Self {
            inspects: false,
            ..self
        }
    }

    /// Its connections begin with headers of PROXY protocol.
    pub fn introduced(self, rules: &'static str) -> Self {
        let rules = Some(rules);
        Self { rules, ..self }
    }

    fn filters(&self) -> String {
        let Self {
            name,
            decision,
            cluster,
            call,
            fields,
            ..
        } = self;
        let mut text = format!(
            "      - {{ name: ext_authz, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.network.ext_authz.v3.ExtAuthz, stat_prefix: {name}, \
             grpc_service: {{ envoy_grpc: {{ cluster_name: {cluster} }}, {call}, initial_metadata: [ {{ key: X-Decision, value: {decision} }} ] }}, {fields} }} }}\n"
        );
        if !self.behind.is_empty() {
            let _ = writeln!(
                text,
                "      - {{ name: behind, typed_config: {{ \"@type\": type.googleapis.com/{} }} }}",
                self.behind
            );
        }
        let tcp = |cluster: &str| {
            format!(
                "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: {name}, cluster: {cluster}"
            )
        };
        let config = match self.terminal {
            Terminal::Tcp => tcp("host"),
            Terminal::Greeting => tcp("greeting"),
            Terminal::Echo => "envoy.extensions.filters.network.echo.v3.Echo".to_owned(),
            Terminal::Http => format!(
                "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: {name}, \
                 http_filters: [ {{ name: router, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }} ], \
                 route_config: {{ response_headers_to_add: [ {{ header: {{ key: x-decided, value: \"{}\" }} }} ], \
                 virtual_hosts: [ {{ name: all, domains: [ \"*\" ], routes: [ {{ match: {{ prefix: \"/\" }}, direct_response: {{ status: 200, body: {{ inline_string: fine }} }} }} ] }} ] }}",
                decided!(":PLAIN")
            ),
        };
        let _ = writeln!(
            text,
            "      - {{ name: last, typed_config: {{ \"@type\": type.googleapis.com/{config} }} }}"
        );
        text
    }

    /// The listener, in a configuration. It logs in two forms.
    pub fn configuration(&self, files: &Files) -> String {
        let name = &self.name;
        let folder = files.folder().display();
        let log = |form: &str, format: &str| {
            format!(
                "{{ name: log, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: \"{{DIR}}/{name}.{form}\", log_format: {{ {format} }} }} }}"
            )
        };
        let logs = [
            log(
                "log",
                &format!("text_format_source: {{ inline_string: \"{LOG}\\n\" }}"),
            ),
            log("json", &format!("json_format: {{ {} }}", json())),
        ];
        let mut text = format!(
            "  - name: {name}
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    access_log: [ {} ]
    filter_chains:
    - filters:
{}",
            logs.join(", "),
            self.filters()
        );
        if self.tls {
            let _ = writeln!(
                text,
                "      transport_socket: {{ name: tls, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, require_client_certificate: true, \
                 common_tls_context: {{ tls_certificates: [ {{ certificate_chain: {{ filename: {folder}/server.pem }}, private_key: {{ filename: {folder}/server.key }} }} ], \
                 validation_context: {{ trusted_ca: {{ filename: {folder}/ca.pem }} }} }} }} }}"
            );
        }
        if self.tls && self.inspects {
            text += "    listener_filters: [ { name: tls_inspector, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector } } ]\n";
        }
        if let Some(rules) = self.rules {
            let _ = writeln!(
                text,
                "    listener_filters: [ {{ name: proxy_protocol, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol, {rules} }} }} ]"
            );
        }
        text
    }
}

/// The fields of a log in JSON.
fn json() -> String {
    let object = "filter_state['envoy.filters.network.ext_authz']";
    let fields = EXPRESSIONS.iter().enumerate().map(|(i, expression)| {
        let expression = expression.replace("OBJECT", object);
        format!(", e{i}: \"%TYPED_CEL({expression})%\"")
    });
    JSON.to_owned() + &fields.collect::<String>()
}

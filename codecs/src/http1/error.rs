//! Why a message was refused: one variant for each reason.

/// The reason for refusing a message. The connection cannot be used further.
///
/// For a request, [`status`](Http1Error::status) and
/// [`details`](Http1Error::details) are what Envoy answers and logs. A bad
/// response is an upstream protocol error whatever the variant; the router
/// decides its status.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Http1Error {
    /// The request line is not `METHOD SP TARGET SP HTTP/x.y`.
    RequestLine,
    /// A method that Envoy's parser does not know.
    UnknownMethod,
    /// A version that is not of the form `HTTP/x.y`.
    MalformedVersion,
    /// A version other than HTTP/1.1 where HTTP/1.0 is not accepted.
    LowVersion,
    /// A control byte in the request line, a field name or a field value.
    InvalidCharacters,
    /// A request target in none of the forms of RFC 9112 section 3.2.
    InvalidUrl,
    /// A request target with bytes that no URI has, or of no form at all.
    InvalidTarget,
    /// An absolute-form target whose scheme is neither `http` nor `https`.
    InvalidScheme,
    /// An absolute-form target of `https` where it is refused.
    HttpsUrl,
    /// A request target with a `#fragment`.
    PathWithFragment,
    /// A request without Host, and no default for HTTP/1.0.
    MissingHost,
    /// A QUERY without Content-Type which has to say what the query is written in.
    QueryWithoutContentType,
    /// More than one Host field.
    DuplicateHost,
    /// A Host field with bytes that no authority has.
    InvalidAuthority,
    /// A Host field that is not `host[:port]` for other reasons. Envoy lets it
    /// through.
    MalformedAuthority,
    /// The status line is not `HTTP/1.x SP 3DIGIT [SP reason]`, or the status
    /// is below 100.
    StatusLine,
    /// A field name that is not a token, white space around it, a line without
    /// a colon, or a folded line.
    FieldName,
    /// A line that ends in LF alone, or a CR that no LF follows.
    LineEnd,
    /// The head, or the trailers, are larger than allowed.
    HeadersTooLarge,
    /// More fields than allowed.
    TooManyHeaders,
    /// A field name with an underscore where they are rejected.
    UnexpectedUnderscore,
    /// A Content-Length that is not a decimal number below 2^63.
    InvalidContentLength,
    /// More than one Content-Length, equal or not.
    DuplicateContentLength,
    /// Content-Length together with Transfer-Encoding.
    ContentLengthAndChunked,
    /// A Transfer-Encoding other than exactly `chunked`, once.
    InvalidTransferEncoding,
    /// Transfer-Encoding in a request of HTTP/1.0, or in a response that has no
    /// body.
    TransferEncodingNotAllowed,
    /// Content-Length above zero where no body may be: CONNECT, 1xx, 204.
    BodyDisallowed,
    /// A chunk size that is not 1 to 16 hexadecimal digits, or is 2^63 and up.
    ChunkSize,
    /// A control byte within a chunk extension, or a chunk line without CRLF.
    ChunkLine,
    /// More bytes of chunk extensions than allowed in one message.
    ChunkExtensionsTooLarge,
    /// Chunk data that CRLF does not follow.
    ChunkEnd,
    /// The peer closed before the message was complete.
    UnexpectedEof,
}

impl Http1Error {
    /// The status of the local reply to a request that failed so.
    pub const fn status(self) -> u16 {
        match self {
            Http1Error::HttpsUrl => 403,
            Http1Error::LowVersion => 426,
            Http1Error::HeadersTooLarge | Http1Error::TooManyHeaders => 431,
            Http1Error::InvalidTransferEncoding => 501,
            _ => 400,
        }
    }

    /// The response code details, as `%RESPONSE_CODE_DETAILS%` logs them.
    pub const fn details(self) -> &'static str {
        match self {
            Http1Error::LowVersion => "low_version",
            Http1Error::InvalidCharacters => "http1.invalid_characters",
            Http1Error::InvalidUrl => "http1.invalid_url",
            Http1Error::InvalidScheme => "http1.invalid_scheme",
            Http1Error::HttpsUrl => "http1.https_url_on_plaintext_connection",
            Http1Error::PathWithFragment => "path_normalization_failed",
            Http1Error::MissingHost => "missing_host_header",
            Http1Error::QueryWithoutContentType => "query_missing_content_type",
            Http1Error::DuplicateHost
            | Http1Error::InvalidAuthority
            | Http1Error::MalformedAuthority => "http.invalid_authority",
            Http1Error::HeadersTooLarge => "http1.headers_too_large",
            Http1Error::TooManyHeaders => "http1.too_many_headers",
            Http1Error::UnexpectedUnderscore => "http1.unexpected_underscore",
            Http1Error::ContentLengthAndChunked => "http1.content_length_and_chunked_not_allowed",
            Http1Error::InvalidTransferEncoding => "http1.invalid_transfer_encoding",
            Http1Error::TransferEncodingNotAllowed => "http1.transfer_encoding_not_allowed",
            Http1Error::BodyDisallowed => "http1.body_disallowed",
            Http1Error::RequestLine
            | Http1Error::UnknownMethod
            | Http1Error::MalformedVersion
            | Http1Error::InvalidTarget
            | Http1Error::StatusLine
            | Http1Error::FieldName
            | Http1Error::LineEnd
            | Http1Error::InvalidContentLength
            | Http1Error::DuplicateContentLength
            | Http1Error::ChunkSize
            | Http1Error::ChunkLine
            | Http1Error::ChunkExtensionsTooLarge
            | Http1Error::ChunkEnd
            | Http1Error::UnexpectedEof => CODEC_ERROR,
        }
    }

    /// True for violations of the protocol: the access log has the flag `DPE`.
    /// The others are reasons of [`RequestHead::refused`](super::RequestHead::refused),
    /// which Envoy's connection manager, not its codec, finds: they are logged
    /// without a flag.
    pub const fn is_protocol_error(self) -> bool {
        !matches!(
            self,
            Http1Error::MissingHost
                | Http1Error::PathWithFragment
                | Http1Error::QueryWithoutContentType
        )
    }

    /// True for a violation that is logged with the request's headers: Envoy
    /// does not mind it.
    pub const fn tells_headers(self) -> bool {
        matches!(
            self,
            Http1Error::DuplicateHost | Http1Error::MalformedAuthority
        )
    }

    /// True for what Envoy's parser finds wrong before it has handed a head
    /// over.
    pub(super) fn is_syntax_error(self) -> bool {
        self.details() == CODEC_ERROR
    }

    /// What is wrong, for debug logs.
    pub const fn description(self) -> &'static str {
        match self {
            Http1Error::RequestLine => "malformed request line",
            Http1Error::UnknownMethod => "unknown method",
            Http1Error::MalformedVersion => "malformed version",
            Http1Error::LowVersion => "version not accepted",
            Http1Error::InvalidCharacters => "control byte in a head",
            Http1Error::InvalidUrl => "invalid request target",
            Http1Error::InvalidTarget => "malformed request target",
            Http1Error::InvalidScheme => "scheme is neither http nor https",
            Http1Error::HttpsUrl => "https URL on a connection without TLS",
            Http1Error::PathWithFragment => "fragment in the request target",
            Http1Error::MissingHost => "no host",
            Http1Error::QueryWithoutContentType => "QUERY without content-type",
            Http1Error::DuplicateHost => "more than one host",
            Http1Error::InvalidAuthority | Http1Error::MalformedAuthority => "invalid host",
            Http1Error::StatusLine => "malformed status line",
            Http1Error::FieldName => "malformed field name",
            Http1Error::LineEnd => "line does not end in CRLF",
            Http1Error::HeadersTooLarge => "headers too large",
            Http1Error::TooManyHeaders => "too many headers",
            Http1Error::UnexpectedUnderscore => "underscore in a header name",
            Http1Error::InvalidContentLength => "invalid content-length",
            Http1Error::DuplicateContentLength => "more than one content-length",
            Http1Error::ContentLengthAndChunked => {
                "both content-length and transfer-encoding are present"
            }
            Http1Error::InvalidTransferEncoding => "unsupported transfer-encoding",
            Http1Error::TransferEncodingNotAllowed => "transfer-encoding is not allowed here",
            Http1Error::BodyDisallowed => "a body is not allowed here",
            Http1Error::ChunkSize => "invalid chunk size",
            Http1Error::ChunkLine => "malformed chunk line",
            Http1Error::ChunkExtensionsTooLarge => "chunk extensions too large",
            Http1Error::ChunkEnd => "chunk data does not end in CRLF",
            Http1Error::UnexpectedEof => "connection closed within a message",
        }
    }
}

impl std::fmt::Display for Http1Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.description())
    }
}

impl std::error::Error for Http1Error {}

/// Envoy's word for all that its parser refuses.
const CODEC_ERROR: &str = "http1.codec_error";

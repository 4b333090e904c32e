"""A gRPC server, and a client that calls it through a proxy.

Called with a folder of certificates. Prints the server's ports (plain, TLS),
reads the proxy's (plain, TLS), and prints what every call has led to: status,
message, metadata of both kinds, messages. Ends with the line `end`.
"""

import sys
import threading
from concurrent import futures

import grpc

FOLDER = sys.argv[1]
LARGE = bytes(range(256)) * 4096 * 3
NO_LIMIT = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
# Calls must not be tried again by the client itself.
CLIENT = NO_LIMIT + [("grpc.enable_retries", 0), ("grpc.ssl_target_name_override", "a.test")]
# Of every proxy, or of the libraries.
LEFT_OUT = {"date", "user-agent", "x-request-id", "x-envoy-upstream-service-time", "server",
            "grpc-accept-encoding", "accept-encoding"}

cancelled = threading.Event()


def metadata(pairs):
    return sorted((key, value) for key, value in pairs or [] if key not in LEFT_OUT)


def prepare(context):
    """What the client's metadata asks for."""
    asked = dict(context.invocation_metadata())
    if "x-echo" in asked:
        context.send_initial_metadata((("x-initial", asked["x-echo"]),))
        context.set_trailing_metadata((("x-trailing", asked["x-echo"]), ("x-bytes-bin", asked["x-bytes-bin"])))
    attempt = int(asked.get("x-envoy-attempt-count", "1"))
    if attempt <= int(asked.get("x-fails", "0")):
        context.abort(grpc.StatusCode[asked["x-status"]], "as asked for: 100% \u00fc")
    return asked


def await_end(context):
    if not context.add_callback(cancelled.set):
        cancelled.set()
    cancelled.wait(20)


def unary(request, context):
    asked = prepare(context)
    if "x-tell" in asked:
        seen = metadata(context.invocation_metadata())
        limited = context.time_remaining() is not None and context.time_remaining() < 60
        return repr((seen, limited)).encode()
    if "x-wait" in asked:
        await_end(context)
    return request


def server_stream(request, context):
    prepare(context)
    count, size = map(int, request.split())
    for number in range(count):
        yield bytes([number % 256]) * size
    if dict(context.invocation_metadata()).get("x-then"):
        context.abort(grpc.StatusCode.DATA_LOSS, "in the middle")
    if dict(context.invocation_metadata()).get("x-hang"):
        await_end(context)


def client_stream(requests, context):
    prepare(context)
    return str([len(request) for request in requests]).encode()


def both_stream(requests, context):
    prepare(context)
    for request in requests:
        yield request


HANDLERS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Server": grpc.unary_stream_rpc_method_handler(server_stream),
    "Client": grpc.stream_unary_rpc_method_handler(client_stream),
    "Both": grpc.stream_stream_rpc_method_handler(both_stream),
}


class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        return HANDLERS.get(details.method.rsplit("/", 1)[-1])


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(16), (Handler(),), options=NO_LIMIT)
    plain = server.add_insecure_port("127.0.0.1:0")
    with open(f"{FOLDER}/server.key", "rb") as key, open(f"{FOLDER}/server.pem", "rb") as chain:
        credentials = grpc.ssl_server_credentials([(key.read(), chain.read())])
    tls = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    print(plain, tls, flush=True)
    return server


def outcome(call):
    return (call.code().name, call.details(), metadata(call.initial_metadata()), metadata(call.trailing_metadata()))


def say(name, *what):
    print(f"{name}: {' '.join(map(repr, what))}", flush=True)


def shown(message):
    return message if len(message) < 300 else (len(message), message == LARGE)


def call_unary(channel, name, path, request=b"hello", **more):
    try:
        response, call = channel.unary_unary(path).with_call(request, timeout=more.pop("timeout", 20), **more)
        say(name, shown(response), *outcome(call))
    except grpc.RpcError as error:
        say(name, *outcome(error))


def call_stream(channel, name, path, request, **more):
    received = []
    call = channel.unary_stream(path)(request, timeout=more.pop("timeout", 20), **more)
    try:
        for message in call:
            received.append(len(message))
    except grpc.RpcError:
        pass
    say(name, len(received), sum(received), *outcome(call))


ECHO = (("x-echo", "a, b"), ("x-bytes-bin", bytes(range(256))))


def calls(channel):
    call_unary(channel, "unary", "/test.Echo/Unary")
    call_unary(channel, "empty", "/test.Echo/Unary", b"")
    call_unary(channel, "large", "/test.Echo/Unary", LARGE)
    call_unary(channel, "metadata", "/test.Echo/Unary", metadata=ECHO)
    call_unary(channel, "what the server sees", "/test.Echo/Unary", metadata=(("x-tell", "1"),) + ECHO)
    call_unary(channel, "a failure", "/test.Echo/Unary", metadata=(("x-fails", "9"), ("x-status", "NOT_FOUND")))
    call_unary(channel, "a failure with metadata", "/test.Echo/Unary",
               metadata=(("x-fails", "9"), ("x-status", "ABORTED")) + ECHO)
    call_unary(channel, "no such method", "/test.Echo/Nothing")
    call_unary(channel, "compressed", "/test.Echo/Unary", b"x" * 200, compression=grpc.Compression.Gzip)
    call_stream(channel, "server stream", "/test.Echo/Server", b"20 1000")
    call_stream(channel, "large server stream", "/test.Echo/Server", b"40 200000")
    call_stream(channel, "no messages", "/test.Echo/Server", b"0 0")
    call_stream(channel, "broken off", "/test.Echo/Server", b"3 10", metadata=(("x-then", "fail"),))
    response, call = channel.stream_unary("/test.Echo/Client").with_call(
        iter([b"a" * size for size in (0, 1, 70000, 5)]), timeout=20)
    say("client stream", response, *outcome(call))
    call = channel.stream_stream("/test.Echo/Both")(iter([b"1", b"", b"3" * 100000]), timeout=20)
    say("both stream", [len(message) for message in call], *outcome(call))
    turns(channel)
    deadlines(channel)
    cancellations(channel)
    local_replies(channel)
    retries(channel)


def turns(channel):
    """Each message is sent when the last one has come back."""
    received = threading.Semaphore(1)
    left = 20

    def requests():
        for number in range(left):
            received.acquire()
            yield bytes([number])

    came = []
    call = channel.stream_stream("/test.Echo/Both")(requests(), timeout=20)
    for message in call:
        came.append(message[0])
        received.release()
    say("in turns", came, *outcome(call))


def deadlines(channel):
    wait = (("x-wait", "1"),)
    cancelled.clear()
    call_unary(channel, "the client's deadline", "/test.Echo/Unary", timeout=0.3, metadata=wait)
    say("the server learns of it", cancelled.wait(10))
    cancelled.clear()
    call_unary(channel, "the route's timeout", "/test.Short/Unary", metadata=wait)
    say("the server learns of it", cancelled.wait(10))
    cancelled.clear()
    # The server knows of it, too, and may be the first to say so.
    try:
        channel.unary_unary("/test.Limited/Unary")(b"hello", timeout=10, metadata=wait)
    except grpc.RpcError as error:
        say("the proxy's deadline", error.code().name)
    say("the server learns of it", cancelled.wait(10))


def cancellations(channel):
    cancelled.clear()
    call = channel.unary_stream("/test.Echo/Server")(b"2 10", timeout=20, metadata=(("x-hang", "1"),))
    say("before it is cancelled", len(next(call)), len(next(call)))
    call.cancel()
    say("cancelled", call.code().name, cancelled.wait(10))


def local_replies(channel):
    call_unary(channel, "no route", "/test.Nowhere/Unary")
    call_unary(channel, "no host", "/test.NoHost/Unary")
    call_unary(channel, "no connection", "/test.Refused/Unary")
    call_unary(channel, "a direct response", "/test.Direct/Unary")
    call_stream(channel, "no route for a stream", "/test.Nowhere/Server", b"1 1")


def retries(channel):
    for status in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL"):
        call_unary(channel, f"retried on {status}", "/test.Retry/Unary",
                   metadata=(("x-fails", "2"), ("x-status", status)))
        call_unary(channel, f"retried in vain on {status}", "/test.Retry/Unary",
                   metadata=(("x-fails", "9"), ("x-status", status)))


def main():
    server = serve()
    plain, tls = sys.stdin.readline().split()
    with grpc.insecure_channel(f"127.0.0.1:{plain}", CLIENT) as channel:
        print("== plain", flush=True)
        calls(channel)
    with open(f"{FOLDER}/ca.pem", "rb") as ca:
        credentials = grpc.ssl_channel_credentials(ca.read())
    with grpc.secure_channel(f"127.0.0.1:{tls}", credentials, CLIENT) as channel:
        print("== TLS", flush=True)
        calls(channel)
    print("end", flush=True)
    server.stop(0)


main()

"""An authorization server, which does what the metadata of a call asks for.

Called with the port to listen on, 0 for any, and with the folder of the certificate
that it has on a second port, both in one argument. Prints the ports, then a line for
each call: its metadata and the message, field by field. A line of input ends it with the
line `end`.
"""

import os
import pathlib
import sys
import threading
from concurrent import futures

import grpc
from google.protobuf import struct_pb2

# Of the library.
LEFT_OUT = {"user-agent"}
writing = threading.Lock()


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(data):
    """What is in a message, whatever it is: numbers, and texts or messages again."""
    found, at = [], 0
    while at < len(data):
        tag, at = varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = varint(data, at)
            # Ports differ in each run.
            value = "port" if value > 1024 else value
        elif kind == 2:
            length, at = varint(data, at)
            if number == 0 or at + length > len(data):
                raise ValueError
            value, at = shown(data[at:at + length]), at + length
        elif kind == 1 and at + 8 <= len(data):
            value, at = data[at:at + 8].hex(), at + 8
        else:
            raise ValueError
        found.append((number, value))
    return found


def shown(data):
    try:
        text = data.decode()
        if text.isprintable() or text.startswith("-----"):
            return text
    except ValueError:
        pass
    try:
        return sorted(fields(data), key=repr)
    except (IndexError, ValueError):
        return data.hex()


def field(number, content):
    return bytes([number << 3 | 2, len(content)]) + content


def status(code):
    """A `google.rpc.Status`."""
    return field(1, b"\x08" + bytes([code]) if code else b"")


def response(number, code=0):
    """What a request would be answered with, by its place in the message."""
    low, high = code & 0x7F | 0x80, code >> 7
    return field(number, field(1, bytes([8, low, high])) if code else b"")


def metadata(number, told):
    struct = struct_pb2.Struct()
    struct.update(told)
    return field(number, struct.SerializeToString())


DENIED, OK, ERROR = 2, 3, 5

ANSWERS = {
    "ok": status(0),
    "ok-429": status(0) + response(DENIED, 429),
    "ok-told": status(0) + field(OK, metadata(3, {"of": "requests"})) + metadata(4, {"of": "it"}),
    "told": status(0) + metadata(4, {"user": "somebody", "level": 3}),
    "deny": status(7),
    "deny-429": status(7) + response(DENIED, 429),
    "deny-told": status(16) + metadata(4, {"why": "not you"}),
    "fail": status(7) + response(ERROR),
    "fail-503": status(14) + response(ERROR, 503),
    "fail-told": status(14) + response(ERROR) + metadata(4, {"why": "I do not know"}),
    "empty": b"",
    "nonsense": b"\xff\xff\xff",
}


def check(request, context):
    asked = dict(context.invocation_metadata())
    told = sorted(pair for pair in asked.items() if pair[0] not in LEFT_OUT)
    limited = context.time_remaining() is not None
    with writing:
        print("call", told, limited, shown(request), flush=True)
    decision = asked.get("x-decision", "ok")
    if decision in ANSWERS:
        return ANSWERS[decision]
    if decision == "slow":
        ended = threading.Event()
        context.add_callback(ended.set)
        ended.wait(20)
        return ANSWERS["ok"]
    context.abort(grpc.StatusCode[decision], "as asked for")


class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method == "/envoy.service.auth.v3.Authorization/Check":
            return grpc.unary_unary_rpc_method_handler(check)
        return None


def main():
    port, folder = sys.argv[1].split(" ", 1)
    server = grpc.server(futures.ThreadPoolExecutor(16), (Handler(),))
    read = lambda name: pathlib.Path(folder, name).read_bytes()
    certificate = (read("server.key"), read("server.pem"))
    credentials = grpc.ssl_server_credentials([certificate])
    ports = [
        server.add_insecure_port(f"127.0.0.1:{port}"),
        server.add_secure_port("127.0.0.1:0", credentials),
    ]
    server.start()
    print(*ports, flush=True)
    sys.stdin.readline()
    server.stop(0).wait()
    with writing:
        print("end", flush=True)
        # Calls that have come too late must not keep it.
        os._exit(0)


main()

"""An authorization server, which does what the metadata of a call asks for.

Called with the port to listen on, 0 for any. Prints the port that it has, then a line
for each call: its metadata and the message, field by field. A line of input ends it
with the line `end`.
"""

import os
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


def response(code, told):
    status = b"\x08" + bytes([code]) if code else b""
    message = b"\x0a" + bytes([len(status)]) + status
    if told:
        metadata = struct_pb2.Struct()
        metadata.update(told)
        said = metadata.SerializeToString()
        message += b"\x22" + bytes([len(said)]) + said
    return message


def check(request, context):
    asked = dict(context.invocation_metadata())
    metadata = sorted(pair for pair in asked.items() if pair[0] not in LEFT_OUT)
    limited = context.time_remaining() is not None
    with writing:
        print("call", metadata, limited, shown(request), flush=True)
    decision = asked.get("x-decision", "ok")
    if decision == "ok":
        return response(0, {})
    if decision == "told":
        return response(0, {"user": "somebody", "level": 3})
    if decision == "deny":
        return response(7, {})
    if decision == "deny-told":
        return response(16, {"why": "not you"})
    if decision == "empty":
        return b""
    if decision == "nonsense":
        return b"\xff\xff\xff"
    if decision == "slow":
        ended = threading.Event()
        context.add_callback(ended.set)
        ended.wait(20)
        return response(0, {})
    context.abort(grpc.StatusCode[decision], "as asked for")


class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method == "/envoy.service.auth.v3.Authorization/Check":
            return grpc.unary_unary_rpc_method_handler(check)
        return None


def main():
    server = grpc.server(futures.ThreadPoolExecutor(16), (Handler(),))
    port = server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    server.start()
    print(port, flush=True)
    sys.stdin.readline()
    server.stop(0).wait()
    with writing:
        print("end", flush=True)
        # Calls that have come too late must not keep it.
        os._exit(0)


main()

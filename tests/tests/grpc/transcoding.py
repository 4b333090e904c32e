"""A gRPC server and JSON clients that call it through proxies.

Called with a folder, into which it writes the descriptors of the server's
messages. Prints the server's port, reads the proxy's ports, and prints what
every request has led to: status, headers, body, and what the server was sent.
"""

import http.client
import socket
import sys
from concurrent import futures

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, empty_pb2, message_factory
from google.protobuf import any_pb2, struct_pb2, timestamp_pb2, wrappers_pb2, duration_pb2

FOLDER = sys.argv[1]
FIELD = descriptor_pb2.FieldDescriptorProto
TYPES = {"string": FIELD.TYPE_STRING, "int32": FIELD.TYPE_INT32, "int64": FIELD.TYPE_INT64,
         "bool": FIELD.TYPE_BOOL, "bytes": FIELD.TYPE_BYTES, "double": FIELD.TYPE_DOUBLE,
         "float": FIELD.TYPE_FLOAT, "uint64": FIELD.TYPE_UINT64}


def add_message(file, name, fields):
    message = file.message_type.add(name=name)
    for number, (field, kind) in enumerate(fields, 1):
        repeated = kind.startswith("*")
        kind = kind.lstrip("*")
        added = message.field.add(name=field, number=number,
                                  label=FIELD.LABEL_REPEATED if repeated else FIELD.LABEL_OPTIONAL)
        if kind in TYPES:
            added.type = TYPES[kind]
        else:
            added.type_name = kind
            added.type = FIELD.TYPE_ENUM if kind.endswith("Kind") else FIELD.TYPE_MESSAGE


def api_files():
    """google/api/http.proto, annotations.proto and httpbody.proto, as far as they are needed."""
    http_file = descriptor_pb2.FileDescriptorProto(name="google/api/http.proto", package="google.api", syntax="proto3")
    rule = http_file.message_type.add(name="HttpRule")
    rule.oneof_decl.add(name="pattern")
    def text(number, name, **more):
        rule.field.add(name=name, number=number, label=FIELD.LABEL_OPTIONAL, type=FIELD.TYPE_STRING, **more)

    text(1, "selector")
    for number, name in enumerate(["get", "put", "post", "delete", "patch"], 2):
        text(number, name, oneof_index=0)
    rule.field.add(name="custom", number=8, label=FIELD.LABEL_OPTIONAL, type=FIELD.TYPE_MESSAGE,
                   type_name=".google.api.CustomHttpPattern", oneof_index=0)
    text(7, "body")
    text(12, "response_body")
    rule.field.add(name="additional_bindings", number=11, label=FIELD.LABEL_REPEATED, type=FIELD.TYPE_MESSAGE,
                   type_name=".google.api.HttpRule")
    custom = http_file.message_type.add(name="CustomHttpPattern")
    custom.field.add(name="kind", number=1, label=FIELD.LABEL_OPTIONAL, type=FIELD.TYPE_STRING)
    custom.field.add(name="path", number=2, label=FIELD.LABEL_OPTIONAL, type=FIELD.TYPE_STRING)
    annotations = descriptor_pb2.FileDescriptorProto(
        name="google/api/annotations.proto", package="google.api", syntax="proto3",
        dependency=["google/api/http.proto", "google/protobuf/descriptor.proto"])
    annotations.extension.add(name="http", number=72295728, label=FIELD.LABEL_OPTIONAL, type=FIELD.TYPE_MESSAGE,
                              type_name=".google.api.HttpRule", extendee=".google.protobuf.MethodOptions")
    body = descriptor_pb2.FileDescriptorProto(name="google/api/httpbody.proto", package="google.api", syntax="proto3",
                                              dependency=["google/protobuf/any.proto"])
    add_message(body, "HttpBody", [("content_type", "string"), ("data", "bytes"),
                                   ("extensions", "*.google.protobuf.Any")])
    return [http_file, annotations, body]


# Name, request, response, rule, streams requests, streams responses.
METHODS = [
    ("Get", "Item", "Item", {"get": "/items/{id}", "additional_bindings": [
        {"get": "/other/{inner.name}/of/{id}"}, {"post": "/items/{id}", "body": "*"}]}, False, False),
    ("Put", "Item", "Item", {"put": "/items/{id}", "body": "inner"}, False, False),
    ("Verb", "Item", "Item", {"post": "/items/{id}:act", "body": "*"}, False, False),
    ("Rest", "Item", "Item", {"get": "/rest/{name=**}"}, False, False),
    ("Deep", "Item", "Item", {"get": "/deep/{name=a/*/b/*}"}, False, False),
    ("Custom", "Item", "Item", {"custom": {"kind": "FETCH", "path": "/custom"}}, False, False),
    ("Body", "Carrier", "Carrier", {"get": "/inner/{name}", "response_body": "body"}, False, False),
    ("Fail", "Item", "Item", {"get": "/fail/{id}"}, False, False),
    ("List", "Item", "Item", {"get": "/list/{id}"}, False, True),
    ("Send", "Item", "Item", {"post": "/send", "body": "*"}, True, False),
    ("Talk", "Item", "Item", {"post": "/talk", "body": "*"}, True, True),
    ("Raw", "Item", ".google.api.HttpBody", {"get": "/raw/{id}"}, False, False),
    ("RawList", "Item", ".google.api.HttpBody", {"get": "/rawlist/{id}"}, False, True),
    ("RawIn", "Carrier", "Item", {"post": "/rawin/{name}", "body": "body",
                                  "additional_bindings": [{"get": "/rawin/{name}", "body": "body"}]}, False, False),
    ("RawWhole", ".google.api.HttpBody", "Item", {"post": "/rawin/whole/{content_type}", "body": "*"}, False, False),
    ("Unmapped", "Item", "Item", None, False, False),
]


def build():
    file = descriptor_pb2.FileDescriptorProto(
        name="test.proto", package="test", syntax="proto3",
        dependency=["google/api/annotations.proto", "google/api/httpbody.proto", "google/protobuf/timestamp.proto",
                    "google/protobuf/duration.proto", "google/protobuf/wrappers.proto",
                    "google/protobuf/struct.proto", "google/protobuf/any.proto"])
    kind = file.enum_type.add(name="Kind")
    for number, name in enumerate(["NONE", "SOME", "MANY"]):
        kind.value.add(name=name, number=number)
    add_message(file, "Inner", [("name", "string"), ("count", "int32"), ("long_name_here", "string")])
    add_message(file, "Item", [
        ("id", "int64"), ("name", "string"), ("inner", ".test.Inner"), ("tags", "*string"), ("kind", ".test.Kind"),
        ("flag", "bool"), ("ratio", "double"), ("small", "float"), ("data", "bytes"), ("numbers", "*int32"),
        ("time", ".google.protobuf.Timestamp"), ("wait", ".google.protobuf.Duration"),
        ("maybe", ".google.protobuf.StringValue"), ("any", ".google.protobuf.Struct"), ("inners", "*.test.Inner"),
        ("big", "uint64")])
    add_message(file, "Carrier", [("name", "string"), ("body", ".google.api.HttpBody")])
    unknown = descriptor_pb2.FileDescriptorProto(name="unknown.proto", package="filter", syntax="proto3")
    add_message(unknown, "Values", [("values", "*string")])
    add_message(unknown, "Entry", [("key", "string"), ("value", ".filter.Values")])
    add_message(unknown, "Unknown", [("key", "*.filter.Entry")])
    files = [message.DESCRIPTOR.file for message in (
        any_pb2.Any, struct_pb2.Struct, timestamp_pb2.Timestamp, wrappers_pb2.StringValue, duration_pb2.Duration,
        descriptor_pb2.FileDescriptorSet)]
    protos = []
    for one in files:
        proto = descriptor_pb2.FileDescriptorProto()
        one.CopyToProto(proto)
        protos.append(proto)
    protos += api_files()
    pool = descriptor_pool.DescriptorPool()
    for proto in protos:
        pool.Add(proto)
    options = message_factory.GetMessageClass(pool.FindMessageTypeByName("google.protobuf.MethodOptions"))
    extension = pool.FindExtensionByName("google.api.http")
    service = file.service.add(name="Items")
    for name, request, response, rule, client, server in METHODS:
        full = [kind if kind.startswith(".") else ".test." + kind for kind in (request, response)]
        method = service.method.add(name=name, input_type=full[0], output_type=full[1],
                                    client_streaming=client, server_streaming=server)
        if rule:
            made = options()
            fill(made.Extensions[extension], rule)
            method.options.MergeFromString(made.SerializeToString())
    pool.Add(file)
    pool.Add(unknown)
    with open(f"{FOLDER}/descriptors.bin", "wb") as out:
        out.write(descriptor_pb2.FileDescriptorSet(file=protos + [file]).SerializeToString())
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def fill(message, rule):
    for key, value in rule.items():
        if key == "additional_bindings":
            for one in value:
                fill(message.additional_bindings.add(), one)
        elif key == "custom":
            fill(message.custom, value)
        else:
            setattr(message, key, value)


seen = []


class Service:
    def __init__(self, types):
        self.Item, self.HttpBody = types("test.Item"), types("google.api.HttpBody")
        self.Unknown = types("filter.Unknown")

    def note(self, name, message):
        for any_of in getattr(getattr(message, "body", message), "extensions", []):
            # A map, whose entries come in any order.
            entries = self.Unknown.FromString(any_of.value).key
            seen.append(f"{any_of.type_url} {sorted((entry.key, list(entry.value.values)) for entry in entries)}")
            any_of.value = b""
        seen.append(f"{name} {' '.join(str(message).split())}")

    def unary(self, name):
        def handle(request, context):
            self.note(name, request)
            if name == "Fail":
                self.fail(request, context)
            if name == "Raw":
                return self.HttpBody(content_type="text/x-own", data=b"<raw> " + request.name.encode())
            if name == "RawWhole":
                return self.Item(name=request.content_type, data=request.data)
            if name == "RawIn":
                return self.Item(name=request.body.content_type, data=request.body.data)
            return request
        return handle

    def fail(self, request, context):
        code = list(grpc.StatusCode)[request.id]
        if request.name == "details":
            # google.rpc.Status: code 5, message "told".
            context.set_trailing_metadata((("grpc-status-details-bin", b"\x08\x05\x12\x04told"),))
        context.abort(code, 'no "such" thing: 5%')

    def server_stream(self, name):
        def handle(request, context):
            self.note(name, request)
            for number in range(request.id):
                if name == "RawList":
                    yield self.HttpBody(content_type=f"text/x-{number}", data=f"part {number};".encode())
                else:
                    yield self.Item(id=number, name="<x>")
            if request.name == "fail":
                context.abort(grpc.StatusCode.ABORTED, "in the middle")
        return handle

    def client_stream(self, name):
        def handle(requests, context):
            all_of_them = list(requests)
            for request in all_of_them:
                self.note(name, request)
            return self.Item(id=len(all_of_them))
        return handle

    def both_stream(self, name):
        def handle(requests, context):
            for request in requests:
                self.note(name, request)
                yield request
        return handle


def serve(types):
    service = Service(types)
    handlers = {}
    for name, request, response, _, client, server in METHODS:
        full = [kind[1:] if kind.startswith(".") else "test." + kind for kind in (request, response)]
        coding = {"request_deserializer": types(full[0]).FromString,
                  "response_serializer": types(full[1]).SerializeToString}
        make, handle = {
            (False, False): (grpc.unary_unary_rpc_method_handler, service.unary),
            (False, True): (grpc.unary_stream_rpc_method_handler, service.server_stream),
            (True, False): (grpc.stream_unary_rpc_method_handler, service.client_stream),
            (True, True): (grpc.stream_stream_rpc_method_handler, service.both_stream),
        }[client, server]
        handlers[name] = make(handle(name), **coding)
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Items", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    return server


LEFT_OUT = {"date", "x-envoy-upstream-service-time", "server"}

NO_JSON = [b"{", b"{} {}", b'{"a": }']

REQUESTS = [
    ("GET", "/items/7", None),
    ("GET", "/items/7?name=a%20b&inner.count=3&tags=x&tags=y&kind=SOME&flag=true&ratio=1.5", None),
    ("GET", "/items/7?inner.longNameHere=x&kind=2&flag=0&ratio=1e30&small=0.1&big=18446744073709551615", None),
    ("GET", "/items/7?time=2020-01-02T03:04:05Z&wait=1.5s&maybe=&data=YWI%3D", None),
    ("GET", "/items/7?numbers=1&numbers=-2&name=a+b%2Bc", None),
    ("GET", "/items/-9223372036854775808", None),
    ("GET", "/items/no", None),
    ("GET", "/items/7?flag=perhaps", None),
    ("GET", "/items/7?kind=LOTS", None),
    ("GET", "/items/7?kind=some", None),
    ("GET", "/items/7?nothing=1", None),
    ("GET", "/items/7?inner.nothing=1", None),
    ("GET", "/items/7?name.more=1", None),
    ("GET", "/items/7?name", None),
    ("GET", "/items/7?name=a&name=b", None),
    ("GET", "/items/7?id=8", None),
    ("GET", "/items/7/", None),
    ("GET", "/items/70?kind=SOME", None),
    ("GET", "/items/71?kind=SOME", None),
    ("GET", "/items", None),
    ("GET", "/items/7?key=1", None),
    ("DELETE", "/items/7", None),
    ("GET", "/other/x%2Fy/of/7", None),
    ("POST", "/items/7", b'{"name": "x", "inner": {"count": 1}}'),
    ("POST", "/items/7", b'{"id": 8}'),
    ("POST", "/items/7", b'{"id": "7"}'),
    ("POST", "/items/7", b'{"kind": "MANY", "time": "2020-01-02T03:04:05.5Z", "any": {"a": [1, null, "x"]}}'),
    ("POST", "/items/7", b'{"inners": [{"name": "a"}, {}], "ratio": "NaN", "small": 16777216, "big": "5"}'),
    ("POST", "/items/7", b'{"ratio": 0.00001, "name": "\\u003c\\u00e9\\u2028\\ud83d\\ude00\\u0001"}'),
    ("POST", "/items/7?tags=a", b'{"tags": ["b"]}'),
    ("POST", "/items/7", b""),
    ("POST", "/items/7", b"{}"),
    ("POST", "/items/7", b"{"),
    ("POST", "/items/7", b'{"a": }'),
    ("POST", "/items/7", b"{} {}"),
    ("POST", "/items/7", b'{"kind": "LOTS"}'),
    ("POST", "/items/7", b'{"inner": {"count": "x"}}'),
    ("POST", "/items/7", b'{"id": true}'),
    ("POST", "/items/7", b"[]"),
    ("POST", "/items/7", b'{"nothing": 1}'),
    ("POST", "/items/7", b'{"name": 5}'),
    ("POST", "/items/7:act", b'{"name": "x"}'),
    ("POST", "/items/7:other", b'{"name": "x"}'),
    ("PUT", "/items/7?name=x", b'{"count": 5}'),
    ("PUT", "/items/7", b""),
    ("GET", "/rest/a/b%2Fc/d%20e", None),
    ("GET", "/rest/", None),
    ("GET", "/rest", None),
    ("GET", "/deep/a/x/b/y%3F", None),
    ("FETCH", "/custom?name=x", None),
    ("GET", "/inner/x?body.content_type=text/x-b&body.data=YWI%3D", None),
    ("GET", "/fail/5", None),
    ("GET", "/fail/5?name=details", None),
    ("GET", "/fail/16", None),
    ("GET", "/list/3", None),
    ("GET", "/list/0", None),
    ("GET", "/list/2?name=fail", None),
    ("POST", "/send", b'[{"name": "a"}, {"name": "b"}]'),
    ("POST", "/send", b"[]"),
    ("POST", "/send", b""),
    ("POST", "/send", b'{"name": "a"}'),
    ("POST", "/send", b'[{"name": "a"}, {"name": 5}]'),
    ("POST", "/send", b'[{"name": "]},"}  ,\n{"tags": ["a", "b"]}] '),
    ("POST", "/talk", b'[{"name": "a"}, {"name": "b"}]'),
    ("GET", "/raw/1?name=x", None),
    ("GET", "/rawlist/3", None),
    ("GET", "/rawlist/0", None),
    ("POST", "/rawin/x", b"any bytes \x00\xff"),
    ("POST", "/rawin/x", b""),
    ("POST", "/rawin/x?nothing=1&key=2&name.more=3&body.nothing=a%20b&nothing=%C3%A9+", b"any"),
    ("POST", "/rawin/x?nothing=1", b""),
    ("POST", "/rawin/x?nothing", b"any"),
    ("POST", "/rawin/x?key=1", b"any"),
    ("GET", "/rawin/x?nothing=1", None),
    ("POST", "/rawin/whole/x?nothing=1&other=2", b"any"),
    ("POST", "/test.Items/Unmapped", b'{"name": "x"}'),
    ("POST", "/test.Items/Get", b'{"name": "x"}'),
    ("GET", "/nothing", None),
]


def call(port, listener, method, path, body):
    seen.clear()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {"content-type": "text/x-in"} if path.startswith("/rawin") else {"content-type": "application/json"}
    connection.request(method, path, body=body, headers=headers if body is not None else {})
    response = connection.getresponse()
    try:
        answered = response.read()
    except http.client.HTTPException as error:
        answered = repr(error).encode()
    told = sorted((name.lower(), value) for name, value in response.getheaders() if name.lower() not in LEFT_OUT)
    connection.close()
    # The words for what is no JSON are each reader's own.
    if body in NO_JSON:
        told, answered = [], b""
    print(f"{listener} {method} {path} {body}: {response.status} {told} {answered} {seen}", flush=True)


TALK = [(b"[", None), (b'{"name": "fir', None), (b'st"}', b"first"), (b', {"name":', None),
        (b' "second"}', b"second"), (b',\n{"name": "third"}]', b"third")]


def talk(port, listener):
    """Sends a message when the one before it was answered."""
    seen.clear()
    client = socket.create_connection(("127.0.0.1", port))
    client.settimeout(20)
    client.sendall(b"POST /talk HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
                   b"transfer-encoding: chunked\r\n\r\n")
    received, events = b"", []
    try:
        for part, answer in TALK:
            client.sendall(b"%x\r\n%s\r\n" % (len(part), part))
            while answer is not None and answer not in received:
                received += client.recv(4096) or answer + b" never came"
            events.append(answer in received if answer else None)
        client.sendall(b"0\r\n\r\n")
        while not received.endswith(b"0\r\n\r\n"):
            received += client.recv(4096) or b" cut 0\r\n\r\n"
    except OSError as error:
        events.append(repr(error))
    client.close()
    print(f"{listener} talk: {received.split(None, 2)[1:2]} {events} {received[-30:]} {seen}", flush=True)


def main():
    server = serve(build())
    names = sys.stdin.readline().split()
    for one in names:
        listener, port = one.split("=")
        for method, path, body in REQUESTS:
            call(int(port), listener, method, path, body)
        talk(int(port), listener)
    print("end", flush=True)
    server.stop(0)


main()

#!/usr/bin/env python3
"""An OTLP receiver for tests, which shares no code with what it tests.

It takes traces by gRPC and by HTTP/protobuf on ports of the kernel's choice, of 127.0.0.1 or of
`--host`. The first line on standard output says which: {"grpc": PORT, "http": PORT}. Then there is
one line for each span, with its resource, and the transport and headers that brought it. It ends
when its standard input does.

`--refuse N` answers the first N messages with "unavailable", to see a sender try again.
"""

import argparse
import json
import sys
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service_grpc
from opentelemetry.proto.trace.v1 import trace_pb2 as trace

output = threading.Lock()


def write(value):
    with output:
        print(json.dumps(value), flush=True)


def plain(value):
    """An AnyValue as JSON."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(element) for element in value.array_value.values]
    return getattr(value, kind) if kind else None


def attributes(pairs):
    return {pair.key: plain(pair.value) for pair in pairs}


def take(request, transport, headers):
    for resource_spans in request.resource_spans:
        resource = attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                write(
                    {
                        "transport": transport,
                        "headers": headers,
                        "resource": resource,
                        "scope": scope_spans.scope.name,
                        "trace_id": span.trace_id.hex(),
                        "span_id": span.span_id.hex(),
                        "parent_span_id": span.parent_span_id.hex(),
                        "trace_state": span.trace_state,
                        "name": span.name,
                        "kind": trace.Span.SpanKind.Name(span.kind),
                        "start": span.start_time_unix_nano,
                        "end": span.end_time_unix_nano,
                        "attributes": attributes(span.attributes),
                        "events": [event.name for event in span.events],
                        "status": trace.Status.StatusCode.Name(span.status.code),
                        "status_message": span.status.message,
                    }
                )


class Refusals:
    """Counts down the messages that are still to be refused."""

    def __init__(self, count):
        self.count = count
        self.lock = threading.Lock()

    def next(self):
        with self.lock:
            if self.count == 0:
                return False
            self.count -= 1
            return True


class Grpc(service_grpc.TraceServiceServicer):
    def __init__(self, refusals):
        self.refusals = refusals

    def Export(self, request, context):
        if self.refusals.next():
            context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        take(request, "grpc", dict(context.invocation_metadata()))
        return service.ExportTraceServiceResponse()


def http_handler(refusals):
    class Http(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path != "/v1/traces":
                return self.answer(404, b"")
            if self.headers["content-type"] != "application/x-protobuf":
                return self.answer(415, b"")
            if refusals.next():
                return self.answer(503, b"")
            request = service.ExportTraceServiceRequest.FromString(body)
            headers = {name.lower(): value for name, value in self.headers.items()}
            take(request, "http", headers)
            self.answer(200, service.ExportTraceServiceResponse().SerializeToString())

        def answer(self, status, body):
            self.send_response(status)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Http


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--refuse", type=int, default=0)
    arguments.add_argument("--host", default="127.0.0.1")
    parsed = arguments.parse_args()
    refusals = Refusals(parsed.refuse)

    grpc_server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    service_grpc.add_TraceServiceServicer_to_server(Grpc(refusals), grpc_server)
    grpc_port = grpc_server.add_insecure_port(f"{parsed.host}:0")
    grpc_server.start()
    http_server = ThreadingHTTPServer((parsed.host, 0), http_handler(refusals))
    threading.Thread(target=http_server.serve_forever, daemon=True).start()

    write({"grpc": grpc_port, "http": http_server.server_address[1]})
    sys.stdin.read()
    grpc_server.stop(None)


if __name__ == "__main__":
    main()

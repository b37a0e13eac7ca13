"""The proxies: how each is configured for each task and started.

A task is what the proxy has to do with a request: `plain`, `edit` (set one request header),
`wasm` (one WASM filter that reads a header which differs in each request and sets another), `lua`
(the same in Envoy's Lua), `ten` (ten header edits, or ten WASM filters), each over HTTP/1.1,
HTTP/2 or TLS. `start` returns None where a peer cannot do a task.
"""

import json
import os
import pathlib

from . import rig

REPO = pathlib.Path(__file__).resolve().parents[3]
HEADER = "x-bench"
# How many WASM filters of Penstock a task calls for each request.
POLICIES = {"wasm": 1, "ten": 10}


def target_dir() -> pathlib.Path:
    """Where cargo builds, as for every other command of the project."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or cache / "penstock" / "target")


def backend(folder: pathlib.Path) -> rig.Server:
    """nginx that answers 13 bytes, on the load core."""
    port = rig.free_port()
    conf = folder / "backend.conf"
    conf.write_text(nginx_main(folder, "backend") + f"""
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600s;
  server {{ listen 127.0.0.1:{port} backlog=4096; default_type text/plain;
    location / {{ return 200 "hello, world!"; }} }} }}
""")
    return rig.Server("backend", [rig.need("nginx"), "-c", str(conf), "-p", str(folder)], port,
                      core=rig.LOAD_CORE)


def start(name: str, task: str, folder: pathlib.Path, upstream: int, *, tls=None, workers: int = 1):
    """A proxy for a task, or None where it cannot do it. `tls`: (certificate, key) files."""
    return STARTERS[name](task, folder, upstream, tls, workers)


def nginx_main(folder: pathlib.Path, name: str) -> str:
    """How each nginx begins: one process, in the foreground."""
    return (f"daemon off; master_process off; worker_processes 1; pid {folder}/{name}.pid;"
            f" error_log stderr error;\nevents {{ worker_connections 20000; }}")


def _nginx(task, folder, upstream, tls, _workers):
    if task not in ("plain", "edit", "ten"):
        return None
    port = rig.free_port()
    edits = "".join(f"proxy_set_header {HEADER}{'' if i == 0 else i} v;"
                    for i in range({"plain": 0, "edit": 1, "ten": 10}[task]))
    listen = f"listen 127.0.0.1:{port} backlog=4096 " + ("ssl http2" if tls else "")
    if tls:
        listen += f"; ssl_certificate {tls[0]}; ssl_certificate_key {tls[1]}; ssl_protocols TLSv1.2 TLSv1.3"
    conf = folder / "nginx.conf"

    def text(listen):
        return nginx_main(folder, "nginx") + f"""
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600s;
  upstream backend {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 100000000; }}
  server {{ {listen};
    http2_max_requests 100000000; http2_max_concurrent_streams 256;
    location / {{ proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme; {edits} }} }} }}
"""
    conf.write_text(text(listen))
    return rig.Server("nginx", [rig.need("nginx"), "-c", str(conf), "-p", str(folder)], port)


def _nginx_h2c(task, folder, upstream, _tls, workers):
    """nginx 1.22 serves cleartext HTTP/2 on a port of its own."""
    server = _nginx(task, folder, upstream, None, workers)
    if server is None:
        return None
    server.stop()
    conf = folder / "nginx.conf"
    conf.write_text(conf.read_text().replace("backlog=4096 ;", "backlog=4096 http2;", 2))
    return rig.Server("nginx", [rig.need("nginx"), "-c", str(conf), "-p", str(folder)], server.port)


def _haproxy(task, folder, upstream, tls, _workers, proto=""):
    if task not in ("plain", "edit", "ten"):
        return None
    port = rig.free_port()
    edits = "\n".join(f"  http-request set-header {HEADER}{'' if i == 0 else i} v"
                      for i in range({"plain": 0, "edit": 1, "ten": 10}[task]))
    bind = f"bind 127.0.0.1:{port} backlog 4096 {proto}"
    if tls:
        pem = folder / "haproxy.pem"
        pem.write_text(pathlib.Path(tls[0]).read_text() + pathlib.Path(tls[1]).read_text())
        bind += f" ssl crt {pem} alpn h2,http/1.1"
    conf = folder / "haproxy.cfg"
    conf.write_text(f"""global
  nbthread 1
  maxconn 8000
  tune.h2.max-concurrent-streams 256
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  http-reuse always
frontend f
  {bind}
  option forwardfor
{edits}
  default_backend b
backend b
  server s 127.0.0.1:{upstream} pool-max-conn 512
""")
    return rig.Server("haproxy", [rig.need("haproxy"), "-db", "-f", str(conf)], port)


def _haproxy_h2c(task, folder, upstream, tls, workers):
    return _haproxy(task, folder, upstream, tls, workers, proto="proto h2")


def _envoy_filters(task: str) -> list[dict]:
    if task == "lua":
        code = ("function envoy_on_request(h) local v = h:headers():get('x-n')"
                f" if v then h:headers():replace('{HEADER}', v) end end")
        return [{"name": "lua", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": code}}}]
    if task == "wasm":
        module = target_dir() / "bench-envoy" / "envoy_wasm.wasm"
        return [{"name": "wasm", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {"name": "bench", "root_id": "bench", "vm_config": {
                "runtime": "envoy.wasm.runtime.v8", "vm_id": "bench",
                "code": {"local": {"filename": str(module)}}}}}}]
    return []


def _envoy(task, folder, upstream, tls, _workers):
    port = rig.free_port()
    edits = {"edit": 1, "ten": 10}.get(task, 0)
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager"
                 ".v3.HttpConnectionManager",
        "stat_prefix": "bench", "codec_type": "AUTO", "use_remote_address": True,
        "generate_request_id": False,
        "http_filters": [*_envoy_filters(task), {"name": "router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{
            "match": {"prefix": "/"}, "route": {"cluster": "backend", "timeout": "0s"},
            "request_headers_to_add": [
                {"header": {"key": f"{HEADER}{'' if i == 0 else i}", "value": "v"},
                 "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"} for i in range(edits)]}]}]}}
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    if tls:
        chain["transport_socket"] = {"name": "tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
                     ".DownstreamTlsContext",
            "common_tls_context": {"alpn_protocols": ["h2", "http/1.1"], "tls_certificates": [{
                "certificate_chain": {"filename": str(tls[0])},
                "private_key": {"filename": str(tls[1])}}]}}}
    limits = {"max_connections": 20000, "max_pending_requests": 20000, "max_requests": 20000}
    conf = folder / "envoy.json"
    conf.write_text(json.dumps({"static_resources": {
        "listeners": [{"name": "l", "address": _address(port), "filter_chains": [chain]}],
        "clusters": [{"name": "backend", "connect_timeout": "5s", "type": "STATIC",
                      "circuit_breakers": {"thresholds": [limits]},
                      "load_assignment": {"cluster_name": "backend", "endpoints": [{
                          "lb_endpoints": [{"endpoint": {"address": _address(upstream)}}]}]}}]}}))
    venv = pathlib.Path(os.environ["PENSTOCK_BENCH_VENV"])
    return rig.Server("envoy", [rig.need("envoy", str(venv / "bin")), "-c", str(conf),
                                "--concurrency", "1", "-l", "error", "--disable-hot-restart"], port)


def _address(port: int) -> dict:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _raw_copy(task, _folder, upstream, tls, _workers):
    if task != "plain" or tls:
        return None
    port = rig.free_port()
    binary = target_dir() / "release" / "raw-copy"
    return rig.Server("raw copy", [str(binary), str(port), str(upstream)], port)


def penstock_objects(task: str, port: int, upstream: int, tls) -> list[dict]:
    """The Gateway API objects that make Penstock do a task."""
    listener = {"name": "l", "port": port, "protocol": "HTTPS" if tls else "HTTP"}
    objects = []
    if tls:
        listener["tls"] = {"certificateRefs": [{"name": "cert"}]}
        objects.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cert"},
                        "type": "kubernetes.io/tls", "stringData": {
                            "tls.crt": pathlib.Path(tls[0]).read_text(),
                            "tls.key": pathlib.Path(tls[1]).read_text()}})
    filters = []
    if task == "edit":
        filters = [{"type": "RequestHeaderModifier",
                    "requestHeaderModifier": {"set": [{"name": HEADER, "value": "v"}]}}]
    if task in POLICIES:
        for i in range(POLICIES[task]):
            name = f"f{i}"
            objects.append({
                "apiVersion": "penstock.dev/v1alpha1", "kind": "WasmFilter",
                "metadata": {"name": name}, "spec": {
                    "module": {"file": {"path": str(REPO / "filters/dist/header-rules.wasm")}},
                    "config": {"request": [{"set": {f"{HEADER}{i or ''}": "{header.x-n}"}}]}}})
            filters.append({"type": "ExtensionRef", "extensionRef": {
                "group": "penstock.dev", "kind": "WasmFilter", "name": name}})
    api = "gateway.networking.k8s.io/v1"
    return objects + [
        {"apiVersion": api, "kind": "GatewayClass", "metadata": {"name": "penstock"},
         "spec": {"controllerName": "penstock.dev/gateway-controller"}},
        {"apiVersion": api, "kind": "Gateway", "metadata": {"name": "g"},
         "spec": {"gatewayClassName": "penstock", "listeners": [listener]}},
        {"apiVersion": api, "kind": "HTTPRoute", "metadata": {"name": "r"}, "spec": {
            "parentRefs": [{"name": "g"}],
            "rules": [{"filters": filters, "backendRefs": [{"name": "b", "port": 80}]}]}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b"},
         "spec": {"ports": [{"name": "http", "port": 80, "targetPort": upstream}]}},
        {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {
            "name": "b-1", "labels": {"kubernetes.io/service-name": "b"}},
         "addressType": "IPv4", "ports": [{"name": "http", "port": upstream}],
         "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}]}]


def penstock_command(folder: pathlib.Path, task: str, port: int, upstream: int, tls=None,
                     workers: int = 1, admin: int | None = None) -> list[str]:
    """Writes the objects and returns the command line of the shipped binary."""
    folder = folder / "penstock"
    folder.mkdir(exist_ok=True)
    (folder / "objects.json").write_text(json.dumps(
        {"apiVersion": "v1", "kind": "List", "items": penstock_objects(task, port, upstream, tls)}))
    command = [str(target_dir() / "release" / "penstock"), "run", "-f", str(folder),
               "--bind", "127.0.0.1", "--workers", str(workers)]
    return command + (["--admin", f"127.0.0.1:{admin}"] if admin else [])


def _penstock(task, folder, upstream, tls, workers):
    if task == "lua":
        return None
    port = rig.free_port()
    admin = rig.free_port()
    command = penstock_command(folder, task, port, upstream, tls, workers, admin)
    server = rig.Server("penstock", command, port)
    server.admin = admin
    return server


STARTERS = {"raw copy": _raw_copy, "penstock": _penstock, "nginx": _nginx, "haproxy": _haproxy,
            "envoy": _envoy}
STARTERS_H2C = {"penstock": _penstock, "nginx": _nginx_h2c, "haproxy": _haproxy_h2c, "envoy": _envoy}

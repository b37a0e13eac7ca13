"""The tables of docs/benchmarks.md. Each measurement owns a section; one that was not run keeps the
section of an earlier run."""

import pathlib
import re

TITLES = {
    "http": "CPU for each request",
    "tls": "TLS handshakes",
    "memory": "Resident memory",
    "pairs": "What an idle pair holds",
    "instructions": "Instructions for each request",
    "workers": "Upstream reuse and skew of load",
    "micro": "Single operations",
    "hostile": "Beside hostile policies",
    "pods": "From pod to pod on one node",
    "cluster": "In a cluster",
    "addresses": "Addresses of pods",
}
FUNCTIONS = 16
COMMANDS = {name: f"make bench BENCH={name}" for name in TITLES}


def markdown(results: dict) -> str:
    """All sections that were measured."""
    return "\n".join(_section(name, rows) for name, rows in results.items())


def write(path: pathlib.Path, results: dict) -> None:
    """Replaces the measured sections between their markers."""
    text = path.read_text()
    for name, rows in results.items():
        marker = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        text, found = re.subn(marker, lambda m: m[1] + _section(name, rows) + m[2], text, flags=re.S)
        if not found:
            raise SystemExit(f"{path} has no section <!-- {name} -->")
    path.write_text(text)


def _section(name: str, rows: list[dict]) -> str:
    body = TABLES[name](rows)
    return f"## {TITLES[name]}\n`{COMMANDS[name]}`\n\n{body}\n"


def _table(head: list[str], lines: list[list]) -> str:
    out = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    out += ["| " + " | ".join(str(c) for c in line) + " |" for line in lines]
    return "\n".join(out)


def _http(rows):
    lines = []
    for row in rows:
        group = {r["proxy"]: r["us"] for r in rows
                 if (r["protocol"], r["task"]) == (row["protocol"], row["task"])}
        base = {r["proxy"]: r["us"] for r in rows
                if r["protocol"] == row["protocol"] and r["task"] == "plain"}
        added = row["us"] - base[row["proxy"]] if row["proxy"] in base else None
        ratios = [f"{row['us'] / group[p]:.2f}" if p in group else "–"
                  for p in ("nginx", "haproxy", "envoy")]
        lines.append([row["protocol"], row["task"], row["proxy"], f"{row['us']:.2f}", *ratios,
                      "" if added is None else f"{added:+.2f}", row["requests"]])
    return _table(["protocol", "task", "proxy", "µs CPU", "x nginx", "x HAProxy", "x Envoy",
                   "added to plain, µs", "requests in the best round"], lines)


def _tls(rows):
    nginx = next((r["us"] for r in rows if r["proxy"] == "nginx"), None)
    return _table(["proxy", "µs CPU for a handshake", "x nginx"],
                  [[r["proxy"], f"{r['us']:.0f}", f"{r['us'] / nginx:.2f}" if nginx else "–"]
                   for r in rows])


def _memory(rows):
    return _table(["proxy", "idle, MiB", "each idle pair, KiB"],
                  [[r["proxy"], f"{r['idle_mib']:.1f}", f"{r['pair_kib']:.1f}"] for r in rows])


def _pairs(rows):
    return _table(["bytes", "of size", "pieces", "asked for by"],
                  [[f"{r['bytes']:.0f}", r["size"], f"{r['pieces']:g}", f"`{_short(r['place'])}`"]
                   for r in rows])


def _instructions(rows):
    """By part of the program, then the functions that cost most."""
    tasks = [r["task"] for r in rows]
    parts = sorted(rows[-1]["parts"], key=lambda part: -rows[-1]["parts"][part])
    lines = [["all", *(f"{r['instructions']:.0f}" for r in rows)]]
    lines += [[part, *(f"{r['parts'][part]:.0f}" for r in rows)] for part in parts]
    most = sorted(rows[-1]["functions"], key=lambda name: -rows[-1]["functions"][name])[:FUNCTIONS]
    functions = [[f"`{_short(name)}`", *(f"{r['functions'].get(name, 0):.0f}" for r in rows)]
                 for name in most]
    return (_table(["part", *tasks], lines) + "\n\n"
            + _table([f"the {FUNCTIONS} functions that cost most", *tasks], functions))


def _short(name: str) -> str:
    return name if len(name) <= 90 else name[:87] + "..."


def _workers(rows):
    return _table(["workers", "protocol", "client connections", "reused upstream connections",
                   "busiest worker over the mean"],
                  [[r["workers"], r["protocol"], r["connections"], f"{r['reuse']:.2%}",
                    f"{r['skew']:.2f}"] for r in rows])


def _micro(rows):
    return _table(["program", "operation", "ns"],
                  [[r["program"], r["operation"], f"{r['ns']:.1f}"] for r in rows])


def _hostile(rows):
    return _table(["another tenant's requests beside", "p99, ms", "x alone"],
                  [[r["phase"], f"{r['ms']:.2f}", f"{r['ratio']:.2f}"] for r in rows])


def _addresses(rows):
    return _table(["measure", "value"], [[r["measure"], r["value"]] for r in rows])


def _pods(rows):
    lines = []
    for row in rows:
        group = {r["network"]: r for r in rows if r["task"] == row["task"]}
        ratios = [f"{row['rate'] / group[p]['rate']:.2f}" for p in ("bridge", "ptp")]
        ratios += [f"{row['us'] / group[p]['us']:.2f}" for p in ("bridge", "ptp")]
        lines.append([row["task"], row["network"], f"{row['rate']:.0f}", *ratios[:2],
                      f"{row['us']:.1f}", *ratios[2:]])
    return _table(["requests over", "network", "requests/s", "x bridge", "x ptp",
                   "µs CPU of both ends for each", "x bridge", "x ptp"], lines)


def _cluster(found):
    steps = [[s["routes"], f"{s['first_answer']['mean_ms']:.1f}", f"{s['first_answer']['max_ms']:.1f}",
              s["added"], s["status_writes"]["httproutes"], s["status_writes"]["gateways"]]
             for s in found["steps"]]
    rest, changes = found["writes_at_rest"], found["changes"]
    routes = found["routes"]
    lines = [[f"cores of the operator, one change a second at {routes} routes",
              f"{found['operator_cores']:.3f}"]]
    lines += [[f"resident memory of {name}, MiB: no route; {routes} routes",
               f"{found['idle'][name]:.0f}; {found['full'][name]:.0f}"] for name in sorted(found["full"])]
    lines += [["status writes in 15 s at rest", rest["httproutes"] + rest["gateways"]],
              ["changes of backends, filters and order of rules under load, 20 requests in flight or more",
               changes["changes"]],
              ["requests answered meanwhile; failed", f"{changes['answered']}; {changes['failed']}"]]
    return (_table(["routes", "applied to first answer, mean ms", "longest, ms", "routes added",
                    "status writes of routes", "of the Gateway"], steps)
            + "\n\n" + _table(["", ""], lines))


TABLES = {"http": _http, "tls": _tls, "memory": _memory, "pairs": _pairs,
          "instructions": _instructions, "workers": _workers, "micro": _micro, "pods": _pods,
          "cluster": _cluster, "hostile": _hostile, "addresses": _addresses}

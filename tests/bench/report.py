#!/usr/bin/env python3
"""Medians, ratios against the wanted bars, a plot: from the raw lines of run.sh.

Writes report.md, results.json and performance.svg into --out and prints report.md.
With --strict the exit code is 1 unless every bar is met.
"""
import argparse
import json
import os
import statistics
import sys
from collections import defaultdict

# (workload, depth): wanted share of the ceiling, times Ganesha on ext4, times Ganesha on tmpfs.
BARS = {
    ("getattr", 16): (0.70, 2.5, None),
    ("read4k", 16): (0.65, 2.5, None),
    ("write4k", 16): (0.55, 5.0, 2.0),
    ("create", 16): (0.45, 4.0, None),
    ("write1m", 4): (0.40, 1.2, None),
    ("read1m", 4): (0.60, 1.1, None),
    ("getattr", 1): (0.80, 1.0, None),
    ("read4k", 1): (0.80, 1.0, None),
    ("write4k", 1): (0.80, 3.0, None),
    ("create", 1): (0.80, 1.0, None),
}
PEERS = ("null", "ganesha-ext4", "ganesha-tmpfs")
NAMES = {
    "getattr": "GETATTR",
    "read4k": "4 KiB cached random read",
    "write4k": "4 KiB FILE_SYNC write",
    "create": "create + remove",
    "write1m": "1 MiB FILE_SYNC write",
    "read1m": "1 MiB cached read",
}
COLORS = {"null": "#9aa0a6", "duet": "#1a73e8", "ganesha-ext4": "#e8710a", "ganesha-tmpfs": "#f9ab00"}
FIELDS = ("ops_per_s", "mib_per_s", "p50_us", "p99_us", "p999_us", "max_us")


def medians(lines):
    grouped = defaultdict(list)
    for line in lines:
        grouped[(line["workload"], line["depth"], line["server"])].append(line)
    return {
        key: {**{f: statistics.median(r[f] for r in runs) for f in FIELDS},
              "lowest": min(r["ops_per_s"] for r in runs),
              "highest": max(r["ops_per_s"] for r in runs), "rounds": len(runs)}
        for key, runs in grouped.items()
    }


def rate(median):
    if median is None:
        return "-"
    if median["mib_per_s"] >= 1 and median["p50_us"] > 0 and is_large(median):
        return f"{median['mib_per_s']:,.0f} MiB/s"
    return f"{median['ops_per_s']:,.0f}/s"


def is_large(median):
    return median["mib_per_s"] / median["ops_per_s"] > 0.5


def judge(table):
    """One entry per bar that the servers measured allow: (workload, depth, peer, ratio, wanted)."""
    verdicts = []
    for (workload, depth), wanted in BARS.items():
        mine = table.get((workload, depth, "duet"))
        for peer, bar in zip(PEERS, wanted):
            other = table.get((workload, depth, peer))
            if mine and other and bar is not None:
                verdicts.append((workload, depth, peer, mine["ops_per_s"] / other["ops_per_s"], bar))
    return verdicts


def ratio_cell(verdicts, workload, depth, peer, table):
    for w, d, p, ratio, bar in verdicts:
        if (w, d, p) == (workload, depth, peer):
            shown = f"{ratio:.0%}" if peer == "null" else f"{ratio:.2f}x"
            want = f"{bar:.0%}" if peer == "null" else f"{bar:g}x"
            return f"{shown} ({'meets' if ratio >= bar else 'BELOW'} {want})"
    mine, other = table.get((workload, depth, "duet")), table.get((workload, depth, peer))
    if not mine or not other:
        return "-"
    ratio = mine["ops_per_s"] / other["ops_per_s"]
    return f"{ratio:.0%}" if peer == "null" else f"{ratio:.2f}x"


def markdown(table, verdicts):
    servers = [s for s in ("duet", "null", "ganesha-ext4", "ganesha-tmpfs")
               if any(k[2] == s for k in table)]
    cases = sorted({k[:2] for k in table}, key=lambda k: (list(NAMES).index(k[0]), k[1]))
    out = ["| workload | depth | " + " | ".join(servers)
           + " | of the ceiling | Ganesha ext4 | Ganesha tmpfs |",
           "|" + "---|" * (len(servers) + 5)]
    for workload, depth in cases:
        cells = [rate(table.get((workload, depth, s))) for s in servers]
        cells += [ratio_cell(verdicts, workload, depth, peer, table) for peer in PEERS]
        out.append(f"| {NAMES[workload]} | {depth} | " + " | ".join(cells) + " |")
    out += ["", "Latency in microseconds, p50 / p99 / p999 (medians over the rounds):", "",
            "| workload | depth | " + " | ".join(servers) + " |", "|" + "---|" * (len(servers) + 2)]
    for workload, depth in cases:
        cells = []
        for server in servers:
            m = table.get((workload, depth, server))
            cells.append(f"{m['p50_us']:,.0f} / {m['p99_us']:,.0f} / {m['p999_us']:,.0f}" if m else "-")
        out.append(f"| {NAMES[workload]} | {depth} | " + " | ".join(cells) + " |")
    met = sum(ratio >= bar for *_, ratio, bar in verdicts)
    out += ["", f"Bars met: {met} of {len(verdicts)}.", "",
            "Ganesha does not sync creates and removes; Duet answers them durable."]
    return "\n".join(out) + "\n"


def svg(table):
    """Horizontal bars, one group per case, each as a share of the ceiling (or of the fastest)."""
    cases = sorted({k[:2] for k in table}, key=lambda k: (list(NAMES).index(k[0]), k[1]))
    servers = [s for s in COLORS if any(k[2] == s for k in table)]
    left, width, bar, gap = 230, 560, 11, 14
    group = bar * len(servers) + gap
    height = 60 + group * len(cases) + 20
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 130}" height="{height}" '
           'font-family="sans-serif" font-size="11">',
           '<rect width="100%" height="100%" fill="white"/>',
           '<text x="10" y="18" font-size="14">NFSv3, one connection: medians, '
           'as a share of the fastest server; the tick is the wanted share of the ceiling</text>']
    x = left
    for server in servers:
        out.append(f'<rect x="{x}" y="28" width="10" height="10" fill="{COLORS[server]}"/>'
                   f'<text x="{x + 14}" y="37">{server}</text>')
        x += 130
    y = 52
    for workload, depth in cases:
        found = {s: table[(workload, depth, s)] for s in servers if (workload, depth, s) in table}
        fastest = max(m["ops_per_s"] for m in found.values())
        out.append(f'<text x="{left - 8}" y="{y + group / 2 - 2}" text-anchor="end">'
                   f'{NAMES[workload]}, depth {depth}</text>')
        for index, server in enumerate(servers):
            if server not in found:
                continue
            m, top = found[server], y + index * bar
            length = width * m["ops_per_s"] / fastest
            out.append(f'<rect x="{left}" y="{top}" width="{length:.1f}" height="{bar - 2}" '
                       f'fill="{COLORS[server]}"/><text x="{left + length + 4:.1f}" y="{top + 9}" '
                       f'font-size="9">{rate(m)}</text>')
        wanted = BARS.get((workload, depth))
        if wanted and "null" in found:
            at = left + width * wanted[0] * found["null"]["ops_per_s"] / fastest
            out.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y - 2}" '
                       f'y2="{y + group - gap + 2}" stroke="black" stroke-dasharray="2,2"/>')
        y += group
    out.append("</svg>")
    return "\n".join(out) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--raw", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--strict", action="store_true")
    options = parser.parse_args()
    with open(options.raw) as raw:
        table = medians(json.loads(line) for line in raw if line.strip())
    verdicts = judge(table)
    report = markdown(table, verdicts)
    result = {
        "medians": [{"workload": w, "depth": d, "server": s, **m} for (w, d, s), m in table.items()],
        "bars": [{"workload": w, "depth": d, "against": p, "ratio": round(r, 3), "wanted": b,
                  "met": r >= b} for w, d, p, r, b in verdicts],
    }
    for name, text in (("report.md", report), ("performance.svg", svg(table)),
                       ("results.json", json.dumps(result, indent=1) + "\n")):
        with open(os.path.join(options.out, name), "w") as out:
            out.write(text)
    print(report)
    print(f"written: {options.out}/report.md, results.json, performance.svg")
    if options.strict and (not verdicts or any(r < b for *_, r, b in verdicts)):
        sys.exit(1)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What pair.sh measured: medians, ratios, and how long clients waited."""
import json
import math
import re
import statistics
import sys
from collections import defaultdict

SERVERS = ["alone", "mirrored", "solo", "tls"]


def cost(out):
    raw = defaultdict(list)
    for line in open(f"{out}/pair.jsonl"):
        one = json.loads(line)
        raw[(one["workload"], one["depth"]), one["server"]].append(one["ops_per_s"])
    median = {key: statistics.median(values) for key, values in raw.items()}
    print("| workload, depth | alone | mirrored | solo | TCP+TLS | mirrored / solo | mirrored / alone | TCP+TLS / alone |")
    print("|---|---|---|---|---|---|---|---|")
    for what in sorted({key[0] for key in median}):
        value = [median[what, server] for server in SERVERS]
        cells = " | ".join(f"{v:,.0f}/s" for v in value)
        print(f"| {what[0]}, {what[1]} | {cells} | {value[1] / value[2]:.2f} | {value[1] / value[0]:.2f} | {value[3] / value[0]:.2f} |")


def waits(out, name):
    rounds, worst = [], 0
    for line in open(f"{out}/pair-{name}.txt"):
        match = re.match(r"wait round \d+ victim (\w) ms ([\d ]+)", line)
        if match:
            values = [int(v) for v in match.group(2).split()]
            rounds.append(statistics.median(values))
            worst = max(worst, *values)
    if not rounds:
        print(f"{name}: no wait was above what is told")
        return None
    print(f"{name}: {len(rounds)} rounds, median wait {statistics.median(rounds):.0f} ms, worst {worst} ms")
    return statistics.median(rounds), worst


PHASES = {"detect": "#7f8c9b", "fence": "#c0504d", "replay": "#4f81bd", "address": "#9bbb59"}


def phases(out, name):
    """Medians of the phases of the takeovers, in ms, and how many there were."""
    found = [[float(value) for _, value in re.findall(r"(detect|fence|replay|address) (\d+) ms", line)]
             for line in open(f"{out}/pair-{name}.txt") if line.startswith("last takeover")]
    if not found:
        return None
    middle = dict(zip(PHASES, (statistics.median(column) for column in zip(*found))))
    print(f"{name}: {len(found)} takeovers, " + ", ".join(f"{k} {v:.0f} ms" for k, v in middle.items()))
    return middle


# What others say of themselves: a commercial pair's default detection time, and what users of kits
# report from the death of a node to the first answer.  Seconds, from and to.
OTHERS = {"a commercial pair: detection alone, by default": (15, 15.6),
          "kits (DRBD, Pacemaker, knfsd or Ganesha with its grace)": (30, 90)}


def timeline(path, taken, waited):
    """Above: what a takeover's time goes into.  Below: what clients wait, beside others (log scale)."""
    left, width, bar = 330, 520, 16
    longest = max([sum(p.values()) for p in taken.values()] + [w[1] for w in waited.values()])
    full = max(500, -(-longest // 500) * 500)
    rows = []
    y = 62
    for name, parts in taken.items():
        x = left
        rows.append(f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{name}: phases</text>')
        for phase, ms in parts.items():
            rows.append(f'<rect x="{x:.1f}" y="{y}" width="{width * ms / full:.1f}" height="{bar}" fill="{PHASES[phase]}"/>')
            x += width * ms / full
        rows.append(f'<text x="{x + 5:.1f}" y="{y + 12}">{sum(parts.values()):.0f} ms</text>')
        y += bar + 6
    for name, (median, worst) in waited.items():
        rows.append(f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{name}: a client waits</text>')
        rows.append(f'<rect x="{left}" y="{y + 5}" width="{width * worst / full:.1f}" height="2" fill="black"/>')
        rows.append(f'<rect x="{left}" y="{y}" width="{width * median / full:.1f}" height="{bar}" fill="#f0a030"/>')
        rows.append(f'<text x="{left + width * worst / full + 5:.1f}" y="{y + 12}">median {median:.0f} ms, worst {worst} ms</text>')
        y += bar + 6
    y += 34
    rows.append(f'<text x="10" y="{y - 10}" font-size="14">The same beside others, log scale, 0.1 s to 100 s</text>')

    def at(seconds):
        return left + width * (math.log10(max(seconds, 0.1)) + 1) / 3

    spans = {f"Duet, {name}: median to worst": (w[0] / 1000, w[1] / 1000) for name, w in waited.items()} | OTHERS
    for name, (begin, end) in spans.items():
        color = "#f0a030" if name.startswith("Duet") else "#a0a0a0"
        rows.append(f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{name}</text>'
                    f'<rect x="{at(begin):.1f}" y="{y}" width="{max(at(end) - at(begin), 3):.1f}" height="{bar}" fill="{color}"/>'
                    f'<text x="{at(end) + 5:.1f}" y="{y + 12}">{begin:.2g} to {end:.2g} s</text>')
        y += bar + 6
    legend = "".join(f'<rect x="{left + 90 * i}" y="34" width="10" height="10" fill="{color}"/>'
                     f'<text x="{left + 90 * i + 14}" y="43">{name}</text>' for i, (name, color) in enumerate(PHASES.items()))
    with open(path, "w") as file:
        file.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 190}" height="{y + 10}" '
                   'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
                   '<text x="10" y="18" font-size="14">A filer moves to the other node: medians</text>'
                   + legend + "\n".join(rows) + "</svg>\n")


cost(sys.argv[1])
print()
NAMES = {"kills": "kill -9 of a node", "frozen": "SIGSTOP of a node", "moves": "planned move"}
taken, waited = {}, {}
for scenario, words in NAMES.items():
    if (wait := waits(sys.argv[1], scenario)) is not None:
        waited[words] = wait
    if (parts := phases(sys.argv[1], scenario)) is not None:
        taken[words] = parts
timeline(f"{sys.argv[1]}/pair-timeline.svg", taken, waited)

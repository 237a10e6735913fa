#!/usr/bin/env python3
"""What pair.sh measured: medians, ratios, and how long clients waited."""
import json
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
        return
    print(f"{name}: {len(rounds)} rounds, median wait {statistics.median(rounds):.0f} ms, worst {worst} ms")


cost(sys.argv[1])
print()
for scenario in ("kills", "moves", "frozen"):
    waits(sys.argv[1], scenario)

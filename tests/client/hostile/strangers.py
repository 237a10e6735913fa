#!/usr/bin/env python3
"""Strangers at the door: many idle and slow connections, endless fragments, half-sent requests.

Measures a good client before, during and after; prints p99 and resident memory.  Fails when the
server dies, stops answering, keeps more memory than allowed, or does not give it back.  Times are
printed and not judged.  Needs a nofile limit of --idle + --slow + 200 (run.sh raises it).
"""
import argparse
import select
import selectors
import socket
import struct
import sys
import time

LAST = 0x80000000


def resident_kib(pid):
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("VmRSS"):
                return int(line.split()[1])
    raise SystemExit("FAIL the server is gone")


class Doors:
    """Opens connections from many local addresses, as one address has only 28,000 ports."""

    def __init__(self, host, port):
        self.target, self.made = (host, port), 0

    def open(self, blocking=True):
        self.made += 1
        door = socket.socket()
        door.bind((f"127.{1 + self.made // 8000}.0.{2 + self.made % 5}", 0))
        door.settimeout(20)
        door.connect(self.target)
        door.setblocking(blocking)
        return door


def null_call(xid, payload=b""):
    body = struct.pack(">10I", xid, 0, 2, 100003, 3, 0, 0, 0, 0, 0) + payload
    return struct.pack(">I", LAST | len(body)) + body


def receive_exactly(door, count):
    parts = b""
    while len(parts) < count:
        got = door.recv(count - len(parts))
        if not got:
            raise ConnectionError("closed")
        parts += got
    return parts


def ask(door, xid):
    door.sendall(null_call(xid))
    mark = struct.unpack(">I", receive_exactly(door, 4))[0]
    reply = receive_exactly(door, mark & ~LAST)
    assert struct.unpack(">I", reply[:4])[0] == xid, "a reply to another call"


def p99_us(door, calls):
    times = []
    for xid in range(calls):
        start = time.perf_counter()
        ask(door, xid)
        times.append(time.perf_counter() - start)
    times.sort()
    return times[int(len(times) * 0.99)] * 1e6, times[len(times) // 2] * 1e6


def report(what, door, options, before=None):
    p99, p50 = p99_us(door, options.calls)
    rss = resident_kib(options.pid)
    ratio = f", p99 {p99 / before:.2f} times the quiet one" if before else ""
    print(f"{what}: p50 {p50:.0f} us, p99 {p99:.0f} us{ratio}; resident {rss / 1024:.0f} MiB", flush=True)
    return p99, rss


def fail(reason):
    print(f"FAIL {reason}")
    sys.exit(1)


def is_closed(door):
    """True when the peer has closed or reset (and there is nothing to read but that)."""
    poller = select.poll()
    poller.register(door, select.POLLIN)
    if not poller.poll(0):
        return False
    try:
        return door.recv(1, socket.MSG_PEEK) == b""
    except (ConnectionError, OSError):
        return True


def slow_traffic(doors, first, last):
    """Each slow connection sends bytes [first, last) of its request, a byte at a time in turns."""
    request = null_call(1)
    for turn in range(first, last):
        for door in doors:
            try:
                door.send(request[turn:turn + 1])
            except (BlockingIOError, ConnectionError):
                pass


def pour(door, data, limit_bytes, seconds):
    """Sends `data` again and again until the server has had enough; returns the bytes it took."""
    sent, end = 0, time.monotonic() + seconds
    view = memoryview(data)
    at = 0
    selector = selectors.DefaultSelector()
    selector.register(door, selectors.EVENT_WRITE)
    while sent < limit_bytes and time.monotonic() < end:
        if not selector.select(0.2):
            if is_closed(door):
                break
            continue
        try:
            count = door.send(view[at:])
        except BlockingIOError:
            continue
        except (ConnectionError, BrokenPipeError):
            break
        sent += count
        at = (at + count) % len(data)
    return sent


def crowd(doors, options):
    start = time.monotonic()
    idle = [doors.open(blocking=False) for _ in range(options.idle)]
    slow = [doors.open(blocking=False) for _ in range(options.slow)]
    slow_traffic(slow, 0, 3)
    print(f"{options.idle} idle and {options.slow} slow connections in {time.monotonic() - start:.1f} s")
    return idle, slow


FRAGMENT_FLOODS = {
    "endless empty fragments": struct.pack(">I", 0) * 16384,
    "endless fragments of one byte": (struct.pack(">I", 1) + b"x") * 13108,
    "endless large fragments": struct.pack(">I", 65536) + b"x" * 65536,
    "a record of 2 GiB": struct.pack(">I", LAST | 0x7FFFFFFF) + b"x" * 65536,
    "a call with a credential of 4 GiB":
        struct.pack(">I", LAST | 1024) + struct.pack(">8I", 7, 0, 2, 100003, 3, 0, 1, 0xFFFFFFF0) + b"x" * 992,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--idle", type=int, default=20000)
    parser.add_argument("--slow", type=int, default=5000)
    parser.add_argument("--calls", type=int, default=5000)
    # 25,000 connections at 16 KiB each: what a bounded connection may cost while nothing is sent.
    parser.add_argument("--connections-mib", type=int, default=400)
    # "At most 2 MiB buffered for any one", times the floods open at once, and some slack.
    parser.add_argument("--flood-mib", type=int, default=64)
    parser.add_argument("--again-mib", type=int, default=16)
    options = parser.parse_args()
    doors = Doors(options.host, options.port)
    good = doors.open()
    report("first calls", good, options)
    quiet, start_rss = report("quiet", good, options)

    idle, slow = crowd(doors, options)
    _, crowded = report("crowded", good, options, quiet)
    slow_traffic(slow, 3, 8)
    _, crowded2 = report("crowded, slow ones sending", good, options, quiet)
    if (max(crowded, crowded2) - start_rss) / 1024 > options.connections_mib:
        fail(f"{options.idle + options.slow} connections cost more than {options.connections_mib} MiB")
    dropped = sum(map(is_closed, idle[::20])) * 20
    print(f"about {dropped} of the idle connections were closed by the server")
    try:
        late = doors.open()
        ask(late, 4711)
        late.close()
    except (ConnectionError, TimeoutError):
        fail("a newcomer is not served while the strangers are there")

    for what, data in FRAGMENT_FLOODS.items():
        door = doors.open(blocking=False)
        took = pour(door, data, 64 << 20, 4)
        rss = resident_kib(options.pid)
        print(f"{what}: the server took {took / (1 << 20):.1f} MiB, resident {rss / 1024:.0f} MiB")
        if (rss - max(crowded, crowded2)) / 1024 > options.flood_mib:
            fail(f"{what} is kept in memory")
        door.close()
        ask(good, 99)

    halves = []
    for _ in range(1000):
        door = doors.open()
        door.sendall(null_call(5, b"y" * 1000)[:700])
        halves.append(door)
    report("1000 half-sent requests", good, options, quiet)
    for door in halves[:500]:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset
    for door in halves + idle + slow:
        door.close()

    end = time.monotonic() + 60  # gives up only when the server clearly never lets go
    while resident_kib(options.pid) - start_rss > options.flood_mib * 1024 and time.monotonic() < end:
        ask(good, 98)
        time.sleep(0.2)
    _, after = report("all gone", good, options, quiet)
    if (after - start_rss) / 1024 > options.flood_mib:
        fail(f"{(after - start_rss) / 1024:.0f} MiB did not come back")
    # What an allocator keeps for later is used again by the next crowd; what leaked is not.
    idle, slow = crowd(doors, options)
    _, again = report("a second crowd", good, options, quiet)
    if (again - after) / 1024 > options.again_mib:
        fail(f"the second crowd cost {(again - after) / 1024:.0f} MiB more: memory of the first is lost")
    print("PASS the server lived, answered and gave the memory back")


if __name__ == "__main__":
    main()

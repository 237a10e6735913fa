#!/usr/bin/python3
"""Hosts at work on one virtual disk, over NBD, through several nodes at once.

host_work.py work [--workers N] [--stop FILE] URI...   writes, reads and compares until FILE is there
host_work.py verify STATE URI...                       every block as `work` left it, through each URI

Each block says in all of its sectors which block, and of which version, it is.  Every block has one
worker that writes it, and everybody reads all of them, through whichever node: a read gives no
version older than one that was answered, or seen by anybody, before it began, and none newer than
what was sent before it ended.  A request that was not answered is sent again, to another node.
`work` leaves in the file `hosts.state` what is there.
"""

import json
import os
import random
import struct
import sys
import threading
import time

import nbd

BLOCK = 4096
SECTOR = 512
TOGETHER = 4  # neighbours with one writer; those beside them have another, in the same rows
PATIENCE = 60.0


def block_bytes(number, version):
    sector = struct.pack("<QQ", number, version)
    return (sector + bytes(SECTOR - len(sector))) * (BLOCK // SECTOR)


def version_of(data, number):
    """The version that a block says it is.  A block of zeros is version 0 of any."""
    if data == bytes(BLOCK):
        return 0
    found, version = struct.unpack_from("<QQ", data)
    if found != number or data != block_bytes(number, version):
        heads = [struct.unpack_from("<QQ", data, at) for at in range(0, BLOCK, SECTOR)]
        raise AssertionError(f"block {number} is torn or another: {heads}")
    return version


class Host:
    """A connection to each node; a request goes to one of them until one has answered it."""

    def __init__(self, uris, choose):
        self.uris = uris
        self.choose = choose
        self.handles = [None] * len(uris)
        self.answered = [0] * len(uris)
        self.again = 0
        self.longest = 0.0

    def handle(self, node):
        if self.handles[node] is None:
            handle = nbd.NBD()
            handle.connect_uri(self.uris[node])
            assert handle.can_multi_conn() and handle.can_flush()
            self.handles[node] = handle
        return self.handles[node]

    def ask(self, what, node=None):
        began = time.monotonic()
        node = self.choose.randrange(len(self.uris)) if node is None else node
        while True:
            try:
                result = what(self.handle(node))
                self.answered[node] += 1
                self.longest = max(self.longest, time.monotonic() - began)
                return result
            except nbd.Error as error:
                # An error in a reply would be a lie: no more disks fail than the group can lose.
                handle = self.handles[node]
                if handle is not None and not (handle.aio_is_dead() or handle.aio_is_closed()):
                    raise
                self.handles[node] = None
                self.again += 1
                if time.monotonic() - began > PATIENCE:
                    raise AssertionError(f"nobody answers: {error}") from error
                time.sleep(0.02)
                node = (node + 1) % len(self.uris)

    def close(self):
        for handle in self.handles:
            if handle is not None:
                handle.shutdown()


class World:
    def __init__(self, blocks):
        self.sent = [0] * blocks
        self.known = [0] * blocks  # answered to its writer, or seen by somebody
        self.failed = []
        self.hosts = []


def work(world, uris, worker, workers, stop, seed):
    choose = random.Random(seed)
    host = Host(uris, choose)
    world.hosts.append(host)
    blocks = len(world.sent)
    groups = range(worker, blocks // TOGETHER, workers)
    try:
        while not stop() and not world.failed:
            dice = choose.random()
            if dice < 0.45:
                # Near each other, so that many meet.
                first = choose.choice(groups[: 64 if choose.random() < 0.7 else len(groups)]) * TOGETHER
                at = choose.randrange(TOGETHER)
                numbers = range(first + at, first + choose.randrange(at, TOGETHER) + 1)
                data = b""
                for number in numbers:
                    world.sent[number] += 1
                    data += block_bytes(number, world.sent[number])
                flags = nbd.CMD_FLAG_FUA if choose.random() < 0.1 else 0
                host.ask(lambda handle: handle.pwrite(data, numbers[0] * BLOCK, flags))
                for number in numbers:
                    world.known[number] = max(world.known[number], world.sent[number])
            elif dice < 0.97:
                near = 64 * TOGETHER * workers if choose.random() < 0.7 else blocks
                first = choose.randrange(min(near, blocks))
                count = min(choose.choice((1, 2, 8, 100)), blocks - first)
                least = world.known[first : first + count]
                got = host.ask(lambda handle: handle.pread(count * BLOCK, first * BLOCK))
                for i in range(count):
                    number = first + i
                    version = version_of(got[i * BLOCK : (i + 1) * BLOCK], number)
                    if not least[i] <= version <= world.sent[number]:
                        raise AssertionError(
                            f"block {number} is version {version}, wanted {least[i]} to {world.sent[number]}"
                        )
                    world.known[number] = max(world.known[number], version)
            else:
                host.ask(lambda handle: handle.flush())
        host.close()
    except Exception as error:  # whatever it is, the run has failed
        world.failed.append(f"worker {worker}: {type(error).__name__}: {error}")


def run(uris, workers, stop_file):
    seed = int(os.environ.get("SEED", "0")) or random.randrange(1 << 30)
    first = Host(uris, random.Random(seed))
    size = first.ask(lambda handle: handle.get_size())
    first.close()
    world = World(size // BLOCK // TOGETHER * TOGETHER)
    threads = [
        threading.Thread(
            target=work,
            args=(world, uris, i, workers, lambda: os.path.exists(stop_file), seed + i),
        )
        for i in range(workers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answered = [sum(host.answered[i] for host in world.hosts) for i in range(len(uris))]
    again = sum(host.again for host in world.hosts)
    longest = max(host.longest for host in world.hosts)
    written = sum(1 for version in world.sent if version > 0)
    print(
        f"hosts: {answered} answered, by node; {again} tried again; {written} blocks written; "
        f"longest wait {longest * 1000:.0f} ms",
        flush=True,
    )
    if world.failed:
        print("\n".join(world.failed), file=sys.stderr)
        return 1
    if min(answered) == 0:
        print("a node answered nothing", file=sys.stderr)
        return 1
    with open("hosts.state", "w", encoding="ascii") as file:
        json.dump({str(n): v for n, v in enumerate(world.sent) if v > 0}, file)
    return 0


def verify(state, uris):
    with open(state, encoding="ascii") as file:
        versions = {int(number): version for number, version in json.load(file).items()}
    for node, _ in enumerate(uris):
        host = Host(uris, random.Random(0))
        size = host.ask(lambda handle: handle.get_size(), node)
        for at in range(0, size // BLOCK, 256):
            count = min(256, size // BLOCK - at)
            got = host.ask(lambda handle, a=at, c=count: handle.pread(c * BLOCK, a * BLOCK), node)
            for i in range(count):
                version = version_of(got[i * BLOCK : (i + 1) * BLOCK], at + i)
                if version != versions.get(at + i, 0):
                    print(
                        f"block {at + i} is version {version}, not {versions.get(at + i, 0)}",
                        file=sys.stderr,
                    )
                    return 1
        host.close()
    print(f"{len(versions)} blocks are as their writers left them, through {len(uris)} nodes")
    return 0


def main(words):
    if len(words) >= 3 and words[0] == "verify":
        return verify(words[1], words[2:])
    workers, stop, uris = 4, "stop", []
    left = iter(words[1:])
    for word in left:
        if word == "--workers":
            workers = int(next(left))
        elif word == "--stop":
            stop = next(left)
        else:
            uris.append(word)
    if not words or words[0] != "work" or not uris:
        print(__doc__, file=sys.stderr)
        return 2
    return run(uris, workers, stop)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

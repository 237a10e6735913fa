#!/usr/bin/env python3
"""Users of a Linux kernel client: writes with fsync, appends without locks, renames, compares.

Usage: kernel_work.py NAME DIRECTORY SECOND STOP
DIRECTORY is on a hard mount of a filer, SECOND the same directory through a mount without caches.  Works
until the file STOP is there, then compares all it left behind, also through SECOND.  One line per
wait above 100 ms: `stall NAME at SECONDS ms MILLISECONDS`; a first line of what was done.  Ends with 1
and the reason at the first error, or at the first byte that is not as it was written.
"""
import hashlib
import os
import random
import sys
import time

STALL_S = 0.1
FILES_MAX = 40
LINE = 64


def bytes_of(number, count):
    """What file `number` holds: the first `count` bytes of it."""
    block = hashlib.sha256(str(number).encode()).digest()
    return (block * (count // len(block) + 1))[:count]


def line_of(name, number):
    return f"{name} {number}".ljust(LINE - 1).encode() + b"\n"


class User:
    def __init__(self, name, directory, second):
        self.name, self.directory, self.second = name, directory, second
        self.random = random.Random(name)
        self.files = {}  # name -> (number, bytes)
        self.made = 0
        self.operations = 0
        self.longest = 0.0
        self.stalls = []
        os.mkdir(directory)
        # Open all the time, through every takeover.
        self.log = os.open(self.path("log"), os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        self.log_lines = 0

    def path(self, name):
        return os.path.join(self.directory, name)

    def create(self):
        self.made += 1
        name = f"f{self.made}"
        count = self.random.randrange(1, 200_000)
        with open(self.path(name), "xb", buffering=0) as file:
            data = memoryview(bytes_of(self.made, count))
            while data:
                data = data[file.write(data):]
            os.fsync(file.fileno())
        self.files[name] = (self.made, count)

    def append(self):
        name = self.random.choice(list(self.files))
        number, count = self.files[name]
        more = self.random.randrange(1, 20_000)
        with open(self.path(name), "ab", buffering=0) as file:
            file.write(bytes_of(number, count + more)[count:])
            os.fsync(file.fileno())
        self.files[name] = (number, count + more)

    def log_line(self):
        if os.write(self.log, line_of(self.name, self.log_lines)) != LINE:
            raise SystemExit(f"{self.name}: a short append")
        os.fsync(self.log)
        self.log_lines += 1

    def rename(self):
        name = self.random.choice(list(self.files))
        # Sometimes over another one, which is gone then.
        if len(self.files) > 1 and self.random.random() < 0.3:
            to = self.random.choice([other for other in self.files if other != name])
        else:
            self.made += 1
            to = f"r{self.made}"
        os.rename(self.path(name), self.path(to))
        self.files[to] = self.files.pop(name)

    def remove(self):
        name = self.random.choice(list(self.files))
        os.unlink(self.path(name))
        del self.files[name]

    def read_back(self):
        name = self.random.choice(list(self.files))
        self.compare(self.directory, name)

    def compare(self, directory, name):
        number, count = self.files[name]
        with open(os.path.join(directory, name), "rb") as file:
            found = file.read()
        if found != bytes_of(number, count):
            raise SystemExit(f"{self.name}: {name} has {len(found)} bytes, {count} were written, or others")

    def step(self):
        dice = self.random.random()
        if not self.files or (dice < 0.2 and len(self.files) < FILES_MAX):
            what = self.create
        elif dice < 0.4:
            what = self.append
        elif dice < 0.6:
            what = self.log_line
        elif dice < 0.75:
            what = self.rename
        elif dice < 0.85:
            what = self.remove
        else:
            what = self.read_back
        began, began_at = time.monotonic(), time.time()
        try:
            what()
        except OSError as error:
            raise SystemExit(f"{self.name}: {what.__name__}: {error}") from error
        took = time.monotonic() - began
        self.operations += 1
        self.longest = max(self.longest, took)
        if took > STALL_S:
            self.stalls.append((began_at, took))

    def verify(self, directory):
        for name in self.files:
            self.compare(directory, name)
        with open(os.path.join(directory, "log"), "rb") as file:
            if file.read() != b"".join(line_of(self.name, i) for i in range(self.log_lines)):
                raise SystemExit(f"{self.name}: the log is not as it was written")
        left = set(os.listdir(directory))
        if left != set(self.files) | {"log"}:
            raise SystemExit(f"{self.name}: other names than there should be: {left ^ set(self.files)}")


def main():
    name, directory, second, stop = sys.argv[1:]
    user = User(name, directory, second)
    while not os.path.exists(stop):
        user.step()
    os.close(user.log)
    user.verify(directory)
    user.verify(second)
    print(f"{user.operations} operations of {name}, no error; longest wait {user.longest * 1000:.0f} ms")
    for at, took in user.stalls:
        print(f"stall {name} at {at:.3f} ms {took * 1000:.0f}")


if __name__ == "__main__":
    main()

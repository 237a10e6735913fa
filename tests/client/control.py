#!/usr/bin/env python3
"""Runs the server under test beside the guest and does to it what the guest asks.

Started by run.sh inside the network namespace.  One request per TCP connection, one line each way:
  crash SECONDS          kill -9 now, start again after SECONDS; answered when it is dead
  snapshot VERB NAME     runs the snapshot command
  memory                 "ok RESIDENT_KIB" of the server
  ping                   "ok" while the server lives
Every server that it started is ended when it ends.
"""
import argparse
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time


class Server:
    def __init__(self, command, log):
        self.command, self.log = command, log
        self.lock = threading.Lock()
        self.process = None
        self.crashing = False
        self.start()

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(shlex.split(self.command), stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL)

    def crash(self, seconds):
        with self.lock:
            self.crashing = True
            self.process.kill()
            self.process.wait()
        threading.Thread(target=self.return_after, args=(seconds,), daemon=True).start()

    def return_after(self, seconds):
        time.sleep(seconds)
        with self.lock:
            self.start()
            self.crashing = False

    def died_by_itself(self):
        with self.lock:
            return not self.crashing and self.process.poll() is not None

    def end(self):
        with self.lock:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                return False
            return True


def resident_kib(pid):
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("VmRSS"):
                return int(line.split()[1])
    return 0


def answer(server, options, words):
    if words[:1] == ["ping"]:
        return "no the server is gone" if server.died_by_itself() else "ok"
    if words[:1] == ["memory"]:
        return f"ok {resident_kib(server.process.pid)}"
    if words[:1] == ["crash"] and len(words) == 2:
        server.crash(float(words[1]))
        return "ok"
    if words[:1] == ["snapshot"] and len(words) == 3 and options.snapshot:
        command = options.snapshot.replace("VERB", words[1]).replace("NAME", words[2])
        done = subprocess.run(shlex.split(command), capture_output=True, text=True)
        print(command, done.returncode, done.stdout, done.stderr, flush=True)
        return "ok" if done.returncode == 0 else "no " + " ".join(done.stderr.split())[:200]
    return "no such request"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--server", required=True, metavar="COMMAND")
    parser.add_argument("--log", required=True)
    parser.add_argument("--snapshot", default="", metavar="COMMAND", help="with VERB and NAME in it")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = Server(options.server, options.log)
    address, port = options.listen.rsplit(":", 1)
    listener = socket.create_server((address, int(port)))
    listener.settimeout(0.5)
    print(os.getpid(), flush=True)
    code = 0
    try:
        while True:
            try:
                connection, _ = listener.accept()
            except socket.timeout:
                if server.died_by_itself():
                    print(f"the server ended by itself, code {server.process.returncode}", flush=True)
                    code = 3
                    break
                continue
            with connection, connection.makefile("rw") as lines:
                words = lines.readline().split()
                print("asked:", *words, flush=True)
                lines.write(answer(server, options, words) + "\n")
    except SystemExit:
        pass
    if code == 0 and not server.end():
        print("the server did not stop within 20 s of SIGTERM", flush=True)
        code = 4
    sys.exit(code)


if __name__ == "__main__":
    main()

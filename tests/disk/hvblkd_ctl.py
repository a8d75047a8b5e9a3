# SPDX-License-Identifier: Apache-2.0
"""Control connections to hvblkd that stay open, its events, and a consumer of its change feed."""
import mmap
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "api"))
from ctl import CtlError, Reader, send  # noqa: E402

ANSWER_S = 20
RING_ZERO, RING_UNKNOWN, RING_MARK = 1, 2, 4
REC = struct.Struct("<IHHQQQ")          # total, disk, flags, position, off, len


class Ctl:
    """One connection; ask() blocks until the reply, events that come meanwhile are kept."""

    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(ANSWER_S)
        self.s.connect(str(path))
        self.reader, self.n, self.events = Reader(self.s), 0, []

    def ask_fds(self, verb, fds=(), **args):
        self.n += 1
        send(self.s, {"id": self.n, "verb": verb, **args}, fds)
        while True:
            msg, got = self.reader.frame()
            if msg is None:
                raise CtlError("net", "closed without an answer")
            if "event" in msg:
                self.events.append(msg)
            elif "error" in msg:
                raise CtlError(**msg["error"])
            else:
                return msg["ok"], got

    def ask(self, verb, fds=(), **args):
        return self.ask_fds(verb, fds, **args)[0]

    def wait_event(self, want, timeout=ANSWER_S):
        """The next event for which want(event) holds; those before it are dropped."""
        self.s.settimeout(timeout)
        while True:
            while self.events:
                e = self.events.pop(0)
                if want(e):
                    self.s.settimeout(ANSWER_S)
                    return e
            msg, _ = self.reader.frame()
            assert msg is not None, "hvblkd is gone"
            self.events.append(msg)

    def close(self):
        self.s.close()


class Consumer:
    """A consumer that keeps copies of all disks, by feed_proto.h's order of calls; read(disk, off, n) is the disk."""

    def __init__(self, path, name, read, ring=1 << 20, **resume):
        self.ctl, self.read = Ctl(path), read
        self.info, fds = self.ctl.ask_fds("attach", consumer=name, ring_bytes=ring, **resume)
        self.wake, self.session = fds[0], self.info["session"]
        self.copies = [bytearray(d["bytes"]) for d in self.info["disks"]]
        self.ring, self.tail = mmap.mmap(fds[1], 8192 + ring), 0
        self.ring_bytes = ring
        os.close(fds[1])

    def barrier(self):
        return self.ctl.ask("barrier", session=self.session)

    def map(self, disk):
        return self.ctl.ask("map", session=self.session, disk=disk)["runs"]

    def ack(self, position):
        self.ctl.ask("ack", session=self.session, position=position)

    def copy_map(self):
        """Reads what the map names; returns the bytes."""
        total = 0
        for d, copy in enumerate(self.copies):
            for off, n in self.map(d):
                copy[off:off + n] = self.read(d, off, n)
                total += n
        return total

    def _bytes(self, at, n):
        at %= self.ring_bytes
        head = min(n, self.ring_bytes - at)
        return self.ring[8192 + at:8192 + at + head] + self.ring[8192:8192 + n - head]

    def records(self):
        """(disk, flags, position, off, data) of all that are there, and gives their room back."""
        head = struct.unpack_from("<Q", self.ring, 16)[0]
        while self.tail < head:
            total, disk, flags, position, off, n = REC.unpack(self._bytes(self.tail, REC.size))
            data = b"" if flags else self._bytes(self.tail + REC.size, n)
            yield disk, flags, position, off, data or n
            self.tail += total
        struct.pack_into("<Q", self.ring, 4096, self.tail)

    def apply(self, upto):
        """Records up to the mark of the barrier at `upto`, of which there must be one."""
        found = False
        for disk, flags, position, off, data in self.records():
            if flags == RING_MARK:
                found = found or position == upto
            elif flags == RING_ZERO:
                self.copies[disk][off:off + data] = bytes(data)
            elif flags == RING_UNKNOWN:
                self.copies[disk][off:off + data] = self.read(disk, off, data)
            else:
                self.copies[disk][off:off + len(data)] = data
        assert found, f"no mark of position {upto} in the ring"

    def close(self):
        os.close(self.wake)
        self.ctl.close()
        self.ring.close()


class Writer(threading.Thread):
    """Writes seeded blocks through an NBD client until stop(); `model` is what every acknowledged write left."""

    def __init__(self, client, size, seed, block=4096, flush_every=50):
        super().__init__(daemon=True)
        self.client, self.size, self.block, self.flush_every = client, size, block, flush_every
        self.rng = __import__("random").Random(seed)
        self.model, self.writes, self.error, self.ending = bytearray(size), 0, None, threading.Event()
        self.history = []               # (off, data), acknowledged, in order: one is in flight at a time

    def run(self):
        try:
            while not self.ending.is_set():
                self.step()
        except Exception as e:          # noqa: BLE001: shown by stop()
            self.error = e

    def step(self):
        off = self.rng.randrange(self.size // self.block) * self.block
        n = self.block * self.rng.choice((1, 1, 1, 2, 8))
        n = min(n, self.size - off)
        data = self.rng.randbytes(8) * (n // 8)
        self.client.write(off, data)
        self.model[off:off + n] = data
        self.history.append((off, data))
        self.writes += 1
        if self.writes % self.flush_every == 0:
            assert self.client.ask(3)[0] == 0

    def prefix_of(self, image):
        """How many writes of the history image holds, no others; None: it is no prefix."""
        b = self.block
        now = {i: bytes(b) for i in range(self.size // b)}
        wrong = {i for i in now if image[i * b:(i + 1) * b] != now[i]}
        found = 0 if not wrong else None
        for k, (off, data) in enumerate(self.history, 1):
            for i in range(off // b, (off + len(data)) // b):
                now[i] = data[i * b - off:(i + 1) * b - off]
                (wrong.discard if now[i] == image[i * b:(i + 1) * b] else wrong.add)(i)
            if not wrong:
                found = k
        return found

    def stop(self):
        self.ending.set()
        self.join(30)
        assert not self.is_alive(), "the writer hangs"
        if self.error:
            raise self.error


class Daemon:
    """`hvblkd run` of one VM in folders below d."""

    def __init__(self, binary, d, vm="vm1"):
        self.binary, self.d, self.vm = binary, pathlib.Path(d), vm
        self.log = b""
        self.start()

    def start(self):
        self.p = subprocess.Popen([str(self.binary), "run", "--vm", self.vm, "--run", str(self.d / "run"),
                                   "--data", str(self.d / "data")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        while b" at " not in self.log:
            line = self.p.stdout.readline()
            self.log += line
            assert line, f"hvblkd did not start: {self.log.decode()}"
        self.ctl = Ctl(self.d / f"run/blkd/{self.vm}.sock")
        self.ctl.ask("subscribe")
        self.feed_path = self.d / f"run/feed/{self.vm}.sock"
        self.n = 0

    def attach(self, disk, *parts, fmt="raw", **args):
        """parts: paths, leaf first."""
        mode = os.O_RDONLY if args.get("read_only") else os.O_RDWR
        fds = [os.open(p, mode if i == 0 else os.O_RDONLY) for i, p in enumerate(parts)]
        try:
            return self.ctl.ask("attach", fds, disk=disk, parts=[{"format": fmt, "path": str(p)} for p in parts],
                                **args)
        finally:
            for fd in fds:
                os.close(fd)

    def export(self, disk, **args):
        """The path of a new NBD socket."""
        self.n += 1
        path = self.d / f"{disk}.{self.n}.nbd"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(str(path))
            s.listen(16)
            self.ctl.ask("export-nbd", [s.fileno()], disk=disk, **args)
        return path

    def mirror(self, disk, target, fmt="raw", note="note", **args):
        """Begins; the note's path."""
        path = self.d / note
        fds = [os.open(target, os.O_RDWR), os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)]
        try:
            self.ctl.ask("mirror", fds, disk=disk, parts=[{"format": fmt, "path": str(target)}], **args)
        finally:
            for fd in fds:
                os.close(fd)
        return path

    def mirror_end(self, timeout=60):
        return self.ctl.wait_event(lambda e: e["event"] == "mirror" and
                                   e["state"] in ("switched", "failed", "cancelled"), timeout)

    def disk(self, name):
        return next(x for x in self.ctl.ask("stats")["disks"] if x["disk"] == name)

    def kill(self):
        self.ctl.close()
        self.p.kill()
        self.p.communicate(timeout=20)
        self.log = b""

    def stop(self):
        self.ctl.close()
        self.p.send_signal(signal.SIGTERM)
        out, _ = self.p.communicate(timeout=20)
        self.log += out
        return self.p.returncode

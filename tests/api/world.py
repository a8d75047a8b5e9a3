# SPDX-License-Identifier: Apache-2.0
"""One host in a folder: fakes, a real hvapid, and clients."""
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import ctl
from fakes import Hvinit, Hvtls, UUID

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("HVAPI_BUILD", TOP / "build"))
HVAPID = pathlib.Path(os.environ.get("HVAPID", BUILD / "bin/hvapid"))
VM = {"name": "web1", "uuid": UUID, "type": "pvh", "memory_mib": 128, "vcpus": 1, "kernel": "vmlinuz",
      "ramdisk": "initrd",
      "vifs": [{"mac": "00:16:3e:00:00:10", "bridge": "xenbr0"}],
      "disks": [{"vdev": "xvda", "target": "/dev/disk/by-id/virtio-lun0"}]}


def until(fn, what, timeout=10):
    """Waits until fn() is true and gives its value; fails with `what`."""
    end = time.monotonic() + timeout
    while True:
        v = fn()
        if v:
            return v
        assert time.monotonic() < end, f"waited {timeout} s for {what}"
        time.sleep(0.01)


class Conn(http.client.HTTPConnection):
    """HTTP over a socket that is already connected."""

    def __init__(self, sock):
        super().__init__("host", timeout=20)
        self.sock = sock

    def connect(self):
        raise ConnectionError("hvapid closed the connection")


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.raw = response.status, response.headers, response.read()
        self.type = response.headers.get("Content-Type", "")
        self.json = json.loads(self.raw) if "json" in self.type else None


class World:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="hv")
        self.run, self.data = f"{self.dir}/run", f"{self.dir}/data"
        for d in ("run/domd", "run/migrate", "data/vm", "data/save", "data/migrate", "data/boot"):
            os.makedirs(f"{self.dir}/{d}")
        self.create_fails = self.taken = False
        self.spawn_fails = ""       # units that begin so
        self.build_gate = threading.Event()
        self.build_gate.set()
        self.proc = None
        self.hvinit, self.hvtls = Hvinit(self), Hvtls(self)

    # ---- hvapid ----
    def start(self, *options):
        self.log = open(f"{self.dir}/hvapid.log", "ab")
        self.proc = subprocess.Popen([HVAPID, "--run", self.run, "--data", self.data, *options], stderr=subprocess.PIPE)
        self.ready = threading.Event()
        threading.Thread(target=self._read_log, args=(self.proc,), daemon=True).start()
        assert self.ready.wait(20), "hvapid did not say that it is ready:\n" + self.log_text()
        until(lambda: "list" in [v for v, _ in self.hvinit.server.calls], "hvapid to ask hvinit")
        until(lambda: self.hvtls.server.subscribed, "hvapid to listen to hvtls")
        return self

    def _read_log(self, proc):
        for line in proc.stderr:
            self.log.write(line)
            self.log.flush()
            if line == b"hvapid: ready\n":
                self.ready.set()

    def log_text(self):
        return pathlib.Path(f"{self.dir}/hvapid.log").read_text(errors="replace")

    def end_hvapid(self, signo=signal.SIGKILL):
        self.proc.send_signal(signo)
        rc = self.proc.wait(20)
        self.proc = None
        self.hvinit.server.calls.clear()
        self.hvtls.server.forget_clients()
        return rc

    def restart(self, *options):
        self.end_hvapid()
        return self.start(*options)

    def close(self):
        rc = self.end_hvapid(signal.SIGTERM) if self.proc else 0
        for unit in list(self.hvinit.units):
            self.hvinit.end(unit)
        self.hvinit.server.close()
        self.hvtls.server.close()
        text = self.log_text() if os.path.exists(f"{self.dir}/hvapid.log") else ""
        shutil.rmtree(self.dir)
        assert rc == 0, f"hvapid ended with {rc}:\n{text}"

    # ---- clients ----
    def connect(self, role="root"):
        if role == "root":
            s = socket.socket(socket.AF_UNIX)
            s.connect(f"{self.run}/api.sock")
            s.settimeout(20)
            return s
        ours, theirs = socket.socketpair()
        self.accept(theirs, role)
        ours.settimeout(20)
        return ours

    def accept(self, theirs, role, alpn="http/1.1"):
        peer = {"name": "hv2" if role == "peer" else "someone", "fingerprint": "ab" * 32, "role": role, "address": ""}
        args = {"alpn": alpn, "from": "10.0.0.9", "transport": "pump", "peer": peer}
        try:
            return ctl.call(f"{self.run}/hvapid.sock", "accept", args, [theirs.fileno()])
        finally:
            theirs.close()

    def ask(self, method, path, body=None, role="root", headers=None, raw=None):
        c = Conn(self.connect(role))
        h = dict(headers or {})
        if body is not None:
            raw = json.dumps(body)
            h.setdefault("Content-Type", "application/json")
        try:
            c.request(method, path, body=raw, headers=h)
            return Answer(c.getresponse())
        finally:
            c.close()

    def get(self, path, **k):
        a = self.ask("GET", path, **k)
        assert a.status == 200, (path, a.status, a.json)
        return a.json

    def post(self, path, body=None, want=None, **k):
        a = self.ask("POST", path, body, **k)
        assert a.status == want if want else a.status < 300, (path, a.status, a.json)
        return a.json

    # ---- what tests do often ----
    def define(self, **changes):
        return self.post("/v1/vms", {**VM, **changes}, want=201)

    def state(self, vm="web1"):
        return self.get(f"/v1/vms/{vm}")["state"]

    def wait_state(self, state, vm="web1"):
        until(lambda: self.state(vm) == state, f"{vm} to be {state}, it is {self.state(vm)}")

    def job(self, ident):
        return self.get(f"/v1/jobs/{ident}")

    def wait_job(self, ident, state="done"):
        until(lambda: self.job(ident)["ended_ms"] or self.job(ident)["state"] == state, f"job {ident} to end")
        j = self.job(ident)
        assert j["state"] == state, j
        return j

    def run_vm(self, vm="web1"):
        return self.wait_job(self.post(f"/v1/vms/{vm}/start", want=202)["job"]["id"])

    def unit(self, prefix):
        return until(lambda: next((u for n, u in list(self.hvinit.units.items()) if n.startswith(prefix)), None),
                     f"a unit {prefix}")

    def events(self):
        return [e["type"] for e in self.get("/v1/events?limit=1000")["events"]]

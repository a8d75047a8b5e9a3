# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for hvapid's neighbours."""
import json
import os
import socket
import threading
import time
import zlib

from ctl import CtlError, Server, call

UUID = "11111111-2222-3333-4444-555555555555"


def record_save(path, obj):
    """A durable record as base/record.h makes it."""
    def text(o):
        return json.dumps(o, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    crc = "%08x" % zlib.crc32(text(obj).encode())
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".tmp", "w") as f:
        f.write(text({**obj, "crc": crc}))
    os.rename(path + ".tmp", path)


class Domd:
    """hvdomd of one VM.  build_waits: an Event that `create` waits for."""

    def __init__(self, world, vm):
        self.world, self.vm = world, vm
        self.state, self.uuid, self.generation, self.peer = "none", "", 0, ""
        path = f"{world.data}/vm/{vm}/owner.json"
        if os.path.exists(path):
            with open(path) as f:
                rec = json.load(f)
            self.uuid, self.generation, self.peer = rec["uuid"], rec["generation"], rec["peer"]
            self.state = "away" if rec["owner"] == "away" else "none"
        self.console, self.console_far = socket.socketpair()
        verbs = {v: self.plain(s) for v, s in (("pause", "paused"), ("unpause", "running"), ("shutdown", "running"),
                                               ("reboot", "running"))}
        verbs.update(status=self.status, create=self.create, restore=self.create, destroy=self.destroy, save=self.save,
                     console=self.get_console, refuse=self.refuse)
        verbs["give-done"] = lambda a, f: self.record("away", a) or {}
        verbs["give-abort"] = lambda a, f: self.record("here", a) or self.enter("running") or {}
        self.server = Server(f"{world.run}/domd/{vm}.sock", verbs)
        self.server.go()

    def record(self, owner, args=None, **more):
        rec = {"vm": self.vm, "uuid": self.uuid, "generation": self.generation, "owner": owner,
               "session": (args or {}).get("session", ""), "peer": self.peer, **more}
        record_save(f"{self.world.data}/vm/{self.vm}/owner.json", rec)

    def status(self, _args=None, _fds=None):
        domid = -1 if self.state in ("none", "away") else 7
        return {"vm": self.vm, "uuid": self.uuid, "state": self.state, "domid": domid,
                "generation": self.generation, "since_ms": int(time.time() * 1000), "reason": ""}

    def enter(self, state):
        self.state = state
        self.server.publish({"event": "state", **self.status()})

    def plain(self, state):
        def verb(_args, _fds):
            if self.state == "none":
                raise CtlError("state", "there is no domain")
            self.enter(state)
            return self.status()
        return verb

    def create(self, args, _fds):
        if self.world.create_fails:
            raise CtlError("no-space", "not enough memory for the guest", "stop another guest")
        self.uuid, self.generation = args["config"]["uuid"], args["generation"]
        self.enter("building")
        self.world.build_gate.wait(20)
        self.record("here")
        self.enter("running")
        return self.status()

    def destroy(self, _args, _fds):
        self.enter("none")
        threading.Timer(0.01, self.end_if_idle).start()
        return self.status()

    def end_if_idle(self):
        if self.state == "none" and self.world.hvinit.units.get(f"domd/{self.vm}") is self:
            self.world.hvinit.end(f"domd/{self.vm}", 0)

    def save(self, args, _fds):
        self.enter("saving")
        with open(args["path"], "w") as f:
            f.write("memory")
        return self.destroy(args, _fds)

    def refuse(self, args, _fds):
        if self.world.taken:
            self.record("here", args)
            raise CtlError("state", "session was taken")
        self.record("refused", args)
        return {}

    def get_console(self, _args, _fds):
        return {}, [os.dup(self.console_far.fileno())]


class Migrate:
    """hvmigrate of one session, driven by the test."""

    def __init__(self, world, args, fds):
        self.world, self.fds, self.args = world, fds, args
        self.role, self.session = args[0], args[args.index("--session") + 1]
        self.spec = json.loads(args[args.index("--spec") + 1])
        self.in_doubt, self.progress_now = False, {}
        self.server = Server(f"{world.run}/migrate/{self.session}.sock", {
            "status": lambda a, f: {"session": self.session, "role": self.role, "in_doubt": self.in_doubt,
                                    "progress": self.progress_now},
            "cancel": self.cancel, "ask": lambda a, f: {}, "claim": lambda a, f: {}})
        self.server.go()

    def progress(self, **p):
        self.progress_now = p
        self.server.publish({"event": "progress", **p})

    def doubt(self, why="the line was cut"):
        self.in_doubt = True
        self.server.publish({"event": "state", "state": "in-doubt", "why": why, "in_doubt": True})

    def cancel(self, _args, _fds):
        threading.Timer(0.01, self.report, ("aborted",),
                        {"error": {"code": "cancelled", "detail": "cancelled by the operator", "remedy": ""}}).start()
        return {}

    def report(self, outcome, error=None, problems=(), **more):
        """Writes the report, says so, and ends."""
        rep = {"session": self.session, "role": self.role, "vm": self.spec.get("vm", ""), "outcome": outcome,
               "error": error, "problems": list(problems), **more}
        record_save(f"{self.world.data}/migrate/{self.session}.json", rep)
        self.server.publish({"event": "done", **rep})
        self.world.hvinit.end(f"migrate/{self.session}", 0)

    def offer(self, vm, generation=5, check_only=False, session="s-of-the-source"):
        return call(f"{self.world.run}/hvapid.sock", "offer",
                    {"session": session, "peer": self.spec["peer"], "check_only": check_only, "vm": vm,
                     "generation": generation, "unit": self.session})


class Hvinit:
    def __init__(self, world):
        self.world, self.units, self.boot_id = world, {}, "boot-1"
        self.lock = threading.RLock()
        self.server = Server(f"{world.run}/hvinit.sock", {
            "spawn": self.spawn, "stop": self.stop, "list": self.list, "info": self.info,
            "kill": self.kill, "shutdown": lambda a, f: {}})
        self.server.go()

    def kill(self, args, _fds):
        if args["unit"] not in self.units:
            raise CtlError("not-found", f"there is no unit {args['unit']}")
        self.end(args["unit"], 137)
        return {}

    def spawn(self, args, fds):
        unit = args["unit"]
        with self.lock:
            if self.world.spawn_fails and unit.startswith(self.world.spawn_fails):
                raise CtlError("io", f"cannot start {unit}", "see the log")
            if unit in self.units:
                raise CtlError("exists", f"{unit} runs")
            kind, _, tail = unit.partition("/")
            self.units[unit] = Domd(self.world, tail) if kind == "domd" else Migrate(self.world, args["args"], fds)
        self.server.publish({"event": "unit", "unit": unit, "state": "started", "status": 0})
        return {"pid": 1000 + len(self.units)}

    def end(self, unit, status=0):
        """The process ends; status -9: it was killed and is started again (hvdomd only)."""
        with self.lock:
            thing = self.units.pop(unit, None)
        if thing:
            thing.server.close()
            self.server.publish({"event": "unit", "unit": unit, "state": "exited" if status == 0 else "failed",
                                 "status": status})

    def stop(self, args, _fds):
        self.end(args["unit"])
        return {"status": 0}

    def list(self, _args, _fds):
        return {"units": [{"unit": u, "pid": 1000, "state": "running", "restarts": 0, "last_exit": -1}
                          for u in list(self.units)]}

    def info(self, _args, _fds):
        return {"hostname": "hv1", "cmdline": "", "boot_id": self.boot_id, "uptime_ms": 1234, "network": [],
                "data": {"device": "/dev/vda", "label": "HVDATA", "source": "found"}, "phases": []}


def pin(name, byte, role, address):
    return {"name": name, "fingerprint": byte * 32, "role": role, "address": address, "not_after_ms": 1}


class Hvtls:
    def __init__(self, world):
        self.pins = [pin("hv2", "ab", "peer", "10.0.0.2:8443"), pin("laptop", "cd", "operator", "")]
        self.lines = []         # our ends of what `dial` gave out
        self.dial_fails = False
        self.server = Server(f"{world.run}/hvtls.sock", {
            "identity": lambda a, f: {"name": "hv1", "fingerprint": "ef" * 32, "not_after_ms": 9, "ktls": False,
                                      "listen": ["0.0.0.0:8443"]},
            "pins": lambda a, f: {"pins": self.pins}, "dial": self.dial, "pair": self.pair, "unpin": self.unpin,
            "pair-code": lambda a, f: {"code": "CODE-" + a["role"], "expires_ms": a["ttl_s"]},
            "set-address": self.set_address,
            "renew": lambda a, f: {"name": "hv1", "fingerprint": "ef" * 32, "not_after_ms": 10, "ktls": False,
                                   "listen": []}})
        self.server.go()

    def dial(self, _args, _fds):
        if self.dial_fails:
            raise CtlError("net", "connect to 10.0.0.2:8443: refused", "check that the host runs")
        ours, theirs = socket.socketpair()
        self.lines.append(ours)
        return {"peer": self.pins[0], "transport": "pump"}, [theirs.detach()]

    def pair(self, args, _fds):
        if args["code"] != "right":
            raise CtlError("denied", "the code is wrong or was used", "ask for a new one")
        peer = pin(args.get("name", "hv3"), "01", "peer", args["address"])
        self.pins.append(peer)
        return {"peer": peer}

    def find(self, name):
        for p in self.pins:
            if p["name"] == name:
                return p
        raise CtlError("not-found", f"there is no pin '{name}'")

    def unpin(self, args, _fds):
        self.pins.remove(self.find(args["name"]))
        return {}

    def set_address(self, args, _fds):
        self.find(args["name"])["address"] = args["address"]
        return {"peer": self.find(args["name"])}

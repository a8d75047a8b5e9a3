#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""make bench-migrate: our migration against `xl migrate` over plain TCP, alternating, same hosts, same guest.

Both hosts run the bench image: our daemons and Debian's xl side by side.  Each move starts from a freshly booted guest
on hv1.  Downtime is the longest ping gap for both; bytes are those of hv1's port.  Ours is encrypted and compressed,
the peer is neither.  Ratios are ours / peer, of medians.
"""
import argparse
import signal
import statistics
import sys

import scene
from scene import BUILD, IP, LAB, LabError, cli
from hub import Hub
from serial_shell import Shell

ISO = BUILD / "hvapi-bench.iso"
OURS, PEER = "g1", "p1"
PORT = 5000
BOOT = "/data/boot"
MOVE_S = 240
LOADS = {"idle": None, "busy": (32, 8)}     # MiB written round and round, MiB a second
SCRIPT = f"""case $1 in
listen) exec socat -b 262144 TCP-LISTEN:{PORT},reuseaddr,fork EXEC:"xl migrate-receive" >/tmp/listen.log 2>&1 ;;
create) exec xl create {BOOT}/{PEER}.cfg ;;
move) exec xl migrate -s "" {PEER} "socat -b 262144 - TCP:10.77.0.2:{PORT}" ;;
gone) while xl domid {PEER} >/dev/null 2>&1; do xl destroy {PEER}; done ;;
esac
"""
FIGURES = (("gap_ms", "downtime", "ms", 1), ("total_s", "total", "s", 1), ("bytes", "wire", "MiB", 1 << 20))


def say(text):
    print(text, flush=True)


class Ours:
    name = "ours"

    def __init__(self, hub):
        self.hub = hub

    def start(self):
        scene.define("hv1", OURS)
        cli.run("hv1", "vm", "start", OURS)

    def move(self):
        return cli.run("hv1", "migrate", OURS, "--to", "hv2", timeout_s=MOVE_S)

    def note(self, job):
        r = job["result"]
        return f"{r['rounds']} rounds, {r['downtime_ms']} ms by its own report"

    def end(self):
        for host in ("hv2", "hv1"):
            row = next((v for v in cli.run(host, "vm", "list", "--all")["vms"] if v["name"] == OURS), None)
            if row and row["state"] not in ("away", "stopped"):
                cli.run(host, "vm", "stop", OURS)
            if row:
                cli.run(host, "vm", "undefine", OURS)

    def close(self):
        pass


class Xl:
    name = "xl"

    def __init__(self, hub):
        self.hub = hub
        self.shells = {}
        (LAB / f"{PEER}.cfg").write_text(scene.config(PEER, BOOT + "/"))
        (LAB / "peer.sh").write_text(SCRIPT)
        for host in ("hv1", "hv2"):
            for file in (f"{PEER}.cfg", "peer.sh"):
                cli.run(host, "file", "put", LAB / file)
            self.shells[host] = Shell(host)
        self.shells["hv2"].must(f"sh {BOOT}/peer.sh listen & true")

    def start(self):
        self.shells["hv1"].must(f"sh {BOOT}/peer.sh create", 120)

    def move(self):
        self.shells["hv1"].must(f"sh {BOOT}/peer.sh move", MOVE_S)

    def note(self, _):
        return "not encrypted"

    def end(self):
        for shell in self.shells.values():
            shell.must(f"sh {BOOT}/peer.sh gone")

    def close(self):
        for shell in self.shells.values():
            shell.close()


def one(side, load):
    """A guest of this side, its load, one measured move, and nothing left of it."""
    side.start()
    try:
        scene.answers(side.hub)
        if LOADS[load]:
            side.hub.guest(IP, "dirty {} {}".format(*LOADS[load]))
        cost, value = scene.measured(side.hub, "hv1", "hv2", side.move)
        say(f"{load:5} {side.name:5} downtime {cost['gap_ms']:6.0f} ms  total {cost['total_s']:5.1f} s  "
            f"wire {cost['bytes'] / (1 << 20):6.1f} MiB  lost {cost['lost']:4}  {side.note(value)}")
        return cost
    finally:
        side.end()


def measure(rounds):
    hub, rows = Hub(LAB), {}
    sides = (Ours(hub), Xl(hub))
    try:
        for _ in range(rounds):
            for load in LOADS:
                for side in sides:
                    rows.setdefault((load, side.name), []).append(one(side, load))
    finally:
        for side in sides:
            side.close()
    return rows


def report(rows):
    medians = {key: {f: statistics.median(c[f] for c in costs) for f, *_ in FIGURES} for key, costs in rows.items()}
    for (load, name), m in medians.items():
        say(f"median {load:5} {name:5} " + "  ".join(f"{label} {m[f] / scale:.1f} {unit}"
                                                    for f, label, unit, scale in FIGURES))
    for line, load, figure in (("downtime_busy", "busy", "gap_ms"), ("downtime_idle", "idle", "gap_ms"),
                               ("total_busy", "busy", "total_s"), ("bytes_busy", "busy", "bytes")):
        say(f"ratio {line}_vs_xl {medians[load, 'ours'][figure] / medians[load, 'xl'][figure]:.3f}")


def on_term(_signo, _frame):
    raise KeyboardInterrupt


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--rounds", type=int, default=3)
    rounds = p.parse_args().rounds
    signal.signal(signal.SIGTERM, on_term)
    say(f"ours: TLS, compressed; peer: xl migrate over plain TCP, not encrypted.  Guest {scene.GUEST_MIB} MiB, "
        f"busy: {LOADS['busy'][0]} MiB at {LOADS['busy'][1]} MiB/s, pings every {scene.PING_MS} ms")
    try:
        scene.up(ISO, say)
        report(measure(rounds))
        return 0
    except LabError as e:
        say(f"bench-migrate: {e}")
        return 1
    finally:
        scene.down()


if __name__ == "__main__":
    sys.exit(main())

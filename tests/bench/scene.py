# SPDX-License-Identifier: Apache-2.0
"""What `make demo` and `make bench-migrate` have in common: the guest that moves, and how a move is measured.

Downtime is the longest gap between answers to pings that come every PING_MS from the network: neither side's own clock.
Bytes on the wire are those of the source's port at the hub, whoever sends them.
"""
import json
import os
import pathlib
import sys
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/lab"))
sys.dont_write_bytecode = True
os.environ.setdefault("HVAPI_LAB_DIR", str(TOP / "build/lab-demo"))     # a lab that is up stays untouched
import cli                                                      # noqa: E402
import hosts                                                    # noqa: E402
from hub import Hub                                             # noqa: E402
from places import BUILD, LAB, STATE, LabError, wait_for        # noqa: E402

IP = "10.77.0.10"
PING_MS = 15
DISK = "/dev/xvda"
GUEST_MIB = 128
KERNEL, RAMDISK = "vmlinuz", "initrd.gz"


def config(name, folder=""):
    """An xl.cfg of the guest; ours takes kernels by name, xl by path."""
    return (f'name="{name}"\ntype="pvh"\nmemory={GUEST_MIB}\nvcpus=1\nkernel="{folder}{KERNEL}"\n'
            f'ramdisk="{folder}{RAMDISK}"\ncmdline="console=hvc0 guest.ip={IP}"\n'
            "vif=['mac=00:16:3e:00:00:10,bridge=xenbr0']\n"
            "disk=['/dev/disk/by-id/virtio-lun0,raw,xvda,rw']\n")


def up(iso, say=print):
    """Two hosts with the guest's kernel on both; `down` must follow.  A lab left by a killed run is ended first."""
    if STATE.exists():
        hosts.down()
    hosts.up(2, iso, uefi=True, say=say)
    for host in ("hv1", "hv2"):
        for file in (KERNEL, RAMDISK):
            cli.run(host, "file", "put", BUILD / "guest" / file)


def down():
    if STATE.exists():
        hosts.down()


def define(host, name="g1"):
    path = LAB / f"{name}.cfg"
    path.write_text(config(name))
    cli.run(host, "vm", "define", path)


def answers(hub, limit_s=120):
    """Waits until the guest answers commands."""
    def stat():
        try:
            return hub.guest(IP, "stat", timeout_s=5)
        except LabError:
            return None
    return wait_for(f"an answer of the guest {IP}", limit_s, stat)


def last_move(host):
    """The newest job of a move there, whole."""
    rows = [j for j in cli.run(host, "job", "list")["jobs"] if j["kind"] == "migrate"]
    if not rows:
        raise LabError(f"{host} has no job of a move")
    return cli.run(host, "job", "show", rows[0]["id"])


def sent_bytes(hub, host):
    return hub.ports()[host]["rx_bytes"]


def measured(hub, source, to, move):
    """Calls move() between two looks at clocks, counters and pings; returns what it cost and what move() returned."""
    hub.ping(IP, every_ms=PING_MS)
    wait_for("answers to pings", 30, lambda: hub.ping_stat()["received"] >= 20)
    bytes_before, t0 = sent_bytes(hub, source), time.monotonic()
    value = move()
    total_s = time.monotonic() - t0
    sent = sent_bytes(hub, source) - bytes_before
    seen = hub.ping_stat()["received"]
    wait_for(f"the guest's answers from {to}", 30, lambda: settled(hub, to, seen))
    pings = hub.ping_end()
    return {"total_s": total_s, "bytes": sent, "gap_ms": pings["longest_gap_ms"], "lost": pings["lost"],
            "sent": pings["sent"], "port": pings["moves"][-1]["port"]}, value


def settled(hub, to, seen):
    """The guest answers from there, and has done so for a while."""
    stat = hub.ping_stat()
    return stat["received"] > seen + 40 and stat["moves"] and stat["moves"][-1]["port"] == to


def dump(what, path):
    """Keeps raw figures beside the lab's logs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(what, indent=1) + "\n")

# SPDX-License-Identifier: Apache-2.0
"""What tests of guests share: definitions, states, waiting, consoles, and daemons that are killed.

The API is asked again and again because that is what a program outside has; every wait has a limit and says what
did not come.
"""
import contextlib
import os
import select
import subprocess
import time

import cli
import hosts
from cli import CliError, run as hvapi
from places import CLI, GUEST, LabError

WAIT_S = 90
ANSWER_S = 90                   # a guest boots within that, also by GRUB under emulation
SILENT_S = 2
BOOT_MS_MIN = 1000              # two boots are further apart than an answer is late
STATUS_NET = 14                 # the CLI's exit status when the line to the host breaks
LEAVE = b"\x1d"                 # Ctrl-] on a console
LUN0, LUN1 = "/dev/disk/by-id/virtio-lun0", "/dev/disk/by-id/virtio-lun1"


def cfg(name, ip, **other):
    """An xl.cfg; a value None takes a key out."""
    keys = {"type": "pvh", "memory": 128, "vcpus": 1, "kernel": "vmlinuz", "ramdisk": "initrd.gz",
            "cmdline": f"console=hvc0 guest.ip={ip}",
            "vif": [f"mac=00:16:3e:00:00:{int(ip.rpartition('.')[2]):02x},bridge=xenbr0"], **other}
    return f"name='{name}'\n" + "".join(f"{k}={v!r}\n" for k, v in keys.items() if v is not None)


def wait_for(what, fn, limit_s=WAIT_S, look_s=0.2):
    """The first true value of fn."""
    end = time.monotonic() + limit_s
    while True:
        value = fn()
        if value:
            return value
        assert time.monotonic() < end, f"waited {limit_s} s for {what}"
        time.sleep(look_s)


def api_answers(host):
    try:
        return hvapi(host, "host", "show")
    except CliError:
        return None


def put_boot_files(host):
    for name in ("vmlinuz", "initrd.gz"):
        hvapi(host, "file", "put", GUEST / name)


def show(host, name):
    return next((v for v in hvapi(host, "vm", "list", "--all")["vms"] if v["name"] == name), None)


def state_on(host, name):
    """"none" if the host does not know it."""
    v = show(host, name)
    return v["state"] if v else "none"


def wait_state(host, name, *states):
    """VMINFO once it is in one of these."""
    return wait_for(f"{name} at {host} to be {' or '.join(states)}",
                    lambda: (lambda v: v and v["state"] in states and v)(show(host, name)))


def define(host, folder, name, ip, **other):
    path = folder / f"{name}.cfg"
    path.write_text(cfg(name, ip, **other))
    return hvapi(host, "vm", "define", path)


def remove(host, name):
    """Whatever it is, it is gone afterwards."""
    with contextlib.suppress(CliError):         # it may be over already
        hvapi(host, "vm", "stop", name)
    if state_on(host, name) != "none":
        wait_state(host, name, "stopped", "away")
        hvapi(host, "vm", "undefine", name)


def unit(host, name):
    """The unit while it has a process, else None."""
    return next((u for u in hvapi(host, "host", "units")["units"] if u["unit"] == name and u["pid"]), None)


def kill(host, name):
    """SIGKILL; returns when another process has taken its place.  A daemon on the way of the call cuts it off."""
    old = unit(host, name)["pid"]
    try:
        hvapi(host, "host", "kill-unit", name)
    except CliError as e:
        assert e.status == STATUS_NET, e

    def back():
        with contextlib.suppress(CliError):
            u = unit(host, name)
            return u and u["pid"] != old
    wait_for(f"a new {name} at {host}", back)


def silent(hub, ip):
    try:
        hub.guest(ip, "stat", timeout_s=SILENT_S)
    except LabError:
        return True
    return False


def guest_stat(hub, ip, timeout_s=ANSWER_S):
    """The guest's `stat`, and when it booted by this machine's clock."""
    s = hub.guest(ip, "stat", timeout_s=timeout_s)
    return {**s, "booted_ms": time.monotonic() * 1000 - s["up_ms"]}


def booted_anew(hub, ip, before):
    """The guest's stat once it answers after another boot than that of the stat `before`."""
    def anew():
        with contextlib.suppress(LabError):
            s = guest_stat(hub, ip, SILENT_S)
            return s["booted_ms"] > before["booted_ms"] + BOOT_MS_MIN and s
    return wait_for(f"the guest {ip} to boot again", anew, ANSWER_S)


class Console:
    """`hvapi vm console` with pipes for a terminal."""

    def __init__(self, host, name):
        self.p = subprocess.Popen([CLI, "--host", host, "vm", "console", name], env=cli.environment(),
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.seen = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.p.poll() is None:
            self.p.kill()
        self.p.communicate()

    def send(self, data):
        self.p.stdin.write(data)
        self.p.stdin.flush()

    def expect(self, text, limit_s=20):
        end = time.monotonic() + limit_s
        while text not in self.seen:
            left = end - time.monotonic()
            assert left > 0, f"not on the console within {limit_s} s: {text!r}; there was {self.seen[-500:]!r}"
            if select.select([self.p.stdout], [], [], left)[0]:
                more = os.read(self.p.stdout.fileno(), 4096)
                assert more, f"the console ended before {text!r}: {self.seen[-500:]!r} {self.p.stderr.read()!r}"
                self.seen += more

    def leave(self):
        """The exit status after Ctrl-]."""
        self.send(LEAVE)
        return self.p.wait(timeout=20)


class LogTail:
    """What a host's serial log says from now on."""

    def __init__(self, host):
        self.path = hosts.serial_log(host)
        self.start = self.path.stat().st_size

    def text(self):
        with open(self.path, "rb") as f:
            f.seek(self.start)
            return f.read().decode(errors="replace")

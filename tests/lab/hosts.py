# SPDX-License-Identifier: Apache-2.0
"""The lab as a whole: hosts and hub come up, are paired, lose and get power, and go down.

lab.json holds what another process needs to find them: pids with start times (a pid alone may be somebody else's by
now), ports, and what was booted.
"""
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time

import cli
import hub as hub_module
import qemu
import vols
from places import (BUILD, HOSTS_MAX, LAB, STATE, TOP, LabError, host_ip, host_name, read_state, started_at, wait_for,
                    write_state)

READY_S = {"kvm": 120, "tcg": 300}
END_S = 15
READY = re.compile(rb"hvapi: ready\b")
CODE = re.compile(rb"operator code ((?:[0-9A-Z]+-)+[0-9A-Z]+)")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def process(pid):
    return {"pid": pid, "started": started_at(pid)}


def alive(p):
    return bool(p) and p["started"] is not None and started_at(p["pid"]) == p["started"]


def end(p, signo=signal.SIGTERM):
    """Ends exactly that process, if it is still the one that was started."""
    if not alive(p):
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(p["pid"], signo)
    try:
        wait_for(f"the end of process {p['pid']}", END_S, lambda: reaped(p))
    except LabError:
        os.kill(p["pid"], signal.SIGKILL)
        wait_for(f"the end of process {p['pid']}", END_S, lambda: reaped(p))


def reaped(p):
    with contextlib.suppress(ChildProcessError):
        os.waitpid(p["pid"], os.WNOHANG)
    return not alive(p)


def serial_log(name):
    return LAB / name / "serial.log"


def log_tail(name, lines=15):
    text = serial_log(name).read_bytes() if serial_log(name).exists() else b""
    return "\n".join(text.decode(errors="replace").replace("\r", "").split("\n")[-lines:])


def get_host(state, name):
    if name not in state["hosts"]:
        raise LabError(f"no host is called '{name}': the lab has {', '.join(state['hosts'])}")
    return state["hosts"][name]


def start_host(state, name):
    h = state["hosts"][name]
    log = serial_log(name)
    h["log_from"] = log.stat().st_size if log.exists() else 0
    h["process"] = process(qemu.start(name, state["iso"], state["uefi"], h["port"]).pid)
    h["started_at"] = time.time()
    write_state(state)


def booted(h, name, need=READY):
    """What the host printed since it was started, once it is ready (`need`: and that is there); None before."""
    if reaped(h["process"]):
        raise LabError(f"{name}: QEMU has ended: {(LAB / name / 'qemu.log').read_text()[-500:]}")
    with open(serial_log(name), "rb") as f:
        f.seek(h["log_from"])
        text = f.read()
    return text if READY.search(text) and need.search(text) else None


def wait_ready(state, name, need=READY):
    """Returns what it printed until then."""
    h = state["hosts"][name]
    limit = READY_S[qemu.accelerator()] * max(1, len(state["hosts"]) / 2)
    try:
        wait_for(f"{name}: ready", 10, serial_log(name).exists)
        text = wait_for(f"{name}: ready", limit, lambda: booted(h, name, need))
    except LabError as e:
        raise LabError(f"{e}; the end of {serial_log(name)}:\n{log_tail(name)}") from e
    h["boot_s"] = round(time.time() - h["started_at"], 1)
    return text


def lab_is_up():
    if not STATE.exists():
        return False
    state = read_state()
    return any(alive(p) for p in [state["hub"], *(h["process"] for h in state["hosts"].values())])


def guest_files():
    p = subprocess.run([sys.executable, TOP / "tests/guest/build.py"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if p.returncode:
        raise LabError(p.stdout.decode(errors="replace").strip())


def up(n, iso, uefi, say=print):
    """A new lab with empty disks; logs of an older one are replaced."""
    if lab_is_up():
        raise LabError("a lab is up: `tests/lab/lab down` first")
    if not 1 <= n <= HOSTS_MAX:
        raise LabError(f"{n} hosts: 1 to {HOSTS_MAX}")
    if not iso.exists():
        raise LabError(f"{iso} is missing: run `make iso`")
    LAB.mkdir(parents=True, exist_ok=True)
    guest_files()
    names = [host_name(i) for i in range(1, n + 1)]
    vols.forget_luns()
    vols.make_luns()
    with open(LAB / "hub.log", "wb") as log:
        hub = hub_module.start(LAB, names, log)
    state = {"hub": process(hub.pid), "iso": str(iso), "uefi": uefi, "accel": qemu.accelerator(), "hosts": {}}
    write_state(state)
    try:
        bring_up(state, names, say)
    except BaseException:
        down()
        raise
    return state


def bring_up(state, names, say):
    for name in names:
        (LAB / name).mkdir(exist_ok=True)
        for log in ("serial.log", "qemu.log"):
            (LAB / name / log).unlink(missing_ok=True)
        vols.forget(name)
        vols.make_data(name)
        vols.make_settings(name)
        state["hosts"][name] = {"port": free_port(), "process": None}
        start_host(state, name)
        say(f"{name}: started ({state['accel']}, {'UEFI' if state['uefi'] else 'BIOS'}), log {serial_log(name)}")
    codes = {name: CODE.search(wait_ready(state, name, CODE)).group(1).decode() for name in names}
    write_state(state)
    for name in names:
        say(f"{name}: ready {state['hosts'][name]['boot_s']} s after power on")
    for name in names:
        enroll(state, name, codes[name])
    for i, name in enumerate(names):
        for other in names[i + 1:]:
            pair(name, other)
            say(f"{name} and {other}: paired")


def enroll(state, name, code):
    cli.run(None, "host", "enroll", f"127.0.0.1:{state['hosts'][name]['port']}", "--code", code, "--name", name)


def pair(name, other):
    """`other` shows a code, `name` dials it."""
    code = cli.run(other, "host", "code", "--name", name)["code"]
    cli.run(name, "host", "pair", host_ip(other), "--code", code, "--name", other)


def power_off(name):
    state = read_state()
    end(get_host(state, name)["process"], signal.SIGKILL)


def has_power(name):
    return alive(get_host(read_state(), name)["process"])


def power_on(name, wait=True):
    state = read_state()
    if has_power(name):
        raise LabError(f"{name} has power")
    start_host(state, name)
    if wait:
        wait_ready(state, name)
        write_state(state)


def down():
    """Ends what `up` started, by pid; disks go, logs stay."""
    state = read_state()
    for name, h in state["hosts"].items():
        end(h["process"])
        vols.forget(name)
    end(state["hub"])
    vols.forget_luns()
    STATE.unlink()


def status():
    state = read_state()
    hub = hub_module.Hub(LAB)
    ports = hub.ports() if alive(state["hub"]) else {}
    hosts = {}
    for name, h in state["hosts"].items():
        on = alive(h["process"])
        hosts[name] = {"power": "on" if on else "off", "ready": bool(on and booted(h, name)), "ip": host_ip(name),
                       "api": f"127.0.0.1:{h['port']}", "pid": h["process"]["pid"] if on else None,
                       "boot_s": h.get("boot_s"), "serial_log": str(serial_log(name)), "line": ports.get(name)}
    return {"hosts": hosts, "hub": alive(state["hub"]), "accel": state["accel"], "iso": state["iso"],
            "uefi": state["uefi"], "operator": str(LAB / "operator"), "cli": str(BUILD / "bin/hvapi")}

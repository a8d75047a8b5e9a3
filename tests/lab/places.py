# SPDX-License-Identifier: Apache-2.0
"""Where the lab's things are, its addresses, and how it waits.

Everything a lab leaves behind is below build/lab (HVAPI_LAB_DIR names another folder, so that a test can have a lab
of its own).
"""
import json
import os
import pathlib
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("HVAPI_BUILD", TOP / "build"))
LAB = pathlib.Path(os.environ.get("HVAPI_LAB_DIR", BUILD / "lab"))
STATE = LAB / "lab.json"
GUEST = BUILD / "guest"
CLI = BUILD / "bin/hvapi"
HUB = BUILD / "bin/lab-hub"
ISO = BUILD / "hvapi.iso"

HOSTS_MAX = 8
GUEST_PORT = 7777       # tests/guest: commands by UDP
PROBE_IP = "10.77.0.99"


class LabError(Exception):
    """What failed and what to do, for a person."""


def host_name(no):
    return f"hv{no}"


def host_number(name):
    if name[:2] != "hv" or not name[2:].isdigit() or not 1 <= int(name[2:]) <= HOSTS_MAX:
        raise LabError(f"no host is called '{name}': they are hv1, hv2 ...; `lab status` lists them")
    return int(name[2:])


def host_ip(name):
    return f"10.77.0.{host_number(name)}"


def wait_for(what, timeout_s, test, every_s=0.05):
    """The first true value of test(), asked again and again; LabError that names `what` when time is over."""
    end = time.monotonic() + timeout_s
    while True:
        value = test()
        if value:
            return value
        if time.monotonic() > end:
            raise LabError(f"{what}: not within {timeout_s} s")
        time.sleep(every_s)


def read_state():
    if not STATE.exists():
        raise LabError("no lab is up: run `tests/lab/lab up`")
    return json.loads(STATE.read_text())


def write_state(state):
    LAB.mkdir(parents=True, exist_ok=True)
    part = STATE.with_suffix(".part")
    part.write_text(json.dumps(state, indent=1) + "\n")
    part.rename(STATE)


def started_at(pid):
    """Start time of a process in clock ticks, or None: pid and start time together name a process for good."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])

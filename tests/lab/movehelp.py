# SPDX-License-Identifier: Apache-2.0
"""What tests of moves share: the guest g1 that moves, the job of a move, and what must hold after it."""
import pytest

import hosts
import vmhelp
from cli import CliError, run as hvapi
from vmhelp import LUN0, api_answers

NAME, IP = "g1", "10.77.0.10"
SLOW_MIB_S = 1                  # a line slow enough that a fault falls into a round
WAIT_S = 120
LOOK_S = 0.01
STATUS_NOT_FOUND, STATUS_STATE, STATUS_REFUSED = 3, 5, 7        # exit statuses of the CLI


def state_on(host):
    return vmhelp.state_on(host, NAME)


def wait_for(what, fn, limit_s=WAIT_S):
    return vmhelp.wait_for(what, fn, limit_s)


def running_on():
    return [h for h in ("hv1", "hv2") if state_on(h) == "running"]


def guest_answers(hub):
    return hub.guest(IP, "stat", timeout_s=30)


@pytest.fixture(scope="module")
def files(lab, tmp_path_factory):
    path = tmp_path_factory.mktemp("cfg") / "g1.cfg"
    path.write_text(vmhelp.cfg(NAME, IP, disk=[f"{LUN0},raw,xvda,rw"]))
    for h in ("hv1", "hv2"):
        vmhelp.put_boot_files(h)
    return path


@pytest.fixture
def g1(files, hub):
    """g1 runs on hv1 and answers."""
    for h in ("hv1", "hv2"):
        if not hosts.has_power(h):                              # a test that failed left it so
            hosts.power_on(h)
        wait_for(f"the API of {h}", lambda: api_answers(h))     # noqa: B023
        wait_for("jobs to end", lambda: not [j for j in hvapi(h, "job", "list")["jobs"]     # noqa: B023
                                             if j["state"] in ("queued", "running")])
    if state_on("hv2") == "running":
        hvapi("hv2", "migrate", "g1", "--to", "hv1")
    if state_on("hv1") == "none":
        hvapi("hv1", "vm", "define", files)
    if state_on("hv1") != "running":
        hvapi("hv1", "vm", "start", "g1")
    guest_answers(hub)
    yield "g1"
    hub.heal()
    for port in hub.ports():
        hub.rate(port, 0)


def start_move(*options, to="hv2", source="hv1"):
    """The job of a move that is under way; it is not waited for."""
    return hvapi(source, "migrate", "g1", "--to", to, "--no-wait", *options)["id"]


def job(ident, host="hv1"):
    return hvapi(host, "job", "show", ident)


def wait_progress(ident, *states):
    """Waits until the move is in one of these states of the session (or has ended, which is then a failure)."""
    def there():
        j = job(ident)
        assert j["state"] in ("queued", "running", "in-doubt"), f"the job ended early: {j}"
        return j["progress"].get("state") in states and j
    return wait_for(f"state {states}", there)


def wait_end(ident, host="hv1"):
    def ended():
        j = job(ident, host)
        return j["state"] not in ("queued", "running") and j
    return wait_for("the end of the job", ended)


def workers(host):
    units = hvapi(host, "host", "units")["units"]
    return [u["unit"] for u in units if u["pid"] and u["unit"].startswith(("domd/", "migrate/"))]


def one_copy(hub, where):
    """Exactly one copy runs, where it should, and it answers; the other host holds nothing of it."""
    wait_for(f"g1 to run on {where}", lambda: running_on() == [where])
    guest_answers(hub)
    assert hub.who_has(IP, 1000) == [where], "more than one host answers for the guest"
    other = "hv2" if where == "hv1" else "hv1"
    wait_for(f"nothing of g1 at {other}", lambda: state_on(other) in ("none", "away", "stopped"))
    wait_for(f"no process of g1 at {other}", lambda: not workers(other))


def resolve(host):
    """Ends the doubt there if there is one."""
    if state_on(host) != "in-doubt":
        return
    try:
        hvapi(host, "migrate", "resolve", NAME)
    except CliError as e:           # it may have resolved itself a moment ago
        assert e.status == STATUS_STATE, e


def at_step(step, limit_s=WAIT_S):
    """A function that returns when the source's session of a move that starts from now on has come to this step."""
    log = hosts.serial_log("hv1")
    start = log.stat().st_size

    def wait():
        def there():
            with log.open("rb") as f:
                f.seek(start)
                return f" vm={NAME}: {step} (".encode() in f.read()
        vmhelp.wait_for(f"the move to come to '{step}'", there, limit_s, LOOK_S)
    return wait

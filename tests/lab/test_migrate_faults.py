# SPDX-License-Identifier: Apache-2.0
"""Moves that break: movers and hvapid killed, lines cut, hosts without power, at each step of a move.

After every fault at most one copy of the guest runs, whatever doubt is left is ended by `migrate resolve`, exactly one
host may start the guest, and nothing of the move is left at the other.
"""
import pytest

from cli import CliError, run as hvapi
from movehelp import (NAME, SLOW_MIB_S, STATUS_NOT_FOUND, STATUS_REFUSED,
                      STATUS_STATE, at_step, files, g1, guest_answers, one_copy,     # noqa: F401
                      resolve, running_on, start_move, state_on, wait_end, wait_for, wait_progress, workers)
from vmhelp import api_answers

HOSTS = {"source": "hv1", "target": "hv2"}
STEPS = ("offer", "suspend", "ready", "commit")
OFF_LIMITS = ("in-doubt", "receiving", "ready", "giving", "unknown")


@pytest.mark.parametrize("side", ["source", "target"])
def test_mover_killed_in_a_round(g1, hub, side):
    hub.rate("hv1", SLOW_MIB_S)
    ident = start_move()
    wait_progress(ident, "precopy")
    host = "hv1" if side == "source" else "hv2"
    unit = wait_for("hvmigrate", lambda: [u["unit"] for u in hvapi(host, "host", "units")["units"]
                                          if u["unit"].startswith("migrate/") and u["pid"]])[0]
    hvapi(host, "host", "kill-unit", unit)
    assert wait_end(ident)["state"] == "failed"
    one_copy(hub, "hv1")


@pytest.mark.parametrize("host", ["hv1", "hv2"])
def test_hvapid_killed_in_a_round(g1, hub, host):
    """The API's death disturbs no move: the job goes on and is found again."""
    ident = start_move()
    wait_progress(ident, "precopy")
    with pytest.raises(CliError) as e:
        hvapi(host, "host", "kill-unit", "hvapid")
    assert e.value.status == 14     # who kills the one he talks to hears no answer
    wait_for("the API to be back", lambda: api_answers(host))
    assert wait_end(ident)["state"] == "done"
    one_copy(hub, "hv2")


def test_line_cut_in_a_round(g1, hub):
    hub.rate("hv1", SLOW_MIB_S)
    ident = start_move()
    wait_progress(ident, "precopy")
    hub.cut("hv1", "hv2")
    assert wait_end(ident)["state"] == "failed"
    one_copy(hub, "hv1")


def test_target_loses_power_in_a_round(g1, hub, lab):
    hub.rate("hv1", SLOW_MIB_S)
    ident = start_move()
    wait_progress(ident, "precopy")
    lab.power_off("hv2")
    assert wait_end(ident)["state"] == "failed"
    assert state_on("hv1") == "running"
    guest_answers(hub)
    lab.power_on("hv2")
    one_copy(hub, "hv1")


def test_source_loses_power_in_a_round(g1, hub, lab):
    """The guest dies with its host; afterwards it can be started there, and the target holds nothing of it."""
    hub.rate("hv1", SLOW_MIB_S)
    ident = start_move()
    wait_progress(ident, "precopy")
    lab.power_off("hv1")
    wait_for("nothing at hv2", lambda: state_on("hv2") in ("none", "stopped", "away"))
    lab.power_on("hv1")
    wait_for("g1 stopped at hv1", lambda: state_on("hv1") == "stopped")
    hvapi("hv1", "vm", "start", "g1")
    one_copy(hub, "hv1")


# ---- any fault at any step ----

def kill_mover(side):
    """SIGKILL for hvmigrate there; one that has ended by itself a moment ago is as dead."""
    for unit in [u for u in workers(HOSTS[side]) if u.startswith("migrate/")]:
        try:
            hvapi(HOSTS[side], "host", "kill-unit", unit)
        except CliError as e:
            assert e.status in (STATUS_NOT_FOUND, STATUS_STATE), e


FAULTS = {
    "source-mover": (lambda hub, lab: kill_mover("source"), lambda hub, lab: None),
    "target-mover": (lambda hub, lab: kill_mover("target"), lambda hub, lab: None),
    "cut": (lambda hub, lab: hub.cut("hv1", "hv2"), lambda hub, lab: hub.heal()),
    "source-power": (lambda hub, lab: lab.power_off("hv1"), lambda hub, lab: lab.power_on("hv1")),
    "target-power": (lambda hub, lab: lab.power_off("hv2"), lambda hub, lab: lab.power_on("hv2")),
}


def settled(host):
    """The state of g1 there once it is neither on its way nor in doubt."""
    resolve(host)
    state = state_on(host)
    return state if state not in OFF_LIMITS else None


def starts(host):
    """Whether this host starts the guest that runs nowhere; one that is not its owner must refuse."""
    if state_on(host) == "none":
        return False
    try:
        hvapi(host, "vm", "start", NAME)
    except CliError as e:
        assert e.status == STATUS_REFUSED, e
        return False
    return True


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_at_step(g1, hub, lab, fault, step):
    strike, mend = FAULTS[fault]
    reached = at_step(step)
    start_move()
    reached()
    strike(hub, lab)
    if fault not in ("source-power", "target-power"):
        assert len(running_on()) <= 1
    mend(hub, lab)
    for host in HOSTS.values():
        wait_for(f"the API of {host}", lambda: api_answers(host))       # noqa: B023
    for host in HOSTS.values():
        wait_for(f"g1 at {host} to settle", lambda: settled(host))      # noqa: B023
    assert len(running_on()) <= 1
    if not running_on():
        assert [starts(host) for host in HOSTS.values()].count(True) == 1
    one_copy(hub, wait_for("one running copy", running_on)[0])

# SPDX-License-Identifier: Apache-2.0
"""Moves as hvapid sees them: jobs that drive hvmigrate, and outlive hvapid."""
import os
import socket

import pytest

import ctl
from fakes import UUID, record_save
from test_events import Stream
from world import VM, until


@pytest.fixture
def running(world):
    world.define()
    world.run_vm()
    return world


def begin(world, **body):
    """A move under way: (job id, the fake hvmigrate)."""
    ident = world.post("/v1/vms/web1/migrate", {"to": "hv2", **body}, want=202)["job"]["id"]
    return ident, world.unit("migrate/")


def moved(world, m):
    """What hvdomd and hvmigrate do at the end of a good move."""
    domd = world.unit("domd/web1")
    domd.record("away", {"session": m.session}, peer="hv2")
    domd.enter("none")
    m.report("moved", downtime_ms=120, rounds=4)
    world.hvinit.end("domd/web1")


def test_straight_through(running):
    ident, m = begin(running, max_downtime_ms=150, on_stall="abort", compress="zlib", rate=1000000)
    assert m.role == "send"
    want = {"vm": "web1", "uuid": UUID, "peer": "hv2", "address": "10.0.0.2:8443", "check_only": False,
            "max_downtime_ms": 150, "max_rounds": 30, "on_stall": "abort", "streams": 1, "compress": "zlib",
            "rate_bytes_s": 1000000, "resume": False}
    assert {k: m.spec[k] for k in want} == want
    assert m.spec["domd"] == f"{running.run}/domd/web1.sock"
    running.hvtls.lines[0].sendall(b"line")
    assert os.read(m.fds[0], 10) == b"line", "hvmigrate got the line that hvtls dialled"
    s = Stream(running, f"/v1/jobs/{ident}")
    assert s.next()[2]["state"] == "running"
    m.progress(state="precopy", round=1, percent=40, left_pages=1000)
    until(lambda: running.job(ident)["progress"].get("round") == 1, "progress")
    moved(running, m)
    job = running.wait_job(ident)
    assert job["result"]["downtime_ms"] == 120 and job["peer"] == "hv2"
    last = None
    while True:
        e = s.next()
        if e is None:
            break
        last = e[2]
    assert last == job, "the stream ends with the job"
    assert running.get("/v1/vms")["vms"] == []
    v = running.get("/v1/vms/web1")
    assert (v["state"], v["peer"], v["job"]) == ("away", "hv2", None)
    assert "vm.moved" in running.events()
    assert not os.path.exists(f"{running.data}/migrate/{m.session}.json"), "the report was read and is removed"
    assert running.ask("POST", "/v1/vms/web1/start").json["code"] == "refused"
    assert running.ask("DELETE", "/v1/vms/web1").status == 204


@pytest.mark.parametrize("when", ["during", "ended_meanwhile", "killed_meanwhile"])
def test_hvapid_killed_in_the_middle(running, when):
    ident, m = begin(running)
    m.progress(round=1)
    until(lambda: running.job(ident)["progress"].get("round") == 1, "progress")
    running.end_hvapid()
    if when == "ended_meanwhile":
        moved(running, m)
    elif when == "killed_meanwhile":
        running.hvinit.end(f"migrate/{m.session}", 137)
    else:
        m.progress(round=2)
    running.start()
    if when == "during":
        until(lambda: running.job(ident)["progress"].get("round") == 2, "progress after the restart")
        assert running.job(ident)["state"] == "running"
        moved(running, m)
    job = running.wait_job(ident, "failed" if when == "killed_meanwhile" else "done")
    if when == "killed_meanwhile":
        assert "stays here" in job["error"]["detail"] and job["error"]["remedy"]
        running.wait_state("running")
    else:
        assert job["result"]["rounds"] == 4


def test_cancel(running):
    ident, m = begin(running)
    assert running.ask("DELETE", f"/v1/jobs/{ident}").status == 202
    job = running.wait_job(ident, "cancelled")
    assert job["error"]["code"] == "cancelled"
    running.wait_state("running")
    begin(running)


def test_refused_with_every_problem(running):
    ident, m = begin(running)
    problems = [{"code": c, "detail": "d", "remedy": "r", "severity": "error"}
                for c in ("memory-short", "bridge-missing")]
    m.report("aborted", {"code": "refused", "detail": "hv2 refuses", "remedy": ""}, problems)
    job = running.wait_job(ident, "failed")
    assert job["error"]["problems"] == problems and job["error"]["code"] == "refused"


def test_check(running):
    ident, m = begin(running, check_only=True)
    assert m.spec["check_only"] is True
    warning = {"code": "boot-file-missing", "detail": "d", "remedy": "r", "severity": "warning"}
    m.report("checked", problems=[warning])
    assert running.wait_job(ident)["result"] == {"ok": True, "problems": [warning]}
    ident, m = begin(running, check_only=True)
    m.report("aborted", {"code": "refused", "detail": "no", "remedy": ""}, [{**warning, "severity": "error"}])
    job = running.wait_job(ident)
    assert job["kind"] == "check" and job["result"]["ok"] is False and job["error"] is None
    assert running.state() == "running"


def test_peer_not_reachable(running):
    running.hvtls.dial_fails = True
    ident = running.post("/v1/vms/web1/migrate", {"to": "hv2"})["job"]["id"]
    job = running.wait_job(ident, "failed")
    assert job["error"]["code"] == "net" and "hv2" in job["error"]["detail"]
    assert running.state() == "running"


def test_pv_is_refused(world):
    world.define(type="pv")
    world.run_vm()
    a = world.ask("POST", "/v1/vms/web1/migrate", {"to": "hv2"})
    assert (a.status, a.json["code"]) == (409, "incompatible") and "save" in a.json["remedy"]


def in_doubt(world):
    ident, m = begin(world)
    world.unit("domd/web1").record("in-doubt", {"session": m.session}, peer="hv2")
    world.unit("domd/web1").enter("in-doubt")
    m.doubt()
    world.wait_job(ident, "in-doubt")
    return ident, m


def test_in_doubt_and_asked(running):
    ident, m = in_doubt(running)
    assert "job.in-doubt" in running.events()
    assert running.ask("DELETE", f"/v1/jobs/{ident}").json["code"] == "in-doubt"
    assert running.post("/v1/vms/web1/resolve", {"outcome": "ask"})["state"] == "in-doubt"
    until(lambda: m.server.called("ask"), "hvmigrate to be told to ask")
    moved(running, m)
    running.wait_job(ident)


def test_in_doubt_over_a_restart_and_a_dead_hvmigrate(running):
    ident, m = in_doubt(running)
    running.end_hvapid()
    running.hvinit.end(f"migrate/{m.session}", 137)
    running.start()
    again = until(lambda: next((u for n, u in list(running.hvinit.units.items()) if n == f"migrate/{m.session}"), None),
                  "hvmigrate to be started again", 20)
    assert again.spec["resume"] is True and again.fds == []
    moved(running, again)
    running.wait_job(ident)


@pytest.mark.parametrize("outcome,word", [("here", "run twice"), ("away", "no copy")])
def test_operators_word(running, outcome, word):
    ident, m = in_doubt(running)
    a = running.ask("POST", "/v1/vms/web1/resolve", {"outcome": outcome})
    assert a.status == 409 and word in a.json["detail"] and "accept_risk" in a.json["remedy"]
    sure = {"outcome": outcome, "accept_risk": True}
    assert running.ask("POST", "/v1/vms/web1/resolve", sure, role="operator").status == 403
    assert running.job(ident)["state"] == "in-doubt"
    running.post("/v1/vms/web1/resolve", sure)
    claim = until(lambda: m.server.called("claim"), "hvmigrate to be told")[0]
    assert claim["outcome"] == {"here": "refused", "away": "taken"}[outcome]
    assert "vm.resolved" in running.events()


def test_operators_word_without_hvmigrate(running):
    ident, m = in_doubt(running)
    running.spawn_fails = "migrate/"
    running.hvinit.end(f"migrate/{m.session}", 137)
    until(lambda: "cannot ask" in running.log_text(), "hvmigrate's start to be tried")
    running.post("/v1/vms/web1/resolve", {"outcome": "here", "accept_risk": True})
    running.wait_job(ident, "cancelled")
    running.wait_state("running")


def reboot(world):
    """Power cut: every process and every socket is gone, what is on the disk stays."""
    world.end_hvapid()
    for unit in list(world.hvinit.units):
        world.hvinit.end(unit, 137)
    world.hvinit.boot_id += "x"
    world.start()


@pytest.mark.parametrize("how", ["answer", "word"])
def test_in_doubt_over_a_reboot(running, how):
    """hvdomd and hvmigrate are started again, so that somebody can ask, and write the answer down."""
    ident, m = in_doubt(running)
    running.spawn_fails = "migrate/" if how == "word" else ""
    reboot(running)
    if how == "word":
        running.post("/v1/vms/web1/resolve", {"outcome": "away", "accept_risk": True})
        running.wait_job(ident)
        assert running.unit("domd/web1").server.called("give-done") == [{"session": m.session}]
    else:
        again = until(lambda: running.hvinit.units.get(f"migrate/{m.session}"), "hvmigrate to be started again", 20)
        assert again.spec["resume"] is True and "domd/web1" in running.hvinit.units
        moved(running, again)
        running.wait_job(ident)
    assert running.get("/v1/vms/web1")["peer"] == "hv2"


def test_moving_when_the_power_went(running):
    ident, m = begin(running)
    running.unit("domd/web1").record("giving", {"session": m.session})
    reboot(running)
    assert "stays here" in running.wait_job(ident, "failed")["error"]["detail"]
    running.run_vm()


def test_cancel_at_once(running):
    """Before hvmigrate's socket is there: said as soon as it is."""
    ident = running.post("/v1/vms/web1/migrate", {"to": "hv2"}, want=202)["job"]["id"]
    running.ask("DELETE", f"/v1/jobs/{ident}")
    running.wait_job(ident, "cancelled")
    running.wait_state("running")


# ---- the other side ----

def arriving(world):
    """A line from hv2; the fake hvmigrate receive that was started for it."""
    ours, theirs = socket.socketpair()
    world.accept(theirs, "peer", "hv-migrate/1")
    m = world.unit("migrate/in-")
    ours.sendall(b"hello")
    assert os.read(m.fds[0], 10) == b"hello"
    ours.close()
    return m


def test_arrival(world):
    m = arriving(world)
    assert m.role == "receive" and m.spec == {"peer": "hv2", "from": "10.0.0.9"}
    check = m.offer(VM, check_only=True)
    assert [p["code"] for p in check["problems"]] == ["boot-file-missing"] * 2 and "domd" not in check
    assert world.get("/v1/vms?all=true")["vms"] == []
    ok = m.offer(VM)
    assert ok["domd"] == f"{world.run}/domd/web1.sock" and "domd/web1" in world.hvinit.units
    v = world.get("/v1/vms/web1")
    assert v["state"] == "receiving" and v["job"]
    job = world.job(v["job"])
    assert (job["kind"], job["peer"], job["state"]) == ("receive", "hv2", "running")
    assert [p["code"] for p in m.offer(VM)["problems"] if p["severity"] == "error"] == ["name-busy"]
    domd = world.unit("domd/web1")
    domd.uuid, domd.generation = UUID, 6
    domd.record("here")
    domd.enter("running")
    m.report("moved")
    world.wait_job(v["job"])
    v = world.get("/v1/vms/web1")
    assert (v["state"], v["generation"], v["peer"]) == ("running", 6, None) and v["config"]["memory_mib"] == 128
    assert "vm.arrived" in world.events()


def test_arrival_fails(world):
    m = arriving(world)
    m.offer(VM)
    ident = world.get("/v1/vms/web1")["job"]
    m.report("aborted", {"code": "net", "detail": "the line was cut", "remedy": "try again"})
    assert world.wait_job(ident, "failed")["error"]["detail"] == "the line was cut"
    assert world.get("/v1/vms?all=true")["vms"] == []
    until(lambda: "domd/web1" not in world.hvinit.units, "the empty hvdomd to be stopped")


@pytest.mark.parametrize("taken", [False, True])
def test_receiver_dies(world, taken):
    """Nobody is left to decide: hvdomd is asked to refuse, and knows better if it was taken."""
    m = arriving(world)
    m.offer(VM)
    ident = world.get("/v1/vms/web1")["job"]
    world.taken = taken
    domd = world.unit("domd/web1")
    domd.uuid, domd.generation = UUID, 6
    domd.record("receiving", peer="hv2")
    world.hvinit.end(f"migrate/{m.session}", 137)
    world.wait_job(ident, "done" if taken else "failed")
    assert domd.server.called("refuse") == [{"session": "s-of-the-source"}]
    assert len(world.get("/v1/vms")["vms"]) == (1 if taken else 0)


def test_hvapid_killed_while_one_arrives(world):
    m = arriving(world)
    m.offer(VM)
    ident = world.get("/v1/vms/web1")["job"]
    world.restart()
    assert world.get("/v1/vms/web1")["job"] == ident
    domd = world.unit("domd/web1")
    domd.uuid, domd.generation = UUID, 6
    domd.record("here")
    m.report("moved")
    world.wait_job(ident)
    assert world.get("/v1/vms/web1")["generation"] == 6


def test_power_went_while_one_arrived(world):
    """Whoever was to decide is gone: refused for good, so that the source may have its answer."""
    m = arriving(world)
    m.offer(VM)
    ident = world.get("/v1/vms/web1")["job"]
    domd = world.unit("domd/web1")
    domd.uuid, domd.generation = UUID, 5
    domd.record("receiving", {"session": "s-of-the-source"}, peer="hv2")
    reboot(world)
    world.wait_job(ident, "failed")
    until(lambda: not world.hvinit.units, "the new hvdomd to be dismissed")
    assert world.get("/v1/vms?all=true")["vms"] == []
    # The same without a job: an older hvapid forgot it.
    domd.record("receiving", {"session": "older"}, peer="hv2")
    world.restart()
    until(lambda: '"refused"' in open(f"{world.data}/vm/web1/owner.json").read(), "the record to say refused")


def codes(answer):
    return sorted(p["code"] for p in answer["problems"] if p["severity"] == "error")


def test_what_may_not_come(world):
    world.define()
    m = arriving(world)
    assert codes(m.offer(VM)) == ["name-taken"]
    assert codes(m.offer({**VM, "name": "other"})) == ["uuid-taken"]
    assert codes(m.offer({**VM, "uuid": "21111111-2222-3333-4444-555555555555"})) == ["name-taken"]
    with pytest.raises(ctl.CtlError, match="/etc/passwd"):
        m.offer({**VM, "name": "evil", "disks": [{"vdev": "xvda", "target": "/etc/passwd"}]})
    with pytest.raises(ctl.CtlError, match="name"):
        m.offer({**VM, "name": "../evil"})


def test_coming_home(running):
    """The row of a VM that is away is taken over; a stale copy is refused."""
    ident, m = begin(running)
    moved(running, m)
    running.wait_job(ident)
    until(lambda: not running.hvinit.units, "all units to end")
    back = arriving(running)
    assert codes(back.offer(VM, generation=1)) == ["generation-old"]
    assert codes(back.offer(VM, generation=2)) == []
    ident = running.get("/v1/vms/web1")["job"]
    back.report("aborted", {"code": "cancelled", "detail": "cancelled", "remedy": ""})
    running.wait_job(ident, "cancelled")
    v = running.get("/v1/vms/web1")
    assert (v["state"], v["peer"]) == ("away", "hv2")
    until(lambda: not running.hvinit.units, "all units to end")
    back = arriving(running)
    back.offer(VM, generation=2)
    ident = running.get("/v1/vms/web1")["job"]
    domd = running.unit("domd/web1")
    domd.uuid, domd.generation = UUID, 3
    domd.record("here")
    domd.enter("running")
    back.report("moved")
    running.wait_job(ident)
    v = running.get("/v1/vms/web1")
    assert (v["state"], v["generation"], v["peer"]) == ("running", 3, None)


def test_reports_nobody_waits_for_go(world):
    m = arriving(world)
    record_save(f"{world.data}/migrate/{m.session}.json", {"outcome": "answered"})
    world.hvinit.end(f"migrate/{m.session}")
    until(lambda: not os.listdir(f"{world.data}/migrate"), "the report to be removed")

# SPDX-License-Identifier: Apache-2.0
"""The life of guests on real Xen: start to end, pause, save, what they do by themselves, and daemons that die
beneath them.  A guest that a test leaves running is the next one's.
"""
import pytest

from cli import CliError, run as hvapi
from vmhelp import (LUN1, Console, LogTail, api_answers, booted_anew, define, guest_stat, kill, put_boot_files, remove,
                    show, silent, state_on, unit, wait_for, wait_state)

G1, PV, DISK = "10.77.0.10", "10.77.0.11", "10.77.0.20"
FILL_S = 60
MIB = 1 << 20
CRASH_RESTART_MS = 11000        # a guest younger than 10 s that crashes is not restarted


@pytest.fixture(scope="module")
def folder(lab, tmp_path_factory):
    for host in ("hv1", "hv2"):
        put_boot_files(host)
    return tmp_path_factory.mktemp("cfg")


def stat(hub, ip=G1):
    return guest_stat(hub, ip)


def start_new(hub, folder, name, ip, **other):
    for host in ("hv1", "hv2"):
        remove(host, name)
    define("hv1", folder, name, ip, **other)
    hvapi("hv1", "vm", "start", name)
    return stat(hub, ip)


@pytest.fixture
def g1(folder, hub):
    """g1 with the default policies runs on hv1 and answers."""
    wait_for("the API", lambda: api_answers("hv1"))
    v = show("hv1", "g1")
    if not v or v["config"].get("on_crash", "destroy") != "destroy" or v["autostart"]:
        start_new(hub, folder, "g1", G1)
    elif v["state"] == "stopped":
        hvapi("hv1", "vm", "start", "g1")
    elif v["state"] != "running":
        start_new(hub, folder, "g1", G1)
    stat(hub)
    return "g1"


def rebooted(hub, before):
    """A new domain of the same generation answers."""
    booted_anew(hub, G1, before["stat"])
    after = wait_state("hv1", "g1", "running")
    assert after["domid"] != before["vm"]["domid"], "the same domain"
    assert after["generation"] == before["vm"]["generation"]


def now(hub):
    return {"vm": show("hv1", "g1"), "stat": stat(hub)}


def ended():
    """g1 is stopped and nothing holds it."""
    v = wait_state("hv1", "g1", "stopped")
    assert v["domid"] in (None, -1), v
    wait_for("hvdomd to end", lambda: not unit("hv1", "domd/g1"))


def why_it_ended():
    """The reason of the last event that says how g1 came to have no domain; VMINFO forgets it with hvdomd."""
    events = hvapi("hv1", "events", "--vm", "g1", "--limit", "10")["events"]
    return [e["data"]["reason"] for e in events if e["type"] == "vm.state" and e["data"]["state"] == "stopped"][-1]


def test_start_shows_what_runs(g1):
    v = show("hv1", "g1")
    assert v["state"] == "running" and v["domid"] > 0 and v["job"] is None
    with pytest.raises(CliError) as e:
        hvapi("hv1", "vm", "start", "g1")
    assert "running" in e.value.text and "stop it" in e.value.text


def test_console_by_a_pipe(g1):
    with Console("hv1", "g1") as c:
        c.send(b"hello there\n")
        c.expect(b"echo: hello there")
        c.send(b"!stat\n")
        c.expect(b'"up_ms"')
        assert c.leave() == 0
    with Console("hv1", "g1") as c:     # it can be had again
        c.send(b"once more\n")
        c.expect(b"echo: once more")


def test_pause_and_resume(g1, hub):
    assert hvapi("hv1", "vm", "pause", "g1")["state"] == "paused"
    assert silent(hub, G1)
    kill("hv1", "domd/g1")              # who asked for the pause is not who keeps it
    wait_state("hv1", "g1", "paused")
    assert silent(hub, G1)
    assert hvapi("hv1", "vm", "resume", "g1")["state"] == "running"
    assert not silent(hub, G1)


def test_reboot_by_the_host(g1, hub):
    before = now(hub)
    hvapi("hv1", "vm", "reboot", "g1")
    rebooted(hub, before)


def test_reboot_by_the_guest(g1, hub):
    before = now(hub)
    hub.guest(G1, "reboot")
    rebooted(hub, before)


def free_bytes():
    return hvapi("hv1", "host", "show")["data"]["free_bytes"]


def test_save_and_restore(g1, hub):
    hub.guest(G1, "fill 24", timeout_s=FILL_S)
    before, free = now(hub), free_bytes()
    hvapi("hv1", "vm", "save", "g1")
    ended()
    assert free_bytes() < free - 64 * MIB, "where is its memory?"
    assert show("hv1", "g1")["saved"] and silent(hub, G1)
    hvapi("hv1", "vm", "restore", "g1")
    assert stat(hub)["up_ms"] >= before["stat"]["up_ms"], "it booted instead"
    check = hub.guest(G1, "check", timeout_s=FILL_S)
    assert check["bad_pages"] == 0 and check["bad_words"] == 0, check
    v = show("hv1", "g1")
    assert v["state"] == "running" and not v["saved"] and v["generation"] == before["vm"]["generation"]
    wait_for("the saved memory to leave the disk", lambda: free_bytes() > free - 16 * MIB)
    hvapi("hv1", "vm", "stop", "g1")
    ended()
    with pytest.raises(CliError) as e:
        hvapi("hv1", "vm", "restore", "g1")
    assert "not saved" in e.value.text


def test_hvapid_killed(g1, hub):
    before = now(hub)
    kill("hv1", "hvapid")
    assert stat(hub)["up_ms"] >= before["stat"]["up_ms"]
    assert wait_state("hv1", "g1", "running")["domid"] == before["vm"]["domid"]


def test_hvtls_killed(g1, hub):
    before = now(hub)
    kill("hv1", "hvtls")
    assert stat(hub)["up_ms"] >= before["stat"]["up_ms"]
    assert wait_state("hv1", "g1", "running")["domid"] == before["vm"]["domid"]
    assert hvapi("hv1", "migrate", "check", "g1", "--to", "hv2")["ok"]


def test_shutdown(g1, hub):
    hvapi("hv1", "vm", "shutdown", "g1")
    ended()
    assert silent(hub, G1)


def test_poweroff_by_the_guest(g1, hub):
    hub.guest(G1, "poweroff")
    ended()
    assert why_it_ended() == "the guest shut down"


def test_crash_destroys(g1, hub):
    hub.guest(G1, "crash")
    ended()
    assert why_it_ended() == "the guest crashed"


def test_hvdomd_killed_then_moved_then_stopped(g1, hub):
    """Whoever owns the domain next can do all with it; the move's bytes are the kernel's to encrypt."""
    before = now(hub)
    kill("hv1", "domd/g1")
    assert wait_state("hv1", "g1", "running")["domid"] == before["vm"]["domid"]
    assert stat(hub)["up_ms"] >= before["stat"]["up_ms"]
    log = LogTail("hv2")
    assert hvapi("hv1", "migrate", "g1", "--to", "hv2")["result"]["outcome"] == "moved"
    assert stat(hub)["up_ms"] >= before["stat"]["up_ms"]
    assert "hv-migrate/1 (ktls)" in log.text()
    kill("hv2", "domd/g1")
    wait_state("hv2", "g1", "running")
    hvapi("hv2", "vm", "stop", "g1")
    wait_state("hv2", "g1", "stopped")
    assert silent(hub, G1)
    hvapi("hv2", "vm", "undefine", "g1")
    hvapi("hv1", "vm", "undefine", "g1")


def test_boots_from_its_own_disk(folder, hub):
    start_new(hub, folder, "d1", DISK, kernel=None, ramdisk=None, cmdline=None, memory=192,
              disk=[f"{LUN1},raw,xvda,rw"])
    assert show("hv1", "d1")["config"]["boot"] == "disk"
    remove("hv1", "d1")


def test_pv_guest_saves_but_does_not_move(folder, hub):
    start_new(hub, folder, "p1", PV, type="pv")
    hub.guest(PV, "fill 16", timeout_s=FILL_S)
    before = stat(hub, PV)
    with pytest.raises(CliError) as e:
        hvapi("hv1", "migrate", "p1", "--to", "hv2")
    assert "PV" in e.value.text and "PVH" in e.value.text and "save" in e.value.text
    assert state_on("hv2", "p1") == "none"
    hvapi("hv1", "vm", "save", "p1")
    hvapi("hv1", "vm", "restore", "p1")
    assert stat(hub, PV)["up_ms"] >= before["up_ms"]
    check = hub.guest(PV, "check", timeout_s=FILL_S)
    assert check["bad_pages"] == 0 and check["bad_words"] == 0, check
    remove("hv1", "p1")


def test_crash_restarts(folder, hub):
    start_new(hub, folder, "g1", G1, on_crash="restart")
    wait_for("the guest to be old enough", lambda: stat(hub)["up_ms"] > CRASH_RESTART_MS)
    before = now(hub)
    hub.guest(G1, "crash")
    rebooted(hub, before)


def test_autostart_after_a_power_cut(folder, hub, lab):
    for host in ("hv1", "hv2"):
        remove(host, "g1")
    define("hv1", folder, "g1", G1)
    hvapi("hv1", "vm", "set", "g1", "--autostart", "on")
    lab.power_off("hv1")
    lab.power_on("hv1")
    wait_state("hv1", "g1", "running")
    stat(hub)
    remove("hv1", "g1")

# SPDX-License-Identifier: Apache-2.0
"""Real moves on real Xen: there and back with everything checked, checks, cancel, and a move that must give up.
Faults are in test_migrate_faults.py.
"""
import time

import pytest

from cli import CliError, run as hvapi
from movehelp import (IP, SLOW_MIB_S, files, g1, one_copy, start_move, state_on, wait_end,     # noqa: F401
                      wait_progress)


def test_there_and_back_with_everything_intact(g1, hub):
    hub.guest(IP, "fill 24", timeout_s=60)
    hub.guest(IP, "disk start /dev/xvda")
    hub.ping(IP, every_ms=20)
    for source, to in (("hv1", "hv2"), ("hv2", "hv1")):
        j = hvapi(source, "migrate", "g1", "--to", to)
        r = j["result"]
        assert r["outcome"] == "moved" and r["rounds"] >= 1 and r["round_log"]
        assert 0 < r["downtime_ms"] < 10000 and 0 < r["wire_bytes"] < r["raw_bytes"]
        assert {"suspend_ms", "rest_ms", "ready_ms"} <= set(r["phases"])
        one_copy(hub, to)
    stat = hub.ping_end()
    assert stat["received"] > 0 and stat["longest_gap_ms"] < 10000, stat
    check = hub.guest(IP, "check", timeout_s=60)
    assert check["bad_pages"] == 0 and check["bad_words"] == 0, check
    durable = hub.guest(IP, "disk stop")["durable"]
    disk = hub.guest(IP, "disk check", timeout_s=60)
    assert durable > 0 and disk["last"] >= durable and disk["holes"] == 0 and disk["torn"] == 0, disk
    assert hvapi("hv1", "vm", "show", "g1")["generation"] >= 3


def test_check_says_what_is_wrong(g1, files):
    assert hvapi("hv1", "migrate", "check", "g1", "--to", "hv2")["ok"]
    if state_on("hv2") == "away":
        hvapi("hv2", "vm", "undefine", "g1")
    hvapi("hv2", "vm", "define", files)
    with pytest.raises(CliError) as e:
        hvapi("hv1", "migrate", "check", "g1", "--to", "hv2")
    assert e.value.status == 7 and "g1" in e.value.text
    hvapi("hv2", "vm", "undefine", "g1")


def test_cancel_leaves_the_guest_where_it_was(g1, hub):
    hub.rate("hv1", SLOW_MIB_S)
    ident = start_move()
    wait_progress(ident, "precopy")
    t0 = time.monotonic()
    hvapi("hv1", "job", "cancel", ident)
    assert wait_end(ident)["state"] == "cancelled"
    assert time.monotonic() - t0 < 30
    one_copy(hub, "hv1")


def test_abort_when_memory_does_not_converge(g1, hub):
    hub.guest(IP, "dirty 24 40")
    hub.rate("hv1", 4)
    ident = start_move("--on-stall", "abort", "--compress", "none", "--max-downtime", "100ms")
    j = wait_end(ident)
    assert j["state"] == "failed" and j["error"]["code"] == "limit" and j["error"]["remedy"], j
    hub.guest(IP, "dirty off")
    one_copy(hub, "hv1")

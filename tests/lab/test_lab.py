# SPDX-License-Identifier: Apache-2.0
"""The lab itself: hosts from the ISO are up, paired, and lose and regain power."""
from places import host_ip


def test_hosts_are_ready(lab):
    s = lab.status()
    assert s["hub"] and len(s["hosts"]) >= 2
    for name, h in s["hosts"].items():
        assert h["power"] == "on" and h["ready"], name
        assert h["line"]["connected"], f"{name} has no line to the hub"


def test_hosts_answer_on_the_network(lab, prober):
    for name in lab.status()["hosts"]:
        assert prober.who_has(host_ip(name), 2000) == [name]


def test_hosts_know_each_other(lab, cli):
    for name, other in (("hv1", "hv2"), ("hv2", "hv1")):
        peers = {p["name"]: p["role"] for p in cli(name, "host", "peers")["peers"]}
        assert peers.get(other) == "peer", f"{name} knows {peers}"


def test_power_cut_and_back(lab, cli, prober):
    before = cli("hv2", "host", "show")["fingerprint"]
    lab.power_off("hv2")
    assert lab.status()["hosts"]["hv2"]["power"] == "off"
    assert prober.who_has(host_ip("hv2"), 500) == []
    lab.power_on("hv2")
    assert cli("hv2", "host", "show")["fingerprint"] == before, "the data volume did not survive the power cut"

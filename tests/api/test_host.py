# SPDX-License-Identifier: Apache-2.0
"""The host: facts, pairing, certificates, boot files, shutdown."""
import os
import signal

import pytest

from world import until


def test_facts(world):
    h = world.get("/v1/host", role="viewer")
    assert (h["name"], h["boot_id"], h["pins"], h["fingerprint"]) == ("hv1", "boot-1", 2, "ef" * 32)
    assert h["data"]["label"] == "HVDATA" and h["data"]["free_bytes"] > 0 and h["memory"]["dom0_total_mib"] > 0


def test_peers(world):
    assert [p["name"] for p in world.get("/v1/peers")["peers"]] == ["hv2", "laptop"]
    made = world.post("/v1/peers", {"address": "10.0.0.3:8443", "code": "right"}, want=201)
    assert made["name"] == "hv3"
    assert world.ask("PATCH", "/v1/peers/hv3", {"address": "10.0.0.4:8443"}).json["address"] == "10.0.0.4:8443"
    assert world.ask("DELETE", "/v1/peers/hv3").status == 204
    assert [p["name"] for p in world.get("/v1/peers")["peers"]] == ["hv2", "laptop"]
    assert {"peer.paired", "peer.changed", "peer.removed"} <= set(world.events())


def test_pairing_code_and_certs(world):
    code = world.post("/v1/host/pairing-codes", {"role": "operator", "ttl_s": 60}, want=201)
    assert code == {"code": "CODE-operator", "expires_ms": 60, "role": "operator"}
    certs = world.get("/v1/certs")
    assert certs["identity"]["not_after_ms"] == 9 and len(certs["pins"]) == 2
    assert world.post("/v1/certs/renew")["not_after_ms"] == 10
    assert "cert.renewed" in world.events()


def test_link_events(world):
    world.hvtls.server.publish({"event": "refused", "from": "10.9.9.9", "reason": "certificate is not pinned"})
    world.hvtls.server.publish({"event": "expiring", "name": "hv2", "not_after_ms": 5})
    until(lambda: {"link.refused", "cert.expiring"} <= set(world.events()), "the events of hvtls")


def test_shutdown(world):
    assert world.ask("POST", "/v1/host/shutdown", {"mode": "reboot"}).status == 202
    assert world.hvinit.server.called("shutdown") == [{"mode": "reboot", "guests": "shutdown"}]


def put(world, name, data):
    return world.ask("PUT", f"/v1/boot-files/{name}", raw=data, headers={"Content-Type": "application/octet-stream"})


def test_boot_files(world):
    data = os.urandom(3 << 20)
    a = put(world, "vmlinuz", data)
    assert a.status == 201 and a.json == {"name": "vmlinuz", "bytes": len(data)}
    with open(f"{world.data}/boot/vmlinuz", "rb") as f:
        assert f.read() == data
    put(world, "vmlinuz", b"newer")
    put(world, "spare", b"x")
    world.define()
    files = {f["name"]: f for f in world.get("/v1/boot-files")["boot_files"]}
    assert files["vmlinuz"]["used_by"] == ["web1"] and files["vmlinuz"]["bytes"] == 5
    assert world.ask("DELETE", "/v1/boot-files/vmlinuz").json["code"] == "busy"
    assert world.ask("DELETE", "/v1/boot-files/spare").status == 204
    assert sorted(os.listdir(f"{world.data}/boot")) == ["vmlinuz"]


def test_upload_over_the_limit_or_cut(world):
    s = world.connect()
    s.sendall(b"PUT /v1/boot-files/k HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
              b"Content-Length: 536870913\r\n\r\n")
    assert s.recv(65536).startswith(b"HTTP/1.1 413")
    s.close()
    s = world.connect()
    s.sendall(b"PUT /v1/boot-files/k HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
              b"Content-Length: 1000000\r\n\r\n" + b"x" * 500000)
    until(lambda: os.listdir(f"{world.data}/boot"), "the temporary file")
    s.close()
    until(lambda: not os.listdir(f"{world.data}/boot"), "the temporary file to go")


def test_chunked_upload(world):
    s = world.connect()
    s.sendall(b"PUT /v1/boot-files/k HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
              b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
    assert s.recv(65536).startswith(b"HTTP/1.1 201")
    s.close()
    with open(f"{world.data}/boot/k") as f:
        assert f.read() == "hello world"


def test_chunked_body_over_the_limit(world):
    """The length is not told beforehand: stopped at the limit all the same."""
    s = world.connect()
    s.sendall(b"POST /v1/vms HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
              b"Transfer-Encoding: chunked\r\n\r\n")
    sent = 0
    try:
        while sent < 64 << 20:
            s.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            sent += 65536
    except OSError:
        pass
    s.close()
    assert sent < 8 << 20


def test_ends_in_order(fresh):
    fresh.start()
    fresh.define()
    idle, half = fresh.connect(), fresh.connect()
    half.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
    assert half.recv(100)
    assert fresh.end_hvapid(signal.SIGTERM) == 0
    assert not os.path.exists(f"{fresh.run}/api.sock")
    idle.close()
    half.close()


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user, which needs root")
def test_rights_are_given_up(fresh):
    for d, _dirs, _files in os.walk(fresh.dir):
        os.chown(d, 65534, 65534)
        os.chmod(d, 0o755)
    fresh.start("--user", "65534:65534")
    with open(f"/proc/{fresh.proc.pid}/status") as f:
        status = dict(line.split(":\t", 1) for line in f.read().splitlines() if ":\t" in line)
    assert status["Uid"].split() == ["65534"] * 4 and status["Gid"].split() == ["65534"] * 4
    assert (status["NoNewPrivs"], status["CapEff"].strip("0")) == ("1", "")
    if "not filtered" not in fresh.log_text():
        assert status["Seccomp"] == "2"
    fresh.define()
    fresh.run_vm()
    assert put(fresh, "k", b"x" * 100000).status == 201

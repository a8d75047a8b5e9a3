# SPDX-License-Identifier: Apache-2.0
"""Bad requests: each answer is a problem that names the thing and says what to do."""
import pytest

from world import VM, World, until



def vif(**v):
    return {**VM, "vifs": [{"bridge": "b", **v}]}


def disk(target):
    return {**VM, "disks": [{"vdev": "xvda", "target": target}]}


def without(key):
    return {k: v for k, v in VM.items() if k != key}


CASES = [
    # label, method, path, body (dict: JSON; bytes: as they are), content type, status, code, word in the detail
    ("no_path", "GET", "/v1/nope", None, None, 404, "not-found", "path"),
    ("root", "GET", "/", None, None, 404, "not-found", "path"),
    ("slash_behind", "GET", "/v1/vms/", None, None, 404, "not-found", "path"),
    ("method", "PUT", "/v1/vms", None, None, 405, "usage", "PUT"),
    ("name_dot", "GET", "/v1/vms/.hidden", None, None, 400, "usage", "name"),
    ("name_up", "GET", "/v1/vms/..", None, None, 400, "usage", "name"),
    ("name_slash", "GET", "/v1/vms/a%2fb", None, None, 404, "not-found", "path"),
    ("name_long", "GET", "/v1/vms/" + "a" * 64, None, None, 400, "usage", "name"),
    ("name_option", "PUT", "/v1/boot-files/-rf", b"x", "application/octet-stream", 400, "usage", "name"),
    ("no_vm", "GET", "/v1/vms/ghost", None, None, 404, "not-found", "ghost"),
    ("no_vm_start", "POST", "/v1/vms/ghost/start", None, None, 404, "not-found", "ghost"),
    ("no_job", "GET", "/v1/jobs/77", None, None, 404, "not-found", "77"),
    ("job_word", "GET", "/v1/jobs/abc", None, None, 404, "not-found", "abc"),
    ("job_huge", "GET", "/v1/jobs/99999999999999999999", None, None, 404, "not-found", "9999"),
    ("no_peer", "DELETE", "/v1/peers/ghost", None, None, 404, "not-found", "ghost"),
    ("no_file", "DELETE", "/v1/boot-files/ghost", None, None, 404, "not-found", "ghost"),
    ("not_json", "POST", "/v1/vms", b"{", "application/json", 400, "usage", "JSON"),
    ("empty", "POST", "/v1/vms", b"", "application/json", 400, "usage", "JSON"),
    ("list", "POST", "/v1/vms", b"[]", "application/json", 400, "usage", "object"),
    ("nul", "POST", "/v1/vms", b'{"name": "a\\u0000b"}', "application/json", 400, "usage", "JSON"),
    ("deep", "POST", "/v1/vms", b"[" * 5000, "application/json", 400, "usage", "JSON"),
    ("type", "POST", "/v1/vms", b"<vm/>", "text/xml", 415, "usage", "text/xml"),
    ("no_type", "POST", "/v1/vms", b"{}", "", 415, "usage", "(none)"),
    ("file_type", "PUT", "/v1/boot-files/k", b"x", "text/plain", 415, "usage", "text/plain"),
    ("file_empty", "PUT", "/v1/boot-files/k", b"", "application/octet-stream", 400, "usage", "empty"),
    ("large", "POST", "/v1/vms", b"x" * (300 << 10), "application/json", 413, "limit", "262144"),
    ("large_cfg", "POST", "/v1/vms", b"x" * (70 << 10), "text/x-xlcfg", 413, "limit", "65536"),
    ("body_on_get", "GET", "/v1/vms", b"x", "application/json", 413, "limit", "0 bytes"),
    ("vm_name", "POST", "/v1/vms", {**VM, "name": "../x"}, None, 400, "usage", "../x"),
    ("vm_no_name", "POST", "/v1/vms", without("name"), None, 400, "usage", "name"),
    ("vm_unknown", "POST", "/v1/vms", {**VM, "vnc": 1}, None, 400, "usage", "vnc"),
    ("vm_memory", "POST", "/v1/vms", {**VM, "memory_mib": 1}, None, 400, "usage", "memory_mib"),
    ("vm_memory_text", "POST", "/v1/vms", {**VM, "memory_mib": "128"}, None, 400, "usage", "memory_mib"),
    ("vm_vcpus", "POST", "/v1/vms", {**VM, "vcpus": 100000}, None, 400, "usage", "vcpus"),
    ("vm_type", "POST", "/v1/vms", {**VM, "type": "hvm"}, None, 400, "usage", "hvm"),
    ("vm_uuid", "POST", "/v1/vms", {**VM, "uuid": "1-2-3"}, None, 400, "usage", "1-2-3"),
    ("vm_kernel", "POST", "/v1/vms", {**VM, "kernel": "/etc/shadow"}, None, 400, "usage", "/etc/shadow"),
    ("vm_no_kernel", "POST", "/v1/vms", without("kernel"), None, 400, "usage", "kernel"),
    ("vm_mac", "POST", "/v1/vms", vif(mac="01:00:00:00:00:00"), None, 400, "usage", "vifs[0]"),
    ("vm_bridge", "POST", "/v1/vms", vif(bridge="a b"), None, 400, "usage", "a b"),
    ("vm_disk", "POST", "/v1/vms", disk("/data/host/key"), None, 400, "usage", "/data/host"),
    ("vm_disk_up", "POST", "/v1/vms", disk("/dev/../data/key"), None, 400, "usage", "/dev/.."),
    ("vm_disk_twice", "POST", "/v1/vms", {**VM, "disks": VM["disks"] * 2}, None, 400, "usage", "xvda"),
    ("vm_boot_disk", "POST", "/v1/vms", {**VM, "boot": "disk"}, None, 400, "usage", "kernel"),
    ("vm_cmdline", "POST", "/v1/vms", {**VM, "cmdline": "a\nb"}, None, 400, "usage", "cmdline"),
    ("autostart", "POST", "/v1/vms?autostart=yes", VM, None, 400, "usage", "yes"),
    ("start_field", "POST", "/v1/vms/web0/start", {"force": True}, None, 400, "usage", "force"),
    ("patch_field", "PATCH", "/v1/vms/web0", {"name": "x"}, None, 400, "usage", "name"),
    ("patch_type", "PATCH", "/v1/vms/web0", {"autostart": 1}, None, 400, "usage", "autostart"),
    ("not_saved", "POST", "/v1/vms/web0/restore", None, None, 409, "state", "saved"),
    ("not_running", "POST", "/v1/vms/web0/stop", None, None, 409, "state", "web0"),
    ("migrate_stopped", "POST", "/v1/vms/web0/migrate", {"to": "hv2"}, None, 409, "state", "stopped"),
    ("migrate_no_to", "POST", "/v1/vms/web0/migrate", {}, None, 400, "usage", "to"),
    ("migrate_ghost", "POST", "/v1/vms/web0/migrate", {"to": "ghost"}, None, 404, "not-found", "ghost"),
    ("migrate_client", "POST", "/v1/vms/web0/migrate", {"to": "laptop"}, None, 409, "refused", "laptop"),
    ("migrate_streams", "POST", "/v1/vms/web0/migrate", {"to": "hv2", "streams": 4}, None, 400, "usage",
     "streams is 4"),
    ("migrate_stall", "POST", "/v1/vms/web0/migrate", {"to": "hv2", "on_stall": "pray"}, None, 400, "usage", "pray"),
    ("migrate_codec", "POST", "/v1/vms/web0/migrate", {"to": "hv2", "compress": "rar"}, None, 400, "usage", "rar"),
    ("migrate_downtime", "POST", "/v1/vms/web0/migrate", {"to": "hv2", "max_downtime_ms": -1}, None, 400, "usage",
     "max_downtime_ms"),
    ("resolve_nothing", "POST", "/v1/vms/web0/resolve", {}, None, 409, "state", "doubt"),
    ("resolve_word", "POST", "/v1/vms/web0/resolve", {"outcome": "maybe"}, None, 400, "usage", "maybe"),
    ("pair_code_role", "POST", "/v1/host/pairing-codes", {"role": "root"}, None, 400, "usage", "root"),
    ("pair_code_ttl", "POST", "/v1/host/pairing-codes", {"role": "peer", "ttl_s": 0}, None, 400, "usage", "ttl_s"),
    ("pair_wrong", "POST", "/v1/peers", {"address": "h:1", "code": "wrong"}, None, 403, "denied", "code"),
    ("pair_no_code", "POST", "/v1/peers", {"address": "h:1"}, None, 400, "usage", "code"),
    ("shutdown_mode", "POST", "/v1/host/shutdown", {"mode": "explode"}, None, 400, "usage", "explode"),
    ("limit", "GET", "/v1/jobs?limit=x", None, None, 400, "usage", "limit"),
    ("limit_high", "GET", "/v1/events?limit=100000", None, None, 400, "usage", "limit"),
    ("since", "GET", "/v1/events?since=-1", None, None, 400, "usage", "since"),
]


@pytest.fixture(scope="module")
def host():
    w = World().start()
    w.define(name="web0")
    yield w
    w.close()


@pytest.mark.parametrize("case", CASES, ids=[c[0] for c in CASES])
def test_answer_is_a_problem(host, case):
    _label, method, path, body, kind, status, code, word = case
    if isinstance(body, dict):
        a = host.ask(method, path, body)
    else:
        a = host.ask(method, path, raw=body, headers={"Content-Type": kind} if kind else {})
    assert a.type == "application/problem+json", (a.status, a.raw)
    p = a.json
    assert (a.status, p["status"], p["code"], p["type"]) == (status, status, code, f"hvapi:{code}"), p
    assert word in p["detail"], p
    assert p["title"] and len(p["remedy"]) > 10, p
    if status == 405:
        assert a.headers["Allow"] == "GET, POST"
    assert [v["name"] for v in host.get("/v1/vms")["vms"]] == ["web0"]


def test_neighbours_down(fresh):
    """hvtls is gone: what needs it says so, the rest works."""
    fresh.start()
    fresh.hvtls.server.close()
    until(lambda: fresh.ask("GET", "/v1/peers").status == 502, "hvtls to be missed")
    p = fresh.ask("GET", "/v1/certs").json
    assert "hvtls" in p["detail"] and p["remedy"]
    assert fresh.get("/v1/host")["name"] == "hv1"


def test_broken_http(fresh):
    host = fresh.start("--idle-timeout", "1s")
    for junk in (b"\0\0\0\0\r\n\r\n", b"GET /v1/host\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
                 b"GET /v1/host HTTP/1.1\r\n" + b"X: " + b"y" * 100000 + b"\r\n\r\n",
                 b"POST /v1/vms HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n"):
        s = host.connect()
        try:
            s.sendall(junk)
            s.shutdown(1)
            while s.recv(65536):
                pass
        except OSError:
            pass
        s.close()
    assert host.get("/v1/host")["name"] == "hv1"

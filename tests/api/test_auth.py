# SPDX-License-Identifier: Apache-2.0
"""Roles: who may do what, and what others learn."""
import socket

import pytest

import ctl
from world import VM

RANK = {"viewer": 1, "operator": 2, "admin": 3}


def operations(world):
    for path, methods in world.get("/v1/openapi.json")["paths"].items():
        for method, op in methods.items():
            yield method.upper(), path, op["x-hvapi-role"]


def test_every_route_by_every_role(world):
    """The document says which role; nobody below it gets anything but 403, whatever the name in the path."""
    world.define()
    seen = 0
    for method, path, least in operations(world):
        for role in ("viewer", "operator"):
            for name in ("web1", "no-such"):
                if RANK[role] >= RANK[least]:
                    continue
                a = world.ask(method, path.replace("{name}", name).replace("{id}", "1"), role=role)
                assert (a.status, a.json["detail"]) == (403, "not allowed"), (method, path, role)
                seen += 1
    assert seen > 40
    assert world.state() == "stopped"


@pytest.mark.parametrize("role", ["peer", "none", "nonsense"])
def test_without_a_role(world, role):
    """Another host's key, or an unknown role: not even whether a path exists."""
    bodies = {world.ask(m, p, role=role).raw
              for m, p in (("GET", "/v1/host"), ("GET", "/v1/nope"), ("PUT", "/v1/vms"), ("GET", "/metrics"),
                           ("GET", "/v1/vms/../.."), ("DELETE", "/v1/vms/web1"))}
    assert len(bodies) == 1 and b"not allowed" in bodies.pop()


def test_roles_in_order(world):
    assert world.ask("POST", "/v1/vms", VM, role="viewer").status == 403
    assert world.ask("POST", "/v1/vms", VM, role="operator").status == 201
    assert world.get("/v1/vms/web1", role="viewer")["name"] == "web1"
    assert world.ask("POST", "/v1/host/pairing-codes", {"role": "admin"}, role="operator").status == 403
    assert world.ask("POST", "/v1/host/pairing-codes", {"role": "admin"}, role="admin").status == 201
    job = world.post("/v1/vms/web1/start", role="operator")["job"]
    assert job["who"] == "someone"


def test_role_belongs_to_the_connection(world):
    """Two connections open at once, the later one with more rights."""
    low, high = world.connect("viewer"), world.connect("admin")
    request = b"DELETE /v1/peers/laptop HTTP/1.1\r\nHost: x\r\n\r\n"
    for sock, want in ((low, b"HTTP/1.1 403"), (high, b"HTTP/1.1 204"), (low, b"HTTP/1.1 403")):
        sock.sendall(request)
        assert sock.recv(65536).startswith(want)
        if want.endswith(b"403"):
            low = sock
    low.close()
    high.close()


def test_connections_end_with_the_trust(world):
    """Removed while connected: the kept connection and the stream are cut, others stay."""
    world.hvtls.pins.append({"name": "someone", "fingerprint": "00" * 32, "role": "operator", "address": ""})
    kept, stream = world.connect("operator"), world.connect("operator")
    kept.sendall(b"GET /v1/host HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"200 OK" in kept.recv(65536)
    stream.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
    assert b"200 OK" in stream.recv(65536)
    admin = world.connect("admin")      # he removes himself: gets his answer, and no more
    admin.sendall(b"DELETE /v1/peers/someone HTTP/1.1\r\nHost: x\r\n\r\n")
    assert admin.recv(65536).startswith(b"HTTP/1.1 204")
    assert admin.recv(65536) == b""
    admin.close()
    for s in (kept, stream):
        while s.recv(65536):
            pass
        s.close()
    assert world.get("/v1/host")["name"] == "hv1"


def test_body_of_who_may_not_is_not_read(world):
    s = world.connect("viewer")
    s.sendall(b"PUT /v1/boot-files/k HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
              b"Content-Length: 100000000\r\n\r\n")
    assert s.recv(65536).startswith(b"HTTP/1.1 403")
    s.close()


def test_accept_of_other_services(world):
    ours, theirs = socket.socketpair()
    with pytest.raises(ctl.CtlError, match="hv-nonsense"):
        world.accept(theirs, "admin", "hv-nonsense/1")
    assert ours.recv(1) == b"", "the descriptor must be closed"
    ours, theirs = socket.socketpair()
    with pytest.raises(ctl.CtlError, match="denied"):
        world.accept(theirs, "admin", "hv-migrate/1")
    assert ours.recv(1) == b""
    assert "link.refused" in world.events()
    assert not world.hvinit.units

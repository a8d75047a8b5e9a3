# SPDX-License-Identifier: Apache-2.0
"""Over the network: the CLI, hvtls and hvapid are all the real ones."""
import json
import os
import subprocess

import pytest

import ctl
from conftest import Cli
from world import BUILD, World, until

HVTLS = BUILD / "bin/hvtls"


class Host(World):
    """A host whose hvtls is real."""

    def __init__(self):
        super().__init__()
        self.hvtls.server.close()
        self.tls = subprocess.Popen([HVTLS, "--run", self.run, "--data", self.data, "--listen", "127.0.0.1:0",
                                     "--name", "hv1", "--allow-uid", str(os.getuid())], stderr=subprocess.PIPE)
        sock = f"{self.run}/hvtls.sock"
        until(lambda: os.path.exists(sock), "hvtls to listen")
        self.address = self.control("identity")["listen"][0]
        self.hvtls.server.subscribed.append(None)       # what start() waits for is asked of the real one

    def control(self, verb, **args):
        return ctl.call(f"{self.run}/hvtls.sock", verb, args)

    def code(self, role="admin"):
        return self.control("pair-code", role=role, ttl_s=600)["code"]

    def close(self):
        try:
            super().close()
        finally:
            self.tls.terminate()
            err = self.tls.communicate(timeout=20)[1].decode()
        assert self.tls.returncode == 0, err


@pytest.fixture
def host():
    if not HVTLS.exists():
        pytest.skip(f"{HVTLS} is not built")
    h = Host()
    h.start()
    yield h
    h.close()


@pytest.fixture
def op(host):
    c = Cli()
    yield c
    c.close()


def enroll(host, op, role="admin"):
    return op.run("host", "enroll", host.address, "--code", host.code(role))


def test_enroll_and_use(host, op):
    out, _err = enroll(host, op)
    assert out == "enrolled with hv1 as admin\n"
    with open(f"{op.dir}/hosts.json") as f:
        known = json.load(f)
    assert known["default"] == "hv1" and known["hosts"]["hv1"]["fingerprint"] == host.control("identity")["fingerprint"]
    assert os.stat(f"{op.dir}/key.der").st_mode & 0o777 == 0o600
    host.define()
    assert "web1" in op.run("vm", "list")[0]
    op.run("vm", "start", "web1")
    assert host.get("/v1/vms/web1")["state"] == "running"
    peers = json.loads(op.run("host", "peers", "--json")[0])["peers"]
    assert [p["role"] for p in peers] == ["admin"]


def test_console_over_tls(host, op):
    enroll(host, op)
    host.define()
    host.run_vm()
    domd = host.unit("domd/web1")
    p = op.start("vm", "console", "web1", stdin=subprocess.PIPE)
    domd.console.settimeout(10)
    domd.console.sendall(b"login: ")
    assert os.read(p.stdout.fileno(), 100) == b"login: "
    big = b"0123456789abcdef" * 20000
    p.stdin.write(big)
    p.stdin.close()
    p.stdin = None
    got = b""
    while len(got) < len(big):
        got += domd.console.recv(65536)
    assert got == big
    op.end(p)


def test_wrong_code(host, op):
    host.code()
    _out, err = op.run("host", "enroll", host.address, "--code", "-".join(["00000"] * 5), rc=8)
    assert "code" in err
    assert not os.path.exists(f"{op.dir}/hosts.json")
    op.run("vm", "list", rc=3)


def test_code_is_used_up(host, op):
    code = host.code()
    op.run("host", "enroll", host.address, "--code", code)
    other = Cli()
    try:
        other.run("host", "enroll", host.address, "--code", code, rc=8)
    finally:
        other.close()


def test_another_key_answers(host, op):
    enroll(host, op)
    path = f"{op.dir}/hosts.json"
    with open(path) as f:
        known = json.load(f)
    known["hosts"]["hv1"]["fingerprint"] = "ab" * 32
    with open(path, "w") as f:
        json.dump(known, f)
    _out, err = op.run("vm", "list", rc=7)
    assert "another key" in err and "hv1" in err


def test_no_longer_trusted(host, op):
    enroll(host, op, "viewer")
    op.run("vm", "list")
    name = host.control("pins")["pins"][0]["name"]
    host.control("unpin", name=name)
    op.run("vm", "list", rc=8)


def test_roles(host, op):
    enroll(host, op, "viewer")
    op.run("vm", "list")
    _out, err = op.run("cert", "renew", rc=8)
    assert "not allowed" in err


def test_nobody_listens(op, host):
    enroll(host, op)
    host.tls.terminate()
    host.tls.wait(20)
    _out, err = op.run("vm", "list", rc=14)
    assert host.address in err

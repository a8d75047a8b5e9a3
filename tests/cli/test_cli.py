# SPDX-License-Identifier: Apache-2.0
"""Commands against a host: what they do, print and end with."""
import json
import os
import re
import subprocess

import pytest

from fakes import UUID
from world import VM, until

CFG = """name = "web9"
type = "pvh"
memory = 128
kernel = "/data/boot/vmlinuz"
disk = [ "/dev/disk/by-id/virtio-lun0,raw,xvda,rw" ]
"""


@pytest.fixture
def running(world):
    world.define()
    world.run_vm()
    return world


def write(cli, name, text):
    path = f"{cli.dir}/{name}"
    with open(path, "w") as f:
        f.write(text)
    return path


def commands(cli):
    """The names that `hvapi --help` lists."""
    names = re.findall(r"^  ([a-z]+(?: [a-z-]+)?)(?: [A-Z\[].*?)?  ", cli.run("--help")[0], re.M)
    assert "vm list" in names and "migrate" in names and "events" in names
    return set(names)


def moving(world, cli, *options):
    """A move that the CLI watches: (the process, the fake hvmigrate, the job's id)."""
    p = cli.start("migrate", "web1", "--to", "hv2", *options)
    m = world.unit("migrate/")
    return p, m, world.get("/v1/jobs?state=active")["jobs"][0]["id"]


def moved(world, m):
    domd = world.unit("domd/web1")
    domd.record("away", {"session": m.session}, peer="hv2")
    domd.enter("none")
    m.report("moved", downtime_ms=120, rounds=4, total_ms=900)
    world.hvinit.end("domd/web1")


def test_every_command(world, cli):
    """Each one there is, in an order in which all can be done."""
    write(cli, "hosts.json", json.dumps({"hosts": {"hv7": {"address": "127.0.0.1:1", "fingerprint": "aa" * 32}}}))
    for line in ("host show", "host peers", "host code --role operator", "host pair 10.0.0.3:8443 --code right",
                 "host unpair hv3", "host list", "host use hv7", "host forget hv7", "host units", "cert list",
                 "cert renew", f"file put {write(cli, 'vmlinuz', 'kernel')}",
                 f"file put {write(cli, 'k', 'x')} spare", "file list", "file remove spare",
                 f"vm define {write(cli, 'vm.json', json.dumps(VM))}", "vm list --all", "vm set web1 --autostart on",
                 "vm start web1", "vm show web1", "vm pause web1", "vm resume web1", "vm reboot web1",
                 "vm shutdown web1", "vm console web1", "vm save web1", "vm restore web1", "job list", "job show 1",
                 "job watch 1", "events", "metrics", "openapi", "completion", "man"):
        out, err = cli.run(*line.split())
        assert out or line == "vm console web1", line
        assert not err or line.startswith(("vm start", "vm save", "vm restore", "job watch")), (line, err)
    check = cli.start("migrate", "check", "web1", "--to", "hv2")
    world.unit("migrate/").report("checked")
    assert cli.end(check)[0] == "web1 can move to hv2\n"
    p, _m, ident = moving(world, cli)
    cli.run("job", "cancel", ident)
    cli.end(p, 16)
    cli.run("migrate", "resolve", "web1", rc=5)
    cli.run("vm", "stop", "web1")
    until(lambda: not world.hvinit.units, "all units to end")
    cli.run("vm", "undefine", "web1")
    cli.run("host", "kill-unit", "no-such", rc=3)
    cli.run("host", "enroll", "127.0.0.1:1", "--code", "-".join(["00000"] * 5), rc=14)
    cli.run("host", "shutdown", "--reboot")
    assert world.hvinit.server.called("shutdown") == [{"mode": "reboot", "guests": "shutdown"}]
    assert commands(cli) - cli.ran == set(), "commands that no test runs"


def rows(text):
    return [re.split(r"\s{2,}", line) for line in text.splitlines()]


def test_tables_and_json(running, cli):
    head, row = rows(cli.run("vm", "list")[0])
    assert head == ["NAME", "STATE", "TYPE", "VCPUS", "MEMORY", "GENERATION", "AUTOSTART", "UUID"]
    assert row == ["web1", "running", "pvh", "1", "128.0 MiB", "1", "no", UUID]
    assert json.loads(cli.run("vm", "list", "--json")[0]) == running.get("/v1/vms")
    assert json.loads(cli.run("--json", "vm", "show", "web1")[0]) == running.get("/v1/vms/web1")
    shown = dict(r for r in rows(cli.run("vm", "show", "web1")[0]) if len(r) == 2)
    assert (shown["State"], shown["Memory"], shown["Other host"]) == ("running", "128.0 MiB", "-")
    peers = rows(cli.run("host", "peers")[0])
    assert peers[1] == ["hv2", "peer", "10.0.0.2:8443", "ab" * 8]
    jobs = rows(cli.run("job", "list")[0])
    assert jobs[1][1:4] == ["start", "web1", "done"] and jobs[1][5] == "root"
    assert json.loads(cli.run("job", "show", "1")[0])["id"] == "1"
    for words in ("host show", "host peers", "cert list", "file list", "events", "job list", "vm pause web1",
                  "job watch 1", "host code"):
        assert isinstance(json.loads(cli.run(*words.split(), "--json")[0]), dict), words
    assert cli.run("vm", "list")[0].count("\n") == 2
    assert rows(cli.run("cert", "list")[0])[1][:2] == ["hv1", "(this host)"]


def test_control_characters_do_not_reach_the_terminal(world, cli):
    world.hvtls.pins.append({"name": "e\033[2J\u009b1m\u00e9", "fingerprint": "00" * 32, "role": "peer",
                             "address": "a\tb", "not_after_ms": 1})
    out = cli.run("host", "peers")[0]
    assert "e?[2J?1m\u00e9" in out and "a?b" in out and "\033" not in out


def test_define_from_xl_cfg(world, cli):
    assert cli.run("vm", "define", write(cli, "web9.cfg", CFG))[0] == "web9 defined\n"
    assert world.get("/v1/vms/web9")["config"]["kernel"] == "vmlinuz"
    _out, err = cli.run("vm", "define", write(cli, "bad.cfg", CFG + "vnc = 1\n"), rc=2)
    assert "vnc" in err
    cli.run("vm", "define", f"{cli.dir}/no-such.cfg", rc=3)
    assert cli.run("vm", "set", "web9", "--autostart", "on")[0] == "web9: autostart on\n"
    assert world.get("/v1/vms/web9")["autostart"] is True


@pytest.mark.parametrize("words, rc, name", [
    ("vm show no-such", 3, "not-found"),
    ("vm define {vm}", 4, "exists"),
    ("vm start web1", 5, "state"),
    ("file remove vmlinuz", 6, "busy"),
    ("host pair 10.0.0.3:8443 --code wrong", 8, "denied"),
    ("migrate web1 --to laptop", 7, "refused"),
    ("migrate web1 --to nowhere", 3, "not-found"),
    ("migrate web1 --to hv2 --max-rounds 99999999", 2, "usage"),
    ("migrate web1 --to hv2 --on-stall cry", 2, "usage"),
    ("job cancel 1", 5, "state"),
    ("job watch 77", 3, "not-found"),
    ("vm show ../../host", 3, "not-found"),
])
def test_exit_statuses(running, cli, words, rc, name):
    cli.run("file", "put", write(cli, "vmlinuz", "kernel"))
    argv = words.replace("{vm}", write(cli, "vm.json", json.dumps(VM))).split()
    out, err = cli.run(*argv, rc=rc)
    assert out == "" and err.startswith(f"hvapi: {name}: "), err
    told = json.loads(cli.run("--json", *argv, rc=rc)[1])
    assert told["code"] == name and told["detail"]


def test_failed_job(world, cli):
    world.define()
    world.create_fails = True
    _out, err = cli.run("vm", "start", "web1", rc=11)
    assert "hvapi: no-space: not enough memory for the guest\n  -> stop another guest\n" in err
    assert json.loads(cli.run("vm", "start", "web1", "--json", rc=11)[1])["code"] == "no-space"


def test_host_not_there(world, cli):
    world.end_hvapid()
    _out, err = cli.run("vm", "list", rc=14)
    assert "hvapid" in err
    cli.env["HVAPI_SOCKET"] = f"{cli.dir}/no-such"
    _out, err = cli.run("vm", "list", rc=14)
    assert f"{cli.dir}/no-such" in err
    world.start()


PROBLEMS = [{"code": "memory-short", "detail": "hv2 has 64 MiB", "remedy": "stop a guest there", "severity": "error"},
            {"code": "boot-file-missing", "detail": "no vmlinuz", "remedy": "send it", "severity": "warning"}]


def test_problems_are_numbered(running, cli):
    p = cli.start("migrate", "check", "web1", "--to", "hv2")
    running.unit("migrate/").report("aborted", {"code": "refused", "detail": "no", "remedy": ""}, PROBLEMS)
    out, err = cli.end(p, 7)
    want = ("  1. memory-short [error]: hv2 has 64 MiB\n     -> stop a guest there\n"
            "  2. boot-file-missing [warning]: no vmlinuz\n     -> send it\n")
    assert out == want and "cannot move to hv2" in err
    p, m, _ident = moving(running, cli)
    m.report("aborted", {"code": "refused", "detail": "hv2 refuses", "remedy": ""}, PROBLEMS)
    out, err = cli.end(p, 7)
    assert err.endswith("hvapi: refused: hv2 refuses\n" + want), err
    p, m, _ident = moving(running, cli, "--json")
    m.report("aborted", {"code": "refused", "detail": "hv2 refuses", "remedy": ""}, PROBLEMS)
    assert json.loads(cli.end(p, 7)[1])["problems"] == PROBLEMS
    p = cli.start("migrate", "check", "web1", "--to", "hv2", "--json")
    running.unit("migrate/").report("checked", problems=PROBLEMS[1:])
    assert json.loads(cli.end(p)[0]) == {"ok": True, "problems": PROBLEMS[1:]}


def test_a_move_is_watched(running, cli):
    p, m, ident = moving(running, cli, "--max-downtime", "150ms", "--max-rounds", "9", "--on-stall", "abort",
                         "--compress", "zlib")
    want = {"max_downtime_ms": 150, "max_rounds": 9, "on_stall": "abort", "compress": "zlib"}
    assert {k: m.spec[k] for k in want} == want
    for s in ({"state": "hello", "round": 0, "left_pages": 0, "predicted_downtime_ms": 0},
              {"state": "precopy", "round": 1, "left_pages": 4000, "predicted_downtime_ms": 900},
              {"state": "precopy", "round": 1, "left_pages": 4000, "other": 1},
              {"round": 2, "left_pages": 40, "rate_bytes_s": 3 << 20, "predicted_downtime_ms": 80,
               "throttle_percent": 20}):
        m.progress(**s)
        until(lambda: s.items() <= running.job(ident)["progress"].items(), f"progress {s}")
    moved(running, m)
    out, err = cli.end(p)
    lines = [line.removeprefix("migrate web1: ") for line in err.splitlines()]
    assert "hello" in lines and lines.count("precopy  round 1  4000 pages left  predicted downtime 900 ms") == 1
    assert "precopy  round 2  40 pages left  3.0 MiB/s  predicted downtime 80 ms  throttled to 20 %" in lines
    assert "round 0" not in err
    assert out.startswith("migrate web1: done\n") and "downtime         120 ms" in out


def test_watch_outlives_hvapid(running, cli):
    p, m, ident = moving(running, cli)
    m.progress(state="precopy", round=1)
    until(lambda: b"round 1" in p.stderr.readline(), "the watcher to see round 1")
    running.restart()
    m.progress(state="precopy", round=2)
    until(lambda: b"round 2" in p.stderr.readline(), "the watcher to see round 2")
    moved(running, m)
    assert cli.end(p)[0].startswith("migrate web1: done\n")


def test_no_wait_watch_and_cancel(running, cli):
    out, err = cli.run("migrate", "web1", "--to", "hv2", "--max-downtime", "0", "--no-wait")
    ident = re.fullmatch(r"job (\d+) started\n", out).group(1)
    assert err == "" and running.job(ident)["state"] in ("queued", "running")
    assert running.unit("migrate/").spec["max_downtime_ms"] == 0, "0 is a value, not the default"
    watch = cli.start("job", "watch", ident)
    assert watch.stderr.readline().startswith(b"migrate web1: ")
    out, _err = cli.run("job", "cancel", ident)
    assert out == f"job {ident}: cancelled\n"
    _out, err = cli.end(watch, 16)
    assert "hvapi: cancelled: " in err
    running.wait_state("running")


def test_in_doubt(running, cli):
    p, m, ident = moving(running, cli)
    running.unit("domd/web1").record("in-doubt", {"session": m.session}, peer="hv2")
    running.unit("domd/web1").enter("in-doubt")
    m.doubt()
    _out, err = cli.end(p, 18)
    assert "hvapi: in-doubt: " in err and "  -> " in err
    _out, err = cli.run("migrate", "resolve", "web1", "--outcome", "here", rc=7)
    assert "accept" in err
    moved(running, m)
    running.wait_job(ident)


def test_events_follow(world, cli):
    world.define()
    plain, as_json = cli.start("events", "--follow"), cli.start("events", "--follow", "--json", "--vm", "web1")
    try:
        until(lambda: b"vm.defined  web1" in plain.stdout.readline(), "what was there before")
        assert json.loads(as_json.stdout.readline())["type"] == "vm.defined"
        world.post("/v1/certs/renew")
        assert b"cert.renewed" in plain.stdout.readline()
        world.run_vm()
        assert json.loads(as_json.stdout.readline())["vm"] == "web1"
    finally:
        for p in (plain, as_json):
            p.terminate()
            p.communicate()
    assert [r[1] for r in rows(cli.run("events", "--limit", "1", "--vm", "web1")[0])][0] == "TYPE"


def test_console_echo(running, cli):
    domd = running.unit("domd/web1")
    p = cli.start("vm", "console", "web1", stdin=subprocess.PIPE)
    domd.console.settimeout(10)
    domd.console.sendall(b"login: ")
    assert os.read(p.stdout.fileno(), 100) == b"login: "
    big = bytes(b for b in range(256) if b != 0x1d) * 1000
    p.stdin.write(b"root\n")
    p.stdin.flush()
    assert domd.console.recv(100) == b"root\n"
    p.stdin.write(big + b"\x1dnot sent")
    p.stdin.close()
    p.stdin = None
    got = b""
    while len(got) < len(big):
        got += domd.console.recv(65536)
    assert got == big
    cli.end(p)
    until(lambda: "left the console" in running.log_text(), "the console to be left")
    assert running.state() == "running"


def test_console_of_a_stopped_guest(world, cli):
    world.define()
    assert "stopped" in cli.run("vm", "console", "web1", rc=5)[1]


def test_upload(world, cli):
    data = os.urandom(3 << 20)
    path = f"{cli.dir}/initrd"
    with open(path, "wb") as f:
        f.write(data)
    assert cli.run("file", "put", path, "initrd.gz")[0] == "initrd.gz is on localhost\n"
    with open(f"{world.data}/boot/initrd.gz", "rb") as f:
        assert f.read() == data
    assert rows(cli.run("file", "list")[0])[1][:2] == ["initrd.gz", "3.0 MiB"]
    cli.run("file", "put", "/dev/null", rc=2)


def test_output_that_cannot_be_written(world, cli):
    with open("/dev/full", "w") as full:
        p = subprocess.run([*cli.start("man").args[:1], "vm", "list"], env=cli.env, stdout=full, stderr=subprocess.PIPE,
                           timeout=30, check=False)
    assert p.returncode == 11 and b"write the output" in p.stderr


def test_openapi_and_metrics(world, cli):
    assert "/v1/vms" in json.loads(cli.run("openapi")[0])["paths"]
    assert cli.run("metrics")[0].rstrip().endswith("# EOF")

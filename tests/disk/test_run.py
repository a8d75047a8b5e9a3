# SPDX-License-Identifier: Apache-2.0
"""`hvblkd run`: the daemon of a VM by its control socket: attach by descriptor, exports, barrier, resize, errors."""
import os
import shutil
import socket
import threading

import pytest

from hvblkd_ctl import Consumer, Ctl, CtlError, Daemon, Writer
from nbd_client import FLUSH, WRITE, Client
from test_feed import in_step
from test_nbd import HVBLKD, run, tool

MIB = 1 << 20
ENOSPC = 28

pytestmark = pytest.mark.skipif(not HVBLKD.exists(), reason=f"{HVBLKD} is not built: make")


@pytest.fixture
def daemon(tmp_path):
    d = Daemon(HVBLKD, tmp_path)
    yield d
    if d.p.poll() is None:
        rc = d.stop()
        assert rc == 0, d.log.decode()


def raw(d, name, mib=8):
    path = d.d / name
    with open(path, "wb") as f:
        f.truncate(mib * MIB)
    return path


def refused(code, fn, *args, **kw):
    with pytest.raises(CtlError) as e:
        fn(*args, **kw)
    assert e.value.error["code"] == code, e.value.error
    return e.value.error


def test_attach_export_detach(daemon):
    image = raw(daemon, "a")
    got = daemon.attach("xvda", image)
    assert (got["format"], got["bytes"], got["sector_bytes"], got["state"]) == ("raw", 8 * MIB, 512, "running")
    c = Client(daemon.export("xvda"), "xvda")
    c.write(MIB, b"a" * 4096)
    ro = Client(daemon.export("xvda", read_only=True))
    assert ro.read(MIB, 4096) == b"a" * 4096
    assert ro.ask(WRITE, 0, payload=b"b" * 512)[0] == 1
    st = daemon.disk("xvda")
    assert (st["writes"], st["written_bytes"], st["fronts"], st["in_flight"]) == (1, 4096, ["nbd", "nbd"], 0)
    daemon.ctl.ask("detach", disk="xvda")
    assert c.gone() and ro.gone()
    assert daemon.ctl.ask("stats")["disks"] == []
    assert image.read_bytes()[MIB:MIB + 4096] == b"a" * 4096
    daemon.attach("xvda", image, read_only=True)
    assert daemon.disk("xvda")["read_only"]


def test_vhdx_chain(daemon):
    tool("qemu-img")
    for fmt, qemu in (("vhd", "vpc"), ("vhdx", "vhdx")):
        image = daemon.d / f"x.{fmt}"
        run("qemu-img", "create", "-f", qemu, *(["-o", "force_size=on"] if fmt == "vhd" else []), image, "16M")
        got = daemon.attach(fmt, image, fmt=fmt)
        assert (got["format"], got["kind"], got["bytes"]) == (fmt, "dynamic", 16 * MIB)
        c = Client(daemon.export(fmt))
        c.write(5 * MIB, b"q" * MIB)
        assert c.ask(FLUSH)[0] == 0
        daemon.ctl.ask("detach", disk=fmt)
        out = daemon.d / "out.raw"
        run("qemu-img", "convert", "-f", qemu, "-O", "raw", image, out)
        assert out.read_bytes()[5 * MIB:6 * MIB] == b"q" * MIB


def test_bad_requests(daemon):
    image = raw(daemon, "a")
    ask = daemon.ctl.ask
    daemon.attach("xvda", image)
    refused("exists", daemon.attach, "xvda", image)
    refused("exists", daemon.attach, "xvdb", image, key="xvda")
    refused("usage", daemon.attach, "no/name", image)
    refused("usage", daemon.attach, "xvdb", image, fmt="qcow2")
    refused("usage", daemon.attach, "xvdb", image, on_io_error="ignore")
    refused("usage", daemon.attach, "xvdb", image, limits={"iops": -1})
    refused("limit", ask, "attach", disk="xvdb", parts=[])
    assert "descriptor" in refused("usage", ask, "attach", disk="xvdb", parts=[{"format": "raw"}])["detail"]
    refused("corrupt", daemon.attach, "xvdb", image, fmt="vhdx")
    fd = os.open(image, os.O_RDONLY)
    refused("refused", ask, "attach", [fd], disk="xvdb", parts=[{"format": "raw"}])
    refused("usage", ask, "export-nbd", [fd], disk="xvda")
    refused("usage", ask, "export-nbd", disk="xvda")
    os.close(fd)
    refused("not-found", ask, "detach", disk="xvdb")
    refused("usage", ask, "resize", disk="xvda", bytes=MIB)
    refused("usage", ask, "resize", disk="xvda", bytes="big")
    refused("usage", ask, "barrier", disk="xvda")
    refused("state", ask, "mirror-cancel", disk="xvda")
    fds = len(os.listdir(f"/proc/{daemon.p.pid}/fd"))
    for _ in range(20):
        refused("corrupt", daemon.attach, "xvdb", image, fmt="vhdx")
    assert len(os.listdir(f"/proc/{daemon.p.pid}/fd")) <= fds


def test_barrier_under_load(daemon):
    for name in ("xvda", "xvdb"):
        daemon.attach(name, raw(daemon, name))
    writers = [Writer(Client(daemon.export(n)), 8 * MIB, i, flush_every=20) for i, n in enumerate(("xvda", "xvdb"), 1)]
    assert daemon.ctl.ask("barrier")["position"] == 0      # no feed yet
    daemon.ctl.ask("feed")
    for w in writers:
        w.start()
    positions, stalls = [], []
    for _ in range(20):
        got = daemon.ctl.ask("barrier")
        positions.append(got["position"])
        stalls.append(got["stall_us"])
    for w in writers:
        w.stop()
    assert positions == sorted(positions) and positions[0] < positions[-1]
    assert sorted(stalls)[10] < 100000
    daemon.ctl.ask("flush")
    for n, w in zip(("xvda", "xvdb"), writers):
        daemon.ctl.ask("flush", disk=n)
        daemon.ctl.ask("detach", disk=n)
        assert (daemon.d / n).read_bytes() == w.model


def test_resize(daemon):
    daemon.attach("xvda", raw(daemon, "a"))
    daemon.ctl.ask("feed")
    assert daemon.ctl.ask("resize", disk="xvda", bytes=12 * MIB) == {"bytes": 12 * MIB}
    assert daemon.ctl.wait_event(lambda e: e["event"] == "resized")["bytes"] == 12 * MIB
    c = Client(daemon.export("xvda"))
    assert c.size == 12 * MIB
    c.write(11 * MIB, b"n" * 512)
    assert (daemon.d / "a").stat().st_size == 12 * MIB
    refused("limit", daemon.ctl.ask, "resize", disk="xvda", bytes=1 << 40)


def test_limits(daemon):
    daemon.attach("xvda", raw(daemon, "a"), limits={"iops": 100, "burst_ms": 10})
    c = Client(daemon.export("xvda"))
    for i in range(20):
        c.write(i * 4096, b"l" * 4096)
    assert daemon.disk("xvda")["throttled"] > 5
    assert daemon.disk("xvda")["limits"]["iops"] == 100
    before = daemon.disk("xvda")["throttled"]
    daemon.ctl.ask("set-limits", disk="xvda", limits={})
    for i in range(50):
        c.write(i * 4096, b"l" * 4096)
    assert daemon.disk("xvda")["throttled"] <= before + 1


@pytest.fixture
def full(tmp_path):
    """(folder on a file system of 4 MiB, function that makes room)."""
    d = tmp_path / "small"
    d.mkdir()
    if os.getuid() or os.system(f"mount -t tmpfs -o size=4m none {d} 2>/dev/null"):
        pytest.skip("needs to mount a tmpfs")
    yield d, lambda: os.system(f"mount -o remount,size=16m {d}")
    os.system(f"umount -l {d}")


def test_no_space_reported(daemon, full):
    d, _ = full
    with open(d / "a", "wb") as f:
        f.truncate(8 * MIB)
    daemon.attach("xvda", d / "a")
    c = Client(daemon.export("xvda"))
    errors = [c.ask(WRITE, i * MIB, payload=b"x" * MIB)[0] for i in range(8)]
    assert errors[0] == 0 and errors[-1] == ENOSPC
    e = daemon.ctl.wait_event(lambda e: e["event"] == "io-error")
    assert (e["disk"], e["op"], e["error"], e["action"]) == ("xvda", "write", "no-space", "report")


def test_no_space_pauses(daemon, full):
    d, make_room = full
    with open(d / "a", "wb") as f:
        f.truncate(8 * MIB)
    daemon.attach("xvda", d / "a", on_io_error="pause")
    c = Client(daemon.export("xvda"))
    got = []

    def write_all():
        got.extend(c.ask(WRITE, i * MIB, payload=b"x" * MIB)[0] for i in range(8))

    t = threading.Thread(target=write_all, daemon=True)
    t.start()
    daemon.ctl.wait_event(lambda e: e["event"] == "paused")
    assert daemon.disk("xvda")["state"] == "paused"
    refused("state", daemon.ctl.ask, "barrier")
    daemon.ctl.ask("resume", disk="xvda")           # there is no room yet
    daemon.ctl.wait_event(lambda e: e["event"] == "paused")
    make_room()
    daemon.ctl.ask("resume", disk="xvda")
    t.join(20)
    assert got == [0] * 8
    assert (d / "a").read_bytes() == b"x" * (8 * MIB)


def test_detach_of_a_paused_disk(daemon, full):
    d, _ = full
    with open(d / "a", "wb") as f:
        f.truncate(8 * MIB)
    daemon.attach("xvda", d / "a", on_io_error="pause")
    c = Client(daemon.export("xvda"))
    c.send(WRITE, 0, payload=b"x" * (6 * MIB))
    daemon.ctl.wait_event(lambda e: e["event"] == "paused")
    daemon.ctl.ask("detach", disk="xvda")
    assert daemon.ctl.ask("stats")["disks"] == []


def test_feed_over_lives(daemon):
    """Attached in another order after a kill, the same consumer goes on; with another set of disks he begins anew."""
    paths = {n: raw(daemon, n) for n in ("a", "b")}
    clients = {}

    def begin(names):
        for n in names:
            daemon.attach(n, paths[n])
        got = daemon.ctl.ask("feed")
        assert got["disks"] == list(names)
        for n in names:
            clients[n] = Client(daemon.export(n))

    def read(disk, off, n):
        return clients["ab"[disk]].read(off, n)

    begin("ab")
    c = Consumer(daemon.feed_path, "copy", read)
    c.ack(in_step(c))
    feed, position = c.info["feed"], c.barrier()["position"]
    c.ack(position)
    daemon.attach("c", raw(daemon, "c"))
    assert "copy" in refused("busy", daemon.ctl.ask, "feed")["detail"]      # not anew while he is attached
    daemon.ctl.ask("detach", disk="c")
    clients["b"].write(MIB, b"k" * 4096)
    daemon.kill()
    c.close()
    daemon.start()
    begin("ba")
    assert daemon.ctl.ask("feed")["feed"] == feed
    resumed = Consumer(daemon.feed_path, "copy", read, feed=feed, position=position)
    assert not resumed.info["full"]
    resumed.copies = c.copies
    in_step(resumed)
    assert resumed.copies == [clients[n].read(0, 8 * MIB) for n in "ab"]
    resumed.ctl.ask("detach", session=resumed.session)
    daemon.ctl.ask("detach", disk="b")
    begin_anew = daemon.ctl.ask("feed")
    assert begin_anew["disks"] == ["a"] and begin_anew["feed"] != feed


def test_feed_after_writes_begins_anew(daemon):
    """Writes that no tap saw: whoever knew the disk before must not trust the log."""
    image = raw(daemon, "a")
    daemon.attach("a", image)
    feed = daemon.ctl.ask("feed")["feed"]
    daemon.kill()
    daemon.start()
    daemon.attach("a", image)
    c = Client(daemon.export("a"))
    c.write(0, b"unseen!!" * 512)
    assert daemon.ctl.ask("feed")["feed"] != feed


def test_dirty_export(daemon):
    daemon.attach("a", raw(daemon, "a"))
    path = daemon.export("a", dirty="copy")
    daemon.ctl.ask("feed")
    out = tool("nbdinfo") and run("nbdinfo", "--map=hvapi:dirty", f"nbd+unix:///?socket={path}")
    assert out.split() == ["0", str(8 * MIB), "1"]


def test_strangers_are_refused(daemon):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(daemon.d / f"run/blkd/{daemon.vm}.sock"))
        s.sendall(b"\xff" * 64)
        try:
            assert s.recv(1) == b""
        except ConnectionResetError:
            pass
    assert Ctl(daemon.d / f"run/blkd/{daemon.vm}.sock").ask("stats")["vm"] == daemon.vm


def test_sandbox(daemon):
    if b"sanitizers" in daemon.log:
        pytest.skip("a build with sanitizers is not confined")
    status = (open(f"/proc/{daemon.p.pid}/status").read())
    assert "Seccomp:\t2" in status and "NoNewPrivs:\t1" in status


def test_ends_with_a_flush(daemon):
    daemon.attach("a", raw(daemon, "a"))
    c = Client(daemon.export("a"))
    c.write(0, b"end" * 512 + b"\0" * 512)
    assert daemon.stop() == 0
    assert (daemon.d / "a").read_bytes()[:3] == b"end"
    assert not list((daemon.d / "run").glob("*/*.sock"))
    shutil.rmtree(daemon.d / "run")

# SPDX-License-Identifier: Apache-2.0
"""`mirror` of `hvblkd run`: a disk goes to another image while it is written; nothing acknowledged is lost."""
import os
import subprocess
import threading
import time

import pytest

from hvblkd_ctl import Ctl, Writer
from nbd_client import TRIM, ZEROES, Client
from test_nbd import HVBLKD, make_image, run, tool
from test_run import MIB, daemon, full, raw, refused  # noqa: F401 (daemon, full: fixtures)

LOAD = HVBLKD.parent / "nbd-load"

pytestmark = pytest.mark.skipif(not HVBLKD.exists(), reason=f"{HVBLKD} is not built: make")


def content(d, sock, mib=8):
    return Client(sock).read(0, mib * MIB)


def test_idle_disk(daemon):  # noqa: F811
    a = make_image(daemon.d / "a", 8 * MIB)
    daemon.attach("xvda", a)
    b = raw(daemon, "b")
    note = daemon.mirror("xvda", b)
    end = daemon.mirror_end()
    assert (end["state"], end["round"], end["left_bytes"]) == ("switched", 1, 0)
    assert note.read_bytes() == b"switched\n"
    assert a.read_bytes() == b.read_bytes()
    c = Client(daemon.export("xvda"))
    c.write(0, b"after" * 1024 + b"\0" * 512 * 6)
    daemon.ctl.ask("detach", disk="xvda")
    assert b.read_bytes()[:5] == b"after" and a.read_bytes()[:5] != b"after"
    assert "mirror" not in daemon.ctl.ask("stats")


def test_garbage_in_the_target(daemon):  # noqa: F811
    a = raw(daemon, "a")
    daemon.attach("xvda", a)
    b = daemon.d / "b"
    b.write_bytes(os.urandom(8 * MIB))
    daemon.mirror("xvda", b)
    assert daemon.mirror_end()["state"] == "switched"
    assert b.read_bytes() == bytes(8 * MIB)


@pytest.mark.parametrize("place", ["file", "memory"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_busy_disk(daemon, place, seed):  # noqa: F811
    """The source holds exactly the writes before the switch, the target all of them; another disk is not disturbed."""
    a, other = raw(daemon, "a"), raw(daemon, "other")
    b = (daemon.d / "b") if place == "file" else f"/dev/shm/hvblkd-mirror-{os.getpid()}"
    try:
        with open(b, "wb") as f:
            f.truncate(8 * MIB)
        daemon.attach("xvda", a)
        daemon.attach("xvdb", other)
        daemon.ctl.ask("feed")
        w = [Writer(Client(daemon.export(n)), 8 * MIB, seed + i) for i, n in enumerate(("xvda", "xvdb"))]
        for x in w:
            x.start()
        time.sleep(0.1)
        daemon.mirror("xvda", b)
        assert daemon.mirror_end()["state"] == "switched"
        at = len(w[0].history)
        time.sleep(0.1)
        for x in w:
            x.stop()
        assert len(w[0].history) > at
        for n in ("xvda", "xvdb"):
            daemon.ctl.ask("detach", disk=n)
        with open(b, "rb") as f:
            assert f.read() == w[0].model
        assert other.read_bytes() == w[1].model
        k = w[0].prefix_of(a.read_bytes())
        assert k and k <= at
    finally:
        os.unlink(b)


def test_zeroes_and_trims(daemon):  # noqa: F811
    a = make_image(daemon.d / "a", 64 * MIB, holes=False)
    daemon.attach("xvda", a)
    c = Client(daemon.export("xvda"))
    daemon.mirror("xvda", raw(daemon, "b", 64), bytes_s=256 * MIB)
    for i in range(40):
        assert c.ask(ZEROES, i * MIB + 4096, 65536)[0] == 0
        assert c.ask(TRIM, i * MIB + 131072, 65536)[0] == 0
        c.write(i * MIB + 4096 + 512, b"w" * 512)
    assert daemon.mirror_end()["state"] == "switched"
    whole = b"".join(c.read(i * MIB, MIB) for i in range(64))
    daemon.ctl.ask("detach", disk="xvda")
    assert (daemon.d / "b").read_bytes() == whole
    assert whole[4096:5120] == bytes(512) + b"w" * 512


@pytest.mark.parametrize("fmt,qemu", [("vhdx", "vhdx"), ("vhd", "vpc")])
def test_to_another_format(daemon, fmt, qemu):  # noqa: F811
    tool("qemu-img")
    a = make_image(daemon.d / "a", 32 * MIB)
    b = daemon.d / f"b.{fmt}"
    run("qemu-img", "create", "-f", qemu, *(["-o", "force_size=on"] if fmt == "vhd" else []), b, "32M")
    daemon.attach("xvda", a)
    w = Writer(Client(daemon.export("xvda")), 32 * MIB, 7)
    w.model = bytearray(a.read_bytes())
    w.start()
    daemon.mirror("xvda", b, fmt=fmt)
    assert daemon.mirror_end()["state"] == "switched"
    assert daemon.disk("xvda")["format"] == fmt
    w.stop()
    daemon.ctl.ask("detach", disk="xvda")
    out = daemon.d / "out"
    run("qemu-img", "convert", "-f", qemu, "-O", "raw", b, out)
    assert out.read_bytes() == w.model
    if fmt == "vhdx":
        run("qemu-img", "check", "-f", qemu, b)


def test_hard_load(daemon):  # noqa: F811
    """Many writes in flight, a ring that overflows while the map is copied: rounds, then the switch."""
    if not LOAD.exists():
        pytest.skip(f"{LOAD} is not built: make bench-blk")
    daemon.attach("xvda", raw(daemon, "a", 64))
    daemon.ctl.ask("feed")
    sock = daemon.export("xvda")
    p = subprocess.Popen([LOAD, sock, "write", "rand", "4096", "32", "3"], stdout=subprocess.PIPE)
    b = raw(daemon, "b", 64)
    daemon.mirror("xvda", b, bytes_s=40 * MIB)
    out = p.communicate(timeout=60)[0].decode()
    assert p.returncode == 0 and int(out.split()[1]) > 1000, out
    end = daemon.mirror_end()
    assert end["state"] == "switched" and end["round"] >= 2
    c = Client(sock)
    assert (daemon.d / "b").read_bytes() == b"".join(c.read(i * MIB, MIB) for i in range(64))


def test_writes_larger_than_the_ring(daemon):  # noqa: F811
    """They are never in it: the map alone has them, at the switch too."""
    a, b = raw(daemon, "a", 64), raw(daemon, "b", 64)
    daemon.attach("xvda", a)
    sock = daemon.export("xvda")
    ending, count = threading.Event(), [0, 0]

    def write(k):
        c = Client(sock)
        while not ending.is_set():
            c.write(k * 32 * MIB, bytes([count[k] % 255 + 1]) * (20 * MIB))
            count[k] += 1

    threads = [threading.Thread(target=write, args=(k,), daemon=True) for k in range(2)]
    for t in threads:
        t.start()
    daemon.mirror("xvda", b)
    assert daemon.mirror_end()["state"] == "switched"
    at = list(count)
    while min(n - m for n, m in zip(count, at)) < 2:
        time.sleep(0.01)
    ending.set()
    for t in threads:
        t.join(20)
    daemon.ctl.ask("detach", disk="xvda")
    image = b.read_bytes()
    for k in range(2):
        part = image[k * 32 * MIB:][:20 * MIB]
        assert part == bytes([(count[k] - 1) % 255 + 1]) * (20 * MIB)
    assert len(set(a.read_bytes()[:20 * MIB])) == 1


def test_cancel(daemon):  # noqa: F811
    a = make_image(daemon.d / "a", 8 * MIB, holes=False)
    daemon.attach("xvda", a)
    w = Writer(Client(daemon.export("xvda")), 8 * MIB, 5)
    w.model = bytearray(a.read_bytes())
    w.start()
    note = daemon.mirror("xvda", raw(daemon, "b"), bytes_s=MIB)
    progress = daemon.ctl.wait_event(lambda e: e["event"] == "mirror" and e["copied_bytes"])
    assert progress["state"] == "copying" and 0 < progress["left_bytes"] < 8 * MIB
    refused("busy", daemon.mirror, "xvda", raw(daemon, "c"), note="note2")
    refused("busy", daemon.ctl.ask, "resize", disk="xvda", bytes=16 * MIB)
    fds = len(os.listdir(f"/proc/{daemon.p.pid}/fd"))
    daemon.ctl.ask("mirror-cancel", disk="xvda")
    assert daemon.mirror_end()["state"] == "cancelled"
    assert len(os.listdir(f"/proc/{daemon.p.pid}/fd")) < fds
    assert note.read_bytes() == b""
    refused("state", daemon.ctl.ask, "mirror-cancel", disk="xvda")
    assert Ctl(daemon.feed_path).ask("stats")["consumers"] == []
    w.stop()
    daemon.ctl.ask("detach", disk="xvda")
    assert a.read_bytes() == w.model
    daemon.attach("xvda", a)
    daemon.mirror("xvda", daemon.d / "b")       # and once more, to its end
    assert daemon.mirror_end()["state"] == "switched"
    assert (daemon.d / "b").read_bytes() == w.model


def test_target_is_full(daemon, full):  # noqa: F811
    d, _ = full
    a = make_image(daemon.d / "a", 8 * MIB, holes=False)
    daemon.attach("xvda", a, on_io_error="pause")
    w = Writer(Client(daemon.export("xvda")), 8 * MIB, 6)
    w.model = bytearray(a.read_bytes())
    w.start()
    with open(d / "b", "wb") as f:
        f.truncate(8 * MIB)
    note = daemon.mirror("xvda", d / "b")
    end = daemon.mirror_end()
    assert (end["state"], end["error"]["code"]) == ("failed", "no-space")
    assert note.read_bytes() == b""
    assert daemon.disk("xvda")["state"] == "running"
    w.stop()
    daemon.ctl.ask("detach", disk="xvda")
    assert a.read_bytes() == w.model


def test_note_cannot_be_written(daemon, full):  # noqa: F811
    d, _ = full
    a = make_image(daemon.d / "a", 8 * MIB)
    daemon.attach("xvda", a)
    with open(d / "fill", "wb") as f:
        try:
            f.write(bytes(8 * MIB))
        except OSError:
            pass
    note = daemon.mirror("xvda", raw(daemon, "b"), note="small/note")
    end = daemon.mirror_end()
    assert (end["state"], end["error"]["code"]) == ("failed", "no-space")
    assert note.read_bytes() == b""
    c = Client(daemon.export("xvda"))
    c.write(0, b"goes on!" * 64)
    daemon.ctl.ask("detach", disk="xvda")
    assert a.read_bytes()[:8] == b"goes on!"


def test_refusals(daemon):  # noqa: F811
    a = raw(daemon, "a")
    daemon.attach("xvda", a)
    daemon.attach("ro", raw(daemon, "r"), read_only=True)
    assert "own image" in refused("usage", daemon.mirror, "xvda", a)["detail"]
    assert "8388608" in refused("incompatible", daemon.mirror, "xvda", raw(daemon, "small", 4))["detail"]
    refused("refused", daemon.mirror, "ro", raw(daemon, "b"))
    refused("corrupt", daemon.mirror, "xvda", raw(daemon, "b"), fmt="vhdx")
    refused("not-found", daemon.mirror, "xvdz", raw(daemon, "b"))
    fd = os.open(daemon.d / "b", os.O_RDWR)
    assert "note" in refused("usage", daemon.ctl.ask, "mirror", [fd], disk="xvda", parts=[{"format": "raw"}])["detail"]
    os.close(fd)
    assert "mirror" not in daemon.ctl.ask("stats")


def test_rate_limit(daemon):  # noqa: F811
    daemon.attach("xvda", make_image(daemon.d / "a", 8 * MIB, holes=False))
    start = time.monotonic()
    daemon.mirror("xvda", raw(daemon, "b"), bytes_s=4 * MIB)
    assert daemon.mirror_end()["state"] == "switched"
    assert 1.5 < time.monotonic() - start < 10


@pytest.mark.parametrize("when", ["copying", "switched"])
def test_killed(daemon, when):  # noqa: F811
    """The note says which image is the disk; that one has every acknowledged write."""
    a, b = raw(daemon, "a"), raw(daemon, "b")
    daemon.attach("xvda", a)
    w = Writer(Client(daemon.export("xvda")), 8 * MIB, 8)
    w.start()
    note = daemon.mirror("xvda", b, **({"bytes_s": MIB} if when == "copying" else {}))
    if when == "copying":
        daemon.ctl.wait_event(lambda e: e["event"] == "mirror" and e["copied_bytes"])
    else:
        assert daemon.mirror_end()["state"] == "switched"
        at = w.writes
        while w.writes < at + 20:
            time.sleep(0.01)
    daemon.kill()
    w.ending.set()
    w.join(10)
    assert isinstance(w.error, (EOFError, OSError))
    assert note.read_bytes() == (b"switched\n" if when == "switched" else b"")
    image = (b if when == "switched" else a).read_bytes()
    # One write was in flight when it died: old, new, or in part.
    assert sum(image[i:i + 4096] != w.model[i:i + 4096] for i in range(0, 8 * MIB, 4096)) <= 8
    assert len(w.history) > 20
    daemon.start()
    daemon.attach("xvda", b if when == "switched" else a)
    daemon.ctl.ask("feed")
    assert Ctl(daemon.feed_path).ask("stats")["consumers"] == []


def test_detach_and_end_meanwhile(daemon):  # noqa: F811
    a = make_image(daemon.d / "a", 8 * MIB, holes=False)
    daemon.attach("xvda", a)
    daemon.mirror("xvda", raw(daemon, "b"), bytes_s=MIB)
    daemon.ctl.ask("detach", disk="xvda")
    assert daemon.mirror_end()["state"] == "cancelled"
    daemon.attach("xvda", a)
    daemon.mirror("xvda", daemon.d / "b", bytes_s=MIB)
    assert daemon.stop() == 0


def test_paused_source_can_be_cancelled(daemon, full):  # noqa: F811
    """No barrier comes while a write of the guest hangs; the mirror waits, and can be ended."""
    d, make_room = full
    with open(d / "a", "wb") as f:
        f.truncate(8 * MIB)
    daemon.attach("xvda", d / "a", on_io_error="pause")
    daemon.ctl.ask("feed")
    c = Client(daemon.export("xvda"))
    cookie = c.send(1, 0, payload=b"x" * (6 * MIB))
    daemon.ctl.wait_event(lambda e: e["event"] == "paused")
    daemon.mirror("xvda", raw(daemon, "b"))
    assert daemon.ctl.wait_event(lambda e: e["event"] == "mirror")["state"] == "copying"
    daemon.ctl.ask("mirror-cancel", disk="xvda")
    assert daemon.mirror_end()["state"] == "cancelled"
    daemon.mirror("xvda", daemon.d / "b")
    make_room()
    daemon.ctl.ask("resume", disk="xvda")
    assert daemon.mirror_end()["state"] == "switched"
    assert c.reply()[:2] == (cookie, 0)
    assert (daemon.d / "b").read_bytes()[:6 * MIB] == b"x" * (6 * MIB)

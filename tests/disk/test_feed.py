# SPDX-License-Identifier: Apache-2.0
"""`hvblkd serve --feed`: a consumer in another process gets every write, over a kill too; NBD shows what it lacks."""
import json
import os
import signal

import pytest

from hvblkd_ctl import Consumer, Ctl, CtlError, Writer
from nbd_client import TRIM, ZEROES, Client
from test_nbd import HVBLKD, run, serve, tool  # noqa: F401 (serve: the fixture)

MIB = 1 << 20
GRAIN = 1 << 16

pytestmark = pytest.mark.skipif(not HVBLKD.exists(), reason=f"{HVBLKD} is not built: make")


class Fed:
    """A server with a feed over two disks."""

    def __init__(self, serve, d):
        self.serve, self.d = serve, d
        for name in ("a", "b"):
            with open(d / name, "wb") as f:
                f.truncate(8 * MIB)
        self.start()

    def start(self):
        self.server = self.serve("--feed", self.d / "feed", "--log", self.d / "log", "--dirty", "copy",
                                 f"a={self.d / 'a'}", f"b={self.d / 'b'}")
        self.clients = [Client(self.server.sock, name) for name in ("a", "b")]

    def read(self, disk, off, n):
        return self.clients[disk].read(off, n)

    def consumer(self, **resume):
        return Consumer(self.d / "feed", "copy", self.read, **resume)

    def content(self):
        return [c.read(0, 8 * MIB) for c in self.clients]

    def kill(self):
        self.server.p.kill()
        self.server.p.wait()
        assert self.server.p.returncode == -signal.SIGKILL


@pytest.fixture
def fed(serve, tmp_path):  # noqa: F811
    return Fed(serve, tmp_path)


def in_step(c):
    """Reads map and ring until the copy is the disks' state at a barrier; that barrier's position."""
    cut = c.barrier()
    c.copy_map()
    for _ in range(100):
        last, cut = cut, c.barrier()
        if cut["complete"] and last["ring"]:
            c.apply(cut["position"])
            return cut["position"]
        list(c.records())
        c.copy_map()
    raise AssertionError("the ring never held all of an interval")


def test_copy_of_a_busy_disk(fed):
    c = fed.consumer()
    assert c.info["full"] and [d["key"] for d in c.info["disks"]] == ["a", "b"]
    writers = [Writer(Client(fed.server.sock, name), 8 * MIB, seed) for seed, name in enumerate(("a", "b"), 1)]
    for w in writers:
        w.start()
    for _ in range(5):
        c.ack(in_step(c))
    for w in writers:
        w.stop()
    assert min(w.writes for w in writers) > 20
    position = in_step(c)
    now = fed.content()
    assert [w.model for w in writers] == now
    assert c.copies == now
    c.ack(position)
    assert c.copy_map() == 0


def test_zero_and_trim(fed):
    c = fed.consumer()
    fed.clients[0].write(0, b"x" * MIB)
    c.ack(in_step(c))
    assert fed.clients[0].ask(ZEROES, 4096, 8192)[0] == 0
    assert fed.clients[0].ask(TRIM, MIB // 2, 65536)[0] == 0
    in_step(c)
    assert c.copies == fed.content()


def test_resumes_after_kill(fed):
    c = fed.consumer()
    c.ack(in_step(c))
    feed, position = c.info["feed"], c.barrier()["position"]
    c.ack(position)
    old = c.copies
    fed.clients[1].write(5 * MIB, b"late" * 1024)
    fed.kill()
    c.close()
    fed.start()
    c = fed.consumer(feed=feed, position=position)
    assert not c.info["full"] and c.info["coarse"]
    c.copies = old
    in_step(c)
    assert c.copies == fed.content()
    assert c.copies[1][5 * MIB:5 * MIB + 4] == b"late"


def test_stranger_gets_all(fed):
    """A position of another feed counts for nothing."""
    c = fed.consumer()
    c.ack(in_step(c))
    c.close()
    c = fed.consumer(feed=1, position=c.info["position"])
    assert c.info["full"]
    c.barrier()
    assert c.copy_map() == 16 * MIB


def test_dirty_context(fed):
    tool("nbdinfo")

    def dirty(name):
        got = json.loads(run("nbdinfo", "--json", "--map=hvapi:dirty", fed.server.uri(name)))
        return [(e["offset"], e["length"]) for e in got if e["type"] == 1]

    assert dirty("a") == [(0, 8 * MIB)]         # nobody has attached: all of it is new to him
    c = fed.consumer()
    c.ack(in_step(c))
    assert dirty("a") == dirty("b") == []
    fed.clients[0].write(3 * GRAIN - 512, b"z" * 1024)
    assert dirty("a") == [(2 * GRAIN, 2 * GRAIN)] and dirty("b") == []
    in_step(c)
    assert dirty("a") == [(2 * GRAIN, 2 * GRAIN)]      # cut, not acknowledged
    c.ack(c.barrier()["position"])
    assert dirty("a") == []


def test_slow_consumer_costs_nothing(fed):
    """Nobody reads the ring: it overflows, writes go on, the map has it all."""
    c = fed.consumer(ring=1 << 16)
    c.ack(c.barrier()["position"])
    for i in range(64):
        fed.clients[0].write(i * GRAIN, b"r" * 4096)
    assert Ctl(fed.d / "feed").ask("stats")["consumers"][0]["ring"]["losses"] == 1
    assert not c.barrier()["complete"]
    assert c.copy_map() == 64 * GRAIN
    assert c.copies[0] == fed.content()[0]


def test_options(tmp_path):
    (tmp_path / "a").write_bytes(bytes(MIB))
    out = run(HVBLKD, "serve", "--nbd", tmp_path / "s", "--dirty", "x", tmp_path / "a", ok=False)
    assert "--log and --dirty need --feed" in out
    out = run(HVBLKD, "serve", "--nbd", tmp_path / "s", "--feed", tmp_path / "f", f"{'x' * 40}={tmp_path / 'a'}",
              ok=False)
    assert "at most 31 characters" in out


def test_attached_once(fed):
    c = fed.consumer()
    with pytest.raises(CtlError) as e:
        fed.consumer()
    assert e.value.error["code"] == "busy"
    c.close()
    os.stat(fed.d / "log")

# SPDX-License-Identifier: Apache-2.0
"""`hvblkd serve`: NBD as others see it (qemu-img, qemu-io, libnbd's tools, fio), and clients that behave badly.

Needs build/bin/hvblkd; each tool that is missing skips its tests.
"""
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import threading
import time

import pytest

from nbd_client import CACHE, DISC, FAST_ZERO, FLUSH, FUA, NO_HOLE, READ, TRIM, WRITE, ZEROES, Client

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
HVBLKD = TOP / os.environ.get("HVAPI_BUILD", "build") / "bin/hvblkd"
MIB = 1 << 20
EPERM, EINVAL, ENOSPC = 1, 22, 28
START_S, STOP_S, TOOL_S = 10, 20, 120

pytestmark = pytest.mark.skipif(not HVBLKD.exists(), reason=f"{HVBLKD} is not built: make")


def tool(name):
    if not shutil.which(name):
        pytest.skip(f"{name} is not installed")
    return name


def run(*argv, ok=True):
    p = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, timeout=TOOL_S)
    assert not ok or p.returncode == 0, f"{argv}: {p.stdout}"
    return p.stdout


class Server:
    """hvblkd serve, until stop()."""

    def __init__(self, sock, *args):
        self.sock = sock
        self.p = subprocess.Popen([str(HVBLKD), "serve", "--nbd", str(sock), *map(str, args)],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.log = b""
        end = time.monotonic() + START_S
        while b"serving" not in self.log:       # printed once the socket listens
            line = self.p.stdout.readline()
            self.log += line
            assert line and time.monotonic() < end, f"hvblkd did not start: {self.log.decode()}"

    def uri(self, export=""):
        return f"nbd+unix:///{export}?socket={self.sock}"

    def fds(self):
        return len(os.listdir(f"/proc/{self.p.pid}/fd"))

    def rss_mib(self):
        return int(pathlib.Path(f"/proc/{self.p.pid}/statm").read_text().split()[1]) * 4096 // MIB

    def stop(self):
        self.p.send_signal(signal.SIGTERM)
        out, _ = self.p.communicate(timeout=STOP_S)
        self.log += out
        return self.p.returncode


@pytest.fixture
def serve(tmp_path):
    servers = []

    def start(*args):
        servers.append(Server(tmp_path / f"nbd{len(servers)}.sock", *args))
        return servers[-1]

    yield start
    for s in servers:
        if s.p.poll() is None:
            rc = s.stop()
            assert rc == 0, s.log.decode()


@pytest.fixture(params=["memory", "file", "direct"])
def raw(request, tmp_path, serve):
    """(server, image) of 64 MiB raw: on tmpfs, on a file system by the page cache, and past it."""
    if request.param == "memory":
        d = pathlib.Path("/dev/shm") / f"hvblkd-test-{os.getpid()}"
        d.mkdir(exist_ok=True)
    else:
        d = tmp_path
    image = d / "disk.img"
    with open(image, "wb") as f:
        f.truncate(64 * MIB)
    yield serve(*(["--direct"] if request.param == "direct" else []), image), image
    if request.param == "memory":
        shutil.rmtree(d, ignore_errors=True)


def make_image(path, size, seed=1, holes=True):
    rng = random.Random(seed)
    with open(path, "wb") as f:
        f.truncate(size)
        for off in range(0, size, MIB):
            if not holes or rng.random() < 0.6:
                f.seek(off)
                f.write(rng.randbytes(MIB))
    return path


def digest(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


# ---- what others see -------------------------------------------------------------------------------------------


def test_info(serve, tmp_path):
    tool("nbdinfo")
    for name, mib in (("a", 8), ("b", 4)):
        make_image(tmp_path / name, mib * MIB)
    s = serve("--read-only", tmp_path / "a", f"second={tmp_path / 'b'}")
    got = json.loads(run("nbdinfo", "--json", "--list", s.uri()))["exports"]
    assert [(x["export-name"], x["export-size"]) for x in got] == [("0", 8 * MIB), ("second", 4 * MIB)]
    one = json.loads(run("nbdinfo", "--json", s.uri("second")))["exports"][0]
    assert one["is_read_only"] and one["can_multi_conn"] and one["can_df"]
    assert one["contexts"] == ["base:allocation"]
    assert (one["block_size_minimum"], one["block_size_maximum"]) == (512, 32 * MIB)


def test_map_shows_holes(raw):
    tool("nbdinfo")
    server, _ = raw
    c = Client(server.sock)
    c.write(MIB, b"x" * MIB)
    c.write(10 * MIB, b"y" * MIB)
    assert c.ask(FLUSH)[0] == 0
    got = json.loads(run("nbdinfo", "--json", "--map", server.uri()))
    assert [(e["offset"] // MIB, e["length"] // MIB, e["type"]) for e in got] == [
        (0, 1, 3), (1, 1, 0), (2, 8, 3), (10, 1, 0), (11, 53, 3)]


def test_convert_and_compare(raw, tmp_path):
    tool("qemu-img")
    server, image = raw
    src = make_image(tmp_path / "src.img", 64 * MIB)
    run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", src, server.uri())
    assert "identical" in run("qemu-img", "compare", "-f", "raw", "-F", "raw", src, server.uri())
    run("qemu-img", "convert", "-f", "raw", "-O", "raw", server.uri(), tmp_path / "back.img")
    assert server.stop() == 0
    assert digest(src) == digest(tmp_path / "back.img") == digest(image)


def test_nbdcopy_many_connections(raw, tmp_path):
    tool("nbdcopy")
    server, image = raw
    src = make_image(tmp_path / "src.img", 64 * MIB, seed=2)
    run("nbdcopy", "--connections=4", "--flush", src, server.uri())
    run("nbdcopy", "--connections=4", server.uri(), tmp_path / "back.img")
    assert digest(src) == digest(tmp_path / "back.img") == digest(image)


def test_qemu_io_patterns(raw):
    tool("qemu-io")
    server, _ = raw
    cmds = ["write -P 1 0 4M", "write -P 2 512 1024", "read -P 2 512 1024", "read -P 1 1536 1M", "write -f -P 3 1M 64k",
            "write -z 1M 4k", "read -P 0 1M 4k", "read -P 3 1052672 60k", "write -z -u 2M 1M", "read -P 0 2M 1M",
            "discard 3M 512k", "write -P 9 8M 20M", "read -P 9 8M 20M", "aio_write -P 5 30M 1M",
            "aio_write -P 6 31M 1M", "aio_flush", "read -P 5 30M 1M", "read -P 6 31M 1M", "flush"]
    out = run("qemu-io", "-f", "raw", *sum((["-c", c] for c in cmds), []), server.uri())
    assert "failed" not in out and "error" not in out.lower(), out


def test_fio_verify(raw, tmp_path):
    tool("fio")
    if "nbd" not in run("fio", "--enghelp").split():
        pytest.skip("this fio has no nbd engine")
    server, _ = raw
    run("fio", "--name=v", "--ioengine=nbd", f"--uri={server.uri()}", "--rw=randrw", "--bsrange=512-64k", "--size=32M",
        "--iodepth=32", "--verify=crc32c", "--verify_fatal=1", "--randrepeat=1", "--fsync=64", f"--aux-path={tmp_path}")


@pytest.mark.parametrize("fmt,qemu,options", [("vhd", "vpc", "force_size=on"), ("vhdx", "vhdx", "block_size=1M")])
def test_growing_formats(serve, tmp_path, fmt, qemu, options):
    """An empty dynamic image made by QEMU, filled through us, read by QEMU again."""
    tool("qemu-img")
    image = tmp_path / f"d.{fmt}"
    if "is neither" in run(HVBLKD, "serve", "--nbd", tmp_path / "s", "--format", fmt, image, ok=False):
        pytest.skip(f"this build knows no {fmt}")
    run("qemu-img", "create", "-f", qemu, "-o", options, image, "64M")
    src = make_image(tmp_path / "src.img", 64 * MIB, seed=5)
    server = serve("--format", fmt, image)
    run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", src, server.uri())
    assert "identical" in run("qemu-img", "compare", "-f", "raw", "-F", "raw", src, server.uri())
    c = Client(server.sock)
    c.write(12345 * 512, b"k" * 70144, FUA)
    assert c.read(12345 * 512, 70144) == b"k" * 70144
    assert server.stop() == 0
    with open(src, "r+b") as f:
        f.seek(12345 * 512)
        f.write(b"k" * 70144)
    assert "identical" in run("qemu-img", "compare", "-f", "raw", "-F", qemu, src, image)


# ---- our own client: what tools do not do ------------------------------------------------------------------------


def test_errors_are_answered(raw):
    server, _ = raw
    c = Client(server.sock)
    assert c.ask(READ, c.size, 512)[0] == EINVAL
    assert c.ask(WRITE, c.size - 512, payload=b"x" * 1024)[0] == ENOSPC
    assert c.ask(WRITE, (1 << 64) - 512, payload=b"x" * 512)[0] == ENOSPC
    assert c.ask(READ, 100, 512)[0] == EINVAL
    assert c.ask(TRIM, c.size - 512, 1024)[0] == EINVAL
    assert c.ask(99, 0, 512)[0] == EINVAL
    assert c.ask(READ, 0, 512, flags=1 << 12)[0] == EINVAL
    assert c.ask(READ, 0, 0)[0] == EINVAL
    c.write(0, b"still here".ljust(512))
    assert c.read(0, 512).rstrip() == b"still here"


def test_read_only_refuses_writes(serve, tmp_path):
    image = make_image(tmp_path / "d", MIB)
    before = digest(image)
    c = Client(serve("--read-only", image).sock)
    for cmd, payload in ((WRITE, b"x" * 512), (TRIM, b""), (ZEROES, b"")):
        assert c.ask(cmd, 0, 512, payload)[0] == EPERM
    assert c.ask(FLUSH)[0] == 0
    assert digest(image) == before


def test_zeroes_trim_cache(raw):
    server, image = raw
    c = Client(server.sock)
    c.write(0, b"a" * (4 * MIB))
    assert c.ask(ZEROES, MIB, MIB, flags=NO_HOLE)[0] == 0
    assert c.ask(ZEROES, 512, 1024, flags=FUA)[0] == 0
    assert c.ask(ZEROES, 2 * MIB, MIB, flags=FAST_ZERO)[0] == 0
    assert c.ask(TRIM, 3 * MIB, MIB)[0] == 0
    assert c.ask(CACHE, 0, 4 * MIB)[0] == 0
    want = b"a" * 512 + bytes(1024) + b"a" * (MIB - 1536) + bytes(3 * MIB)
    assert c.read(0, 4 * MIB) == want
    assert image.stat().st_blocks * 512 <= 2 * MIB + 65536      # NO_HOLE kept its MiB, the others went


def test_pipelined_writes_to_one_place_stay_in_order(raw):
    """Requests of one connection that overlap: the last one sent wins, whatever completes when."""
    server, _ = raw
    c = Client(server.sock)
    n = 200
    for i in range(n):
        c.send(WRITE, 4096 + 512 * (i % 3), payload=bytes([i]) * 16384)
    assert sorted(c.reply()[0] for _ in range(n)) == list(range(1, n + 1))
    want = bytearray(16384 + 1024)
    for i in range(n):
        at = 512 * (i % 3)
        want[at:at + 16384] = bytes([i]) * 16384
    assert c.read(4096, len(want)) == bytes(want)


def test_overlapping_writers_never_mix(raw):
    """Four connections write one place; what is there is one of the writes as a whole, then and at the end."""
    server, _ = raw

    def writer(k):
        c = Client(server.sock)
        for i in range(100):
            c.write(MIB, bytes([k * 16 + i % 16]) * 65536)

    threads = [threading.Thread(target=writer, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(set(Client(server.sock).read(MIB, 65536))) == 1


def test_random_writes_against_a_model(raw):
    server, image = raw
    rng = random.Random(3)
    clients = [Client(server.sock) for _ in range(3)]
    model = bytearray(8 * MIB)
    for _ in range(600):
        c = rng.choice(clients)
        n = 512 * rng.choice((1, 2, 7, 8, 16, 129, 600))
        off = 512 * rng.randrange((len(model) - n) // 512)
        what = rng.random()
        if what < 0.5:
            data = rng.randbytes(n)
            c.write(off, data, FUA if what < 0.02 else 0)
            model[off:off + n] = data
        elif what < 0.6:
            assert c.ask(ZEROES, off, n, flags=rng.choice((0, NO_HOLE)))[0] == 0
            model[off:off + n] = bytes(n)
        elif what < 0.62:
            assert c.ask(FLUSH)[0] == 0
        else:
            assert c.read(off, n) == bytes(model[off:off + n])
    assert server.stop() == 0
    assert image.read_bytes()[:len(model)] == bytes(model)


def test_limits(serve, tmp_path):
    image = make_image(tmp_path / "d", MIB)
    c = Client(serve("--iops", 200, "--burst", "10ms", image).sock)
    t0 = time.monotonic()
    for _ in range(100):
        c.send(READ, 0, 512)
    for _ in range(100):
        c.reply(512)
    assert 0.45 < time.monotonic() - t0 < 3


# ---- clients that behave badly -------------------------------------------------------------------------------------


def test_garbage_clients(raw):
    server, _ = raw
    good = Client(server.sock)
    before = server.fds()
    rng = random.Random(4)
    for i in range(150):
        c = Client(server.sock, go=i % 2)
        try:
            c.s.sendall((b"IHAVEOPT" if i % 5 == 0 else b"") + rng.randbytes(rng.choice((1, 28, 500, 70000))))
            if i % 3:
                c.s.shutdown(1)         # no more to come: the server must not wait for it
                assert c.gone()
        except (BrokenPipeError, ConnectionResetError):
            pass
        c.close()
        good.write(512 * i, bytes([i]) * 512)
    assert good.read(512 * 100, 512) == bytes([100]) * 512
    for _ in range(100):                # the last ones may still be on their way out
        if server.fds() == before:
            break
        good.read(0, 512)
        time.sleep(0.01)
    assert server.fds() == before
    assert server.p.poll() is None


def test_write_over_the_limit_ends_the_connection(raw):
    server, _ = raw
    c, good = Client(server.sock), Client(server.sock)
    c.send(WRITE, 0, 32 * MIB + 512)
    assert c.gone()
    good.write(0, b"x" * 512)
    assert server.stop() == 0
    assert b"limit" in server.log


def test_killed_client(raw):
    """Killed in the middle of a payload and with replies on their way: no one else notices."""
    server, _ = raw
    good = Client(server.sock)
    for i in range(30):
        c = Client(server.sock)
        for k in range(20):
            c.send(READ, 0, MIB)
        c.s.sendall(b"\x25\x60\x95\x13" + bytes(3) + b"\x01" + bytes(16) + (8 * MIB).to_bytes(4, "big") + b"z" * 100000)
        c.close()
        good.write(40 * MIB + 512 * i, bytes([i]) * 512)
    for i in range(30):
        assert good.read(40 * MIB + 512 * i, 512) == bytes([i]) * 512
    assert server.p.poll() is None


def test_client_that_does_not_read(raw):
    """Its requests wait, memory stays bounded, others go on; when it reads at last all is there."""
    server, _ = raw
    slow, good = Client(server.sock), Client(server.sock)
    good.write(0, b"q" * MIB)
    sender = threading.Thread(target=lambda: [slow.send(READ, 0, MIB) for _ in range(500)])
    sender.start()
    for i in range(200):
        good.write(2 * MIB + 512 * i, bytes([i]) * 512)
    assert server.rss_mib() < 200
    for _ in range(500):
        assert slow.reply(MIB)[2] == b"q" * MIB
    sender.join()


def test_disconnect_after_requests(raw):
    """DISC ends the connection after the replies that are owed."""
    server, _ = raw
    c = Client(server.sock)
    for i in range(50):
        c.send(WRITE, 4096 * i, payload=b"w" * 4096)
    c.send(DISC)
    for _ in range(50):
        assert c.reply()[1] == 0
    assert c.gone()


def test_sigterm_with_clients(raw):
    server, image = raw
    idle, busy = Client(server.sock), Client(server.sock)
    busy.write(0, b"last words".ljust(4096))
    half = Client(server.sock)
    half.s.sendall(b"\x25\x60\x95\x13" + bytes(3) + b"\x01" + bytes(16) + (8 * MIB).to_bytes(4, "big") + b"z" * 100)
    assert server.stop() == 0
    assert not server.sock.exists()
    assert idle.gone() and half.gone()
    assert image.read_bytes()[:10] == b"last words"


def test_usage_errors(tmp_path):
    image = make_image(tmp_path / "d", MIB)
    for args, says in ((["--nbd", tmp_path / "s", "--format", "qcow2", image], "neither raw"),
                       (["--nbd", tmp_path / "s", tmp_path / "none"], "open"),
                       (["--nbd", tmp_path / "s", f"x={image}", f"x={image}"], "two exports"),
                       ([image], "usage")):
        out = run(HVBLKD, "serve", *args, ok=False)
        assert says in out, out

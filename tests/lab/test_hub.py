# SPDX-License-Identifier: Apache-2.0
"""The emulated network without any host: peers that speak QEMU's framing, and a guest that answers ARP, ping, UDP."""
import contextlib
import socket
import struct
import threading
import time

import pytest

import hub as hub_module
from places import HUB, LabError, wait_for

EVERYONE = b"\xff" * 6
MAC = {"hv1": b"\x52\x54\x00\x77\x00\x01", "hv2": b"\x52\x54\x00\x77\x00\x02", "hv3": b"\x52\x54\x00\x77\x00\x03"}
GUEST_MAC, GUEST_IP = b"\x00\x16\x3e\x00\x00\x10", "10.77.0.10"


class Peer:
    """What QEMU is to the hub: a connection on a port."""

    def __init__(self, folder, port):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(f"{folder}/{port}.sock")
        self.sock.settimeout(5)
        self.buf = b""

    def send(self, to, mac, payload, kind=0x88b5):
        frame = to + mac + struct.pack(">H", kind) + payload
        self.sock.sendall(struct.pack(">I", len(frame)) + frame)

    def take(self, timeout=5):
        """The next frame, or None when none comes in time."""
        self.sock.settimeout(timeout)
        with contextlib.suppress(socket.timeout):
            while len(self.buf) < 4 or len(self.buf) < 4 + struct.unpack(">I", self.buf[:4])[0]:
                data = self.sock.recv(1 << 20)
                if not data:
                    return None
                self.buf += data
            n = struct.unpack(">I", self.buf[:4])[0]
            frame, self.buf = self.buf[4:4 + n], self.buf[4 + n:]
            return frame
        return None

    def close(self):
        self.sock.close()


def ones_sum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


class FakeGuest(threading.Thread):
    """Answers for GUEST_IP behind a port until stopped; `mute` makes it fall silent."""

    def __init__(self, peer, udp=lambda text: b"got " + text, udp_ignore=0):
        super().__init__(daemon=True)
        self.peer, self.udp, self.udp_ignore, self.mute = peer, udp, udp_ignore, False
        self.asked = []
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                frame = self.peer.take(0.2)
                if frame is not None and not self.mute:
                    self.answer(frame)

    def answer(self, f):
        ip = socket.inet_aton(GUEST_IP)
        kind = struct.unpack(">H", f[12:14])[0]
        if kind == 0x0806 and f[20:22] == b"\0\1" and f[38:42] == ip:
            self.announce(f[6:12], 2, f[22:32])
        if kind != 0x0800 or f[0:6] != GUEST_MAC:
            return
        assert ones_sum(f[14:34]) == 0, "checksum of the IPv4 header"
        if f[23] == 1:
            assert ones_sum(f[34:]) == 0, "checksum of the ICMP message"
            self.peer.send(f[6:12], GUEST_MAC, f[14:26] + f[30:34] + f[26:30] + b"\0" + f[35:], 0x0800)
        elif f[23] == 17:
            self.answer_udp(f)

    def answer_udp(self, f):
        text = f[42:34 + struct.unpack(">H", f[38:40])[0]]
        self.asked.append(text)
        if len(self.asked) <= self.udp_ignore:
            return
        text = self.udp(text)
        head = f[14:16] + struct.pack(">H", 28 + len(text)) + f[18:26] + f[30:34] + f[26:30]
        self.peer.send(f[6:12], GUEST_MAC,
                       head + f[36:38] + f[34:36] + struct.pack(">HH", 8 + len(text), 0) + text, 0x0800)

    def announce(self, to=EVERYONE, op=1, target=None):
        ip = socket.inet_aton(GUEST_IP)
        self.peer.send(to, GUEST_MAC, b"\0\1\x08\0\6\4\0" + bytes([op]) + GUEST_MAC + ip + (target or bytes(6) + ip),
                       0x0806)


@pytest.fixture
def net(tmp_path):
    """(hub, connect): a hub with ports hv1, hv2, hv3; connect(port) gives a Peer."""
    if not HUB.exists():
        pytest.skip(f"{HUB} is not built")
    with contextlib.ExitStack() as stack, open(tmp_path / "hub.log", "wb") as log:
        process = hub_module.start(tmp_path, ["hv1", "hv2", "hv3"], log)
        stack.callback(process.wait, 10)
        stack.callback(process.terminate)
        hub = hub_module.Hub(tmp_path)

        def connect(port):
            peer = Peer(tmp_path, port)
            stack.callback(peer.close)
            wait_for(f"{port} connected", 5, lambda: hub.ports()[port]["connected"], 0.005)
            return peer

        yield hub, connect
        assert process.poll() is None, "the hub ended by itself: " + (tmp_path / "hub.log").read_text()


def sync(hub, port, frames):
    """Waits until the hub has read that many frames of the port: what they caused has been sent."""
    wait_for(f"{frames} frames of {port}", 5, lambda: hub.ports()[port]["rx_frames"] >= frames, 0.005)


def test_unknown_goes_everywhere_known_goes_one_way(net):
    hub, connect = net
    a, b, c = connect("hv1"), connect("hv2"), connect("hv3")
    a.send(MAC["hv2"], MAC["hv1"], b"unknown")
    assert b.take()[14:] == b"unknown" and c.take()[14:] == b"unknown"
    b.send(MAC["hv1"], MAC["hv2"], b"answer")
    assert a.take()[14:] == b"answer"
    a.send(MAC["hv2"], MAC["hv1"], b"known")
    a.send(EVERYONE, MAC["hv1"], b"all")
    assert b.take()[14:] == b"known" and b.take()[14:] == b"all"
    assert c.take()[14:] == b"all", "a frame for hv2's address, learned before, came to hv3"
    assert hub.ports()["hv3"]["tx_frames"] == 2


def test_address_that_moved_is_learned_anew(net):
    hub, connect = net
    a, b, c = connect("hv1"), connect("hv2"), connect("hv3")
    b.send(EVERYONE, GUEST_MAC, b"here")
    a.take(), c.take()
    c.send(EVERYONE, GUEST_MAC, b"now here")
    a.take(), b.take()
    a.send(GUEST_MAC, MAC["hv1"], b"for the guest")
    assert c.take()[14:] == b"for the guest"
    assert hub.ports()["hv2"]["tx_frames"] == 1


def test_cut_between_two_and_heal(net):
    hub, connect = net
    a, b, c = connect("hv1"), connect("hv2"), connect("hv3")
    hub.cut("hv1", "hv2")
    assert hub.ports()["hv1"]["cut_from"] == ["hv2"]
    a.send(EVERYONE, MAC["hv1"], b"one")
    assert c.take()[14:] == b"one"
    sync(hub, "hv1", 1)
    assert hub.ports()["hv2"]["tx_frames"] == 0
    b.send(EVERYONE, MAC["hv2"], b"two")
    assert c.take()[14:] == b"two"
    assert hub.ports()["hv1"]["tx_frames"] == 0
    hub.heal()
    a.send(EVERYONE, MAC["hv1"], b"three")
    assert b.take()[14:] == b"three"


def test_isolated_port_hears_and_says_nothing(net):
    hub, connect = net
    a, b = connect("hv1"), connect("hv2")
    hub.cut("hv1")
    a.send(EVERYONE, MAC["hv1"], b"one")
    b.send(EVERYONE, MAC["hv2"], b"two")
    sync(hub, "hv1", 1)
    sync(hub, "hv2", 1)
    ports = hub.ports()
    assert ports["hv1"]["isolated"] and (ports["hv1"]["tx_frames"], ports["hv2"]["tx_frames"]) == (0, 0)


def test_rate_slows_a_port_and_loses_nothing(net):
    hub, connect = net
    a, b = connect("hv1"), connect("hv2")
    hub.rate("hv1", 1)
    n, size = 400, 1500
    threading.Thread(target=lambda: [a.send(EVERYONE, MAC["hv1"], bytes(size)) for _ in range(n)], daemon=True).start()
    t0 = time.monotonic()
    for _ in range(n):
        assert b.take() is not None
    took = time.monotonic() - t0
    assert took > 0.7 * n * size / (1 << 20), f"{n * size} bytes at 1 MiB/s took only {took:.2f} s"
    hub.rate("hv1", 0)
    threading.Thread(target=lambda: [a.send(EVERYONE, MAC["hv1"], bytes(size)) for _ in range(n)], daemon=True).start()
    t0 = time.monotonic()
    for _ in range(n):
        assert b.take() is not None
    assert time.monotonic() - t0 < took / 2, "the limit was not lifted"


def test_counters(net):
    hub, connect = net
    a, _b = connect("hv1"), connect("hv2")
    a.send(MAC["hv2"], MAC["hv1"], bytes(86))
    sync(hub, "hv1", 1)
    assert hub.ports()["hv1"]["rx_bytes"] == 100 and hub.ports()["hv2"]["tx_bytes"] == 100


def test_frame_in_pieces_and_nonsense(net):
    hub, connect = net
    a, b = connect("hv1"), connect("hv2")
    frame = EVERYONE + MAC["hv1"] + b"\x88\xb5whole"
    data = struct.pack(">I", len(frame)) + frame
    a.sock.sendall(data[:3])
    a.sock.sendall(data[3:9])
    a.sock.sendall(data[9:] + data)
    assert b.take()[14:] == b"whole" and b.take()[14:] == b"whole"
    a.sock.sendall(struct.pack(">I", 1 << 30))
    wait_for("nonsense to be thrown out", 5, lambda: not hub.ports()["hv1"]["connected"], 0.005)
    again = connect("hv1")
    again.send(EVERYONE, MAC["hv1"], b"back")
    assert b.take()[14:] == b"back"


def test_pings_and_a_gap(net):
    hub, connect = net
    guest = FakeGuest(connect("hv1"))
    hub.ping(GUEST_IP, every_ms=5, gap_ms=150)
    wait_for("20 answers", 5, lambda: hub.ping_stat()["received"] >= 20, 0.01)
    guest.mute = True
    wait_for("200 ms of silence", 5, lambda: hub.ping_stat()["silent_ms"] > 200, 0.01)
    guest.mute = False
    seen = hub.ping_stat()["received"]
    wait_for("answers again", 5, lambda: hub.ping_stat()["received"] > seen + 5, 0.01)
    stat = hub.ping_end(0.2)
    assert len(stat["gaps"]) == 1 and 200 <= stat["gaps"][0]["ms"] < 1500
    assert stat["longest_gap_ms"] >= stat["gaps"][0]["ms"]
    assert abs(stat["gaps"][0]["at_ms"] - time.time() * 1000) < 5000
    assert stat["lost"] >= 20 and stat["duplicates"] == 0
    assert [m["port"] for m in stat["moves"]] == ["hv1"]


def test_two_copies_show_and_announces_are_seen(net):
    hub, connect = net
    first, second = FakeGuest(connect("hv1")), FakeGuest(connect("hv2"))
    assert sorted(hub.who_has(GUEST_IP, 300)) == ["hv1", "hv2"]
    first.mute = True
    assert hub.who_has(GUEST_IP, 300) == ["hv2"]
    hub.announces(clear=True)
    second.announce()
    seen = wait_for("the announcement", 5, hub.announces, 0.01)
    assert (seen[0]["kind"], seen[0]["port"], seen[0]["mac"]) == ("arp", "hv2", GUEST_MAC.hex(":"))
    assert hub.who_has("10.77.0.66", 50) == []


def test_guest_that_moves_is_followed(net):
    hub, connect = net
    first, second = FakeGuest(connect("hv1")), FakeGuest(connect("hv2"))
    second.mute = True
    hub.ping(GUEST_IP, every_ms=5)
    wait_for("answers", 5, lambda: hub.ping_stat()["received"] >= 5, 0.01)
    first.mute, second.mute = True, False
    second.announce()
    wait_for("the move", 5, lambda: len(hub.ping_stat()["moves"]) == 2, 0.01)
    assert [m["port"] for m in hub.ping_end(0.2)["moves"]] == ["hv1", "hv2"]


def test_udp_question_is_repeated_until_answered(net):
    hub, connect = net
    guest = FakeGuest(connect("hv1"), udp_ignore=1)
    assert hub.udp(GUEST_IP, 7777, "5 stat") == "got 5 stat"
    assert guest.asked == [b"5 stat"] * 2
    with pytest.raises(LabError, match="nobody has the address"):
        hub.udp("10.77.0.66", 7777, "stat", 0.1)


def test_guest_answers_and_errors(net):
    hub, connect = net
    answers = {b"stat": b'{"ticks": 3}', b"nonsense": b'{"error": "no such command"}'}
    FakeGuest(connect("hv1"), lambda text: text.split(b" ", 1)[0] + b" " + answers[text.split(b" ", 1)[1]])
    assert hub.guest(GUEST_IP, "stat") == {"ticks": 3}
    with pytest.raises(LabError, match="no such command"):
        hub.guest(GUEST_IP, "nonsense")


def test_bad_requests_are_named(net):
    hub, _connect = net
    for args, words in ((("cut",), "'a'"), (("rate",), "port"), (("no-such-verb",), "no-such-verb")):
        with pytest.raises(LabError, match=words):
            hub.call(*args)
    with pytest.raises(LabError, match="hv9"):
        hub.cut("hv9")
    with pytest.raises(LabError, match="10.77"):
        hub.ping("10.77")

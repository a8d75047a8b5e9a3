# SPDX-License-Identifier: Apache-2.0
"""The hub's client: control calls (dom0-tools/base/ctl.h) to the process that hub.c is."""
import json
import select
import socket
import struct
import subprocess
import time

from places import GUEST_PORT, HUB, LabError

READY_S = 10


def start(folder, ports, log):
    """The running hub process, its sockets open."""
    if not HUB.exists():
        raise LabError(f"{HUB} is not built: run `make`")
    p = subprocess.Popen([HUB, folder, *ports], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                         start_new_session=True)
    if not select.select([p.stdout], [], [], READY_S)[0] or p.stdout.readline() != b"ready\n":
        p.kill()
        p.wait()
        raise LabError(f"the hub did not start; its log is {log.name}")
    p.stdout.close()
    return p


def receive(sock, n):
    data = b""
    while len(data) < n:
        more = sock.recv(n - len(data))
        if not more:
            raise LabError("the hub closed its control connection: it has ended or crashed, see hub.log")
        data += more
    return data


class Hub:
    """One method a verb; every call has a connection of its own, so it may be used from any thread."""

    def __init__(self, folder):
        self.path = f"{folder}/hub.ctl"
        self.number = int(time.time() * 1000) % 1000000000

    def call(self, verb, wait_s=10, **args):
        body = json.dumps({"id": 1, "verb": verb, **{k: v for k, v in args.items() if v is not None}}).encode()
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(wait_s + 5)
            try:
                sock.connect(self.path)
                sock.sendall(struct.pack("<I", len(body)) + body)
                answer = json.loads(receive(sock, struct.unpack("<I", receive(sock, 4))[0]))
            except OSError as e:
                raise LabError(f"hub {verb}: {e}; is the lab up?") from e
        if "error" in answer:
            raise LabError(f"hub {verb}: {answer['error']['detail']}")
        return answer["ok"]

    def ports(self):
        return self.call("stat")["ports"]

    def cut(self, a, b=None):
        self.call("cut", a=a, b=b)

    def heal(self):
        self.call("heal")

    def rate(self, port, mib_s):
        self.call("rate", port=port, bytes_s=int(mib_s * (1 << 20)))

    def ping(self, ip, every_ms=10, gap_ms=100):
        self.call("ping", ip=ip, every_ms=every_ms, gap_ms=gap_ms)

    def ping_stat(self, stop=False):
        return self.call("ping-stat", stop=stop)

    def ping_end(self, grace_s=2):
        """Stops, gives answers on their way the time to come, and tells the figures with `lost`."""
        stat = self.ping_stat(stop=True)
        end = time.monotonic() + grace_s
        while stat["received"] < stat["sent"] and time.monotonic() < end:
            time.sleep(0.02)
            stat = self.ping_stat()
        return {**stat, "lost": stat["sent"] - stat["received"]}

    def who_has(self, ip, wait_ms=1000):
        """The ports (one for each answer) where somebody claims the address: more than one is two copies."""
        return [a["port"] for a in self.call("who-has", ip=ip, wait_ms=wait_ms)["answers"]]

    def announces(self, clear=False):
        return self.call("announces", clear=clear)["announces"]

    def udp(self, ip, port, text, timeout_s=10):
        return self.call("udp", timeout_s, ip=ip, port=port, text=text, timeout_ms=int(timeout_s * 1000))["text"]

    def guest(self, ip, command, timeout_s=30):
        """A command of tests/guest: its answer, a dict.  The number in front tells the guest a repeated question."""
        self.number += 1
        number, _, answer = self.udp(ip, GUEST_PORT, f"{self.number} {command}", timeout_s).partition(" ")
        if number != str(self.number):
            raise LabError(f"guest {ip}: answer to {number}, not to {self.number}: {answer}")
        answer = json.loads(answer)
        if "error" in answer:
            raise LabError(f"guest {ip}: {command}: {answer['error']}")
        return answer

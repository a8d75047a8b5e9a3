#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""make bench-blk: hvblkd, nbdkit's file plugin and qemu-nbd serve the same image on tmpfs, in turn, to the same client.

Each round starts every server anew on the image, runs each load on it and notes operations per second and the
server's CPU time per operation; figures are ratios of the medians over the rounds.
"""
import argparse
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
MIB = 1 << 20
IMAGE_MIB = 512
LOADS = {                       # name -> arguments of nbd-load but the time
    "randread_qd1": ("read", "rand", 4096, 1),
    "randwrite_qd1": ("write", "rand", 4096, 1),
    "randread_qd32": ("read", "rand", 4096, 32),
    "randwrite_qd32": ("write", "rand", 4096, 32),
    "seqread_1m": ("read", "seq", MIB, 4),
    "seqwrite_1m": ("write", "seq", MIB, 4),
}
FORMAT_LOADS = ("randwrite_qd32",)
TRACKED = {"map": "map", "ring": "ring"}        # server -> what its consumer does (feed_reader.c)
START_S = 10
BUSY_PERCENT_MAX = 10


class BenchError(Exception):
    pass


def commands(args, d):
    """Server -> (command, loads); {image} is the one of its format."""
    ours = [args.build / "bin/hvblkd", "serve", "--nbd", d / "sock"]
    all_loads = tuple(LOADS)
    found = {"ours": (ours + [d / "disk.raw"], all_loads)}
    if shutil.which("nbdkit"):
        found["nbdkit"] = (["nbdkit", "-f", "-U", d / "sock", "file", d / "disk.raw"], all_loads)
    if shutil.which("qemu-nbd"):
        found["qemu-nbd"] = (["qemu-nbd", "-f", "raw", "-t", "-e", "8", "-k", d / "sock", d / "disk.raw"], all_loads)
    tracked = ["--feed", d / "feed", "--log", d / "feed.log"]
    for server in TRACKED:
        found[server] = (ours + tracked + [d / "disk.raw"], FORMAT_LOADS)
    for fmt in ("vhd", "vhdx"):
        image = d / f"disk.{fmt}"
        if image.exists():
            found[fmt] = (ours + ["--format", fmt, image], FORMAT_LOADS)
    return found


def make_images(args, d):
    block = os.urandom(MIB)
    with open(d / "disk.raw", "wb") as f:
        for _ in range(IMAGE_MIB):
            f.write(block)
    for fmt, qemu in (("vhd", "vpc"), ("vhdx", "vhdx")):
        p = subprocess.run([args.build / "bin/hvblkd", "serve", "--nbd", d / "sock", "--format", fmt, d / "none"],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if shutil.which("qemu-img") and "is neither" not in p.stdout:
            subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", qemu, d / "disk.raw",
                            d / f"disk.{fmt}"], check=True)


def wait_for(p, path):
    end = time.monotonic() + START_S
    while time.monotonic() < end and p.poll() is None:
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(str(path))
            return
        except OSError:
            time.sleep(0.02)
    raise BenchError(f"{p.args[0]} does not listen at {path}")


def cpu_s(pid):
    """Of all its threads, since it started."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(args, pid, sock, load):
    """(operations per second, CPU us per operation)."""
    before = cpu_s(pid)
    out = subprocess.run([args.build / "bin/nbd-load", sock, *map(str, LOADS[load]), str(args.seconds)],
                         stdout=subprocess.PIPE, text=True, check=True).stdout
    ops, ns = map(int, re.match(r"ops (\d+) ns (\d+)", out).groups())
    return ops * 1e9 / ns, (cpu_s(pid) - before) * 1e6 / ops


class Consumer:
    """feed-reader beside a server; without a kind nothing."""

    def __init__(self, args, d, kind):
        self.p = kind and subprocess.Popen([args.build / "bin/feed-reader", d / "feed", kind], stdin=subprocess.PIPE,
                                           stdout=subprocess.PIPE, text=True)
        if self.p and self.p.stdout.readline() != "ready\n":
            raise BenchError("feed-reader does not start")

    def close(self):
        if self.p:
            print(f"      consumer: {self.p.communicate()[0].strip()}", flush=True)


def run_server(args, d, command, loads, consumer=None):
    p = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
    try:
        wait_for(p, d / "sock")
        reader = Consumer(args, d, consumer)
        try:
            return {load: measure(args, p.pid, d / "sock", load) for load in loads}
        finally:
            reader.close()
    finally:
        p.send_signal(signal.SIGTERM)
        p.wait()
        for name in ("sock", "feed", "feed.log"):
            (d / name).unlink(missing_ok=True)


def ratio(name, ours, peer):
    print(f"ratio {name} {ours / peer:.3f}", flush=True)


def figures(m):
    """m[server][load] = (ops/s, CPU us per operation), medians."""
    def ops(server, load):
        return m[server][load][0]

    if "nbdkit" in m:
        for load in ("randread_qd32", "randwrite_qd32", "randread_qd1", "randwrite_qd1", "seqread_1m", "seqwrite_1m"):
            ratio(f"nbd_{load}_vs_nbdkit", ops("ours", load), ops("nbdkit", load))
        both = ("randread_qd32", "randwrite_qd32")
        ratio("nbd_cpu_per_op_qd32_vs_nbdkit", sum(m["ours"][k][1] for k in both), sum(m["nbdkit"][k][1] for k in both))
    if "qemu-nbd" in m:
        for load in ("randread_qd32", "randwrite_qd32"):
            ratio(f"nbd_{load}_vs_qemu_nbd", ops("ours", load), ops("qemu-nbd", load))
    for server in TRACKED:
        ratio(f"track_{server}_on_vs_off", ops(server, "randwrite_qd32"), ops("ours", "randwrite_qd32"))
    for fmt in ("vhd", "vhdx"):
        if fmt in m:
            ratio(f"{fmt}_randwrite_vs_raw", ops(fmt, "randwrite_qd32"), ops("ours", "randwrite_qd32"))


def warn_if_busy():
    """Others on the CPUs distort the figures: a server of many threads gets more of what is left than one of one."""
    def ticks():
        v = [int(x) for x in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
        return sum(v), v[3] + v[4]

    (all0, idle0), _, (all1, idle1) = ticks(), time.sleep(1), ticks()
    busy = 100 - 100 * (idle1 - idle0) // max(all1 - all0, 1)
    if busy > BUSY_PERCENT_MAX:
        print(f"WARNING: others use {busy} % of this machine's CPUs: the figures below mean little", flush=True)


def run(args, d):
    warn_if_busy()
    make_images(args, d)
    servers = commands(args, d)
    rounds = {s: {} for s in servers}
    for i in range(args.rounds):
        for server, (command, loads) in servers.items():
            for load, got in run_server(args, d, command, loads, TRACKED.get(server)).items():
                rounds[server].setdefault(load, []).append(got)
                print(f"round {i + 1} {server:9} {load:15} {got[0]:10.0f} op/s {got[1]:8.2f} us CPU/op", flush=True)
    medians = {s: {load: tuple(statistics.median(x) for x in zip(*got)) for load, got in by_load.items()}
               for s, by_load in rounds.items()}
    for server, by_load in medians.items():
        for load, got in by_load.items():
            print(f"median  {server:9} {load:15} {got[0]:10.0f} op/s {got[1]:8.2f} us CPU/op")
    missing = [s for s in ("nbdkit", "qemu-nbd", "vhd", "vhdx") if s not in servers]
    if missing:
        print(f"without {', '.join(missing)} (apt-get install nbdkit qemu-utils; formats: as built)")
    figures(medians)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--build", type=lambda p: TOP / p, default=TOP / "build")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--seconds", type=int, default=1, help="of each load")
    args = ap.parse_args()
    d = pathlib.Path("/dev/shm") / f"hvblkd-bench-{os.getpid()}"
    d.mkdir()
    try:
        run(args, d)
    except (BenchError, subprocess.CalledProcessError) as e:
        sys.exit(f"bench-blk: {e}")
    finally:
        shutil.rmtree(d, ignore_errors=True)


if __name__ == "__main__":
    main()

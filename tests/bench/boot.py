#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""make bench-boot: from dom0's start until our API answers, against Debian from kernel start to its login prompt.

Same emulated machine for both (tests/lab/qemu.py), alternating; each boots a disk that was booted before.  The peer
runs straight on the machine, without Xen below it, which is the faster way for it: Debian's kernel, its
initramfs-tools initrd, systemd, a getty on the serial line, nothing else installed.
Ours starts at the last line of Xen before dom0 and ends when `hvapi host show` has answered, TLS included.
"""
import argparse
import os
import re
import select
import shutil
import signal
import statistics
import subprocess
import sys
import time

import scene
from scene import BUILD, LAB, TOP, LabError, cli, hosts
import qemu
from places import ISO, read_state

WORK = BUILD / "bench"
ROOT, DISK = WORK / "debian-root", WORK / "debian.img"
KERNEL, INITRD = WORK / "debian-vmlinuz", WORK / "debian-initrd"
PACKAGES = "systemd-sysv,udev,initramfs-tools,linux-image-amd64"
RELEASE = "bookworm"
DISK_MIB = 2048
DOM0_STARTS = re.compile(rb"\(XEN\) Freed \d+kB init memory")
READY = re.compile(rb"hvapi: ready\b")
KERNEL_STARTS = re.compile(rb"Linux version ")
LOGIN = re.compile(rb"login: ")
# Debian's `quiet`, but for the kernel's first line, which must be seen when it is printed (a notice: loglevel 6).
APPEND = "root=/dev/vda ro console=ttyS0 earlycon=uart8250,io,0x3f8,115200 loglevel=6 systemd.show_status=auto"
LIMIT_S = 300
LOOK_S = 0.01


def say(text):
    print(text, flush=True)


def run(*argv, env=None):
    p = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, env=env)
    if p.returncode:
        raise LabError(f"{argv[0]}: exit status {p.returncode}: {p.stdout[-800:]}")
    return p.stdout


def mirror():
    """Where this machine's apt gets the release from."""
    targets = run("apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages")
    for line in targets.split("\n"):
        codename, _, uri = line.partition(" ")
        if codename == RELEASE:
            return uri
    raise LabError(f"apt has no source for {RELEASE}: the peer is made of its packages")


def make_peer():
    """The peer's disk, kernel and initrd, once; `rm -r build/bench` makes them anew."""
    if DISK.exists():
        return
    if not shutil.which("debootstrap"):
        raise LabError("debootstrap is missing: apt-get install debootstrap")
    say(f"peer: debootstrap of {RELEASE} into {ROOT}, once, a few minutes")
    shutil.rmtree(ROOT, ignore_errors=True)
    WORK.mkdir(parents=True, exist_ok=True)
    run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", RELEASE, ROOT, mirror())
    finish_peer()


def finish_peer():
    (ROOT / "etc/fstab").write_text("/dev/vda / ext4 errors=remount-ro 0 1\n")
    (ROOT / "etc/hostname").write_text("debian\n")
    run("chroot", ROOT, "systemd-machine-id-setup")     # or each boot would be a first boot
    run("chroot", ROOT, "passwd", "-d", "root")
    for made, pattern in ((KERNEL, "vmlinuz-*"), (INITRD, "initrd.img-*")):
        shutil.copyfile(next((ROOT / "boot").glob(pattern)), made)
    part = DISK.with_suffix(".part")
    part.unlink(missing_ok=True)
    run("mke2fs", "-q", "-t", "ext4", "-d", ROOT, part, f"{DISK_MIB}M",
        env=os.environ | {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"})
    part.rename(DISK)


def seen_at(path, offset, patterns, ended):
    """When each pattern, in order, was first there in the log behind offset."""
    times, limit = [], time.monotonic() + LIMIT_S
    for pattern in patterns:
        while not (path.exists() and pattern.search(path.read_bytes()[offset:])):
            if time.monotonic() > limit or ended():
                raise LabError(f"{path}: no line '{pattern.pattern.decode()}' within {LIMIT_S} s or before the end")
            select.select([], [], [], LOOK_S)
        times.append(time.monotonic())
    return times


def boot_ours():
    log = hosts.serial_log("hv1")
    offset = log.stat().st_size
    hosts.power_on("hv1", wait=False)
    host = read_state()["hosts"]["hv1"]
    start, _ = seen_at(log, offset, (DOM0_STARTS, READY), lambda: not hosts.alive(host["process"]))
    cli.run("hv1", "host", "show")
    taken = time.monotonic() - start
    hosts.power_off("hv1")
    return taken


def boot_peer():
    log = WORK / "debian.log"
    log.unlink(missing_ok=True)
    argv = [qemu.QEMU, *qemu.machine(), "-display", "none", "-nodefaults", "-no-reboot", "-serial", f"file:{log}",
            "-kernel", KERNEL, "-initrd", INITRD, "-append", APPEND, *qemu.disk("root", DISK, "root")]
    with open(WORK / "qemu.log", "wb") as out:
        machine = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        start, end = seen_at(log, 0, (KERNEL_STARTS, LOGIN), lambda: machine.poll() is not None)
        return end - start
    finally:
        machine.kill()
        machine.wait()


def measure(rounds):
    ours, peer = [], []
    hosts.power_off("hv1")
    boot_peer()                 # both have booted once, unmeasured
    for _ in range(rounds):
        ours.append(boot_ours())
        say(f"ours    {ours[-1]:6.2f} s from dom0's start until the API answered")
        peer.append(boot_peer())
        say(f"debian  {peer[-1]:6.2f} s from kernel start to the login prompt")
    a, b = statistics.median(ours), statistics.median(peer)
    say(f"median  ours {a:.2f} s, debian {b:.2f} s")
    say(f"count iso_mib {ISO.stat().st_size / (1 << 20):.1f}")
    say(f"ratio api_ready_vs_debian_login {a / b:.3f}")


def on_term(_signo, _frame):
    raise KeyboardInterrupt


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--peer", action="store_true", help="only make the peer's disk")
    o = p.parse_args()
    signal.signal(signal.SIGTERM, on_term)
    try:
        make_peer()
        if not o.peer:
            hosts.up(1, ISO, uefi=True, say=say)
            measure(o.rounds)
        return 0
    except LabError as e:
        say(f"bench-boot: {e}")
        return 1
    finally:
        scene.down()


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Times the boot of an ISO under software emulation, to choose how the initrd is packed.

  measure.py boot ISO [--uefi] [--stick]   seconds until each stage, one boot
  measure.py pack [--runs N]            one image a way of packing, booted in turn

`pack` puts a tiny program in hvinit's place that says that it runs: what is measured is the way there.
"""
import argparse
import pathlib
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import time

from lists import WORK, ImageError
from rootfs import Packing

# What emulation needs: nested paging on, and nothing that its interpreter gets wrong under Xen.
QEMU = ["qemu-system-x86_64", "-machine", "q35,accel=tcg", "-smp", "1", "-m", "1400", "-cpu",
        "EPYC,+svm,+npt,-smap,-smep,-monitor,-rdtscp,-avx,-avx2,-xsave", "-display", "none", "-nodefaults",
        "-no-reboot", "-serial", "stdio"]
OVMF = "/usr/share/OVMF/OVMF_CODE.fd"
# Stage -> what the serial line shows when it begins.
STAGES = {"grub": rb"GRUB", "xen": rb"Xen 4\.|\(XEN\)", "dom0": rb"Linux version|\[ +0\.0000", "init": rb"Run /init"}
TIMEOUT_S = 180
# No lz4 initrd: the kernel finds no second archive behind one of lz4.
GZIP1, GZIP9, LZ4 = ("gzip", "-n", "-1"), ("gzip", "-n", "-9"), ("lz4", "-q", "-l", "-9", "-")
ZSTD3, ZSTD15, ZSTD19 = ("zstd", "-q", "-3"), ("zstd", "-q", "-15"), ("zstd", "-q", "-19")
PACKINGS = {
    "as Debian: kernel xz, initrd zstd -15, modules plain": Packing(ZSTD15, kernel=None, modules=None),
    "kernel zstd -19, initrd zstd -15, modules plain": Packing(ZSTD15, modules=None),
    "kernel zstd -19, initrd zstd -15, modules zstd": Packing(ZSTD15),
    "... initrd zstd -19": Packing(ZSTD19),
    "... initrd zstd -3": Packing(ZSTD3),
    "... initrd gzip -1": Packing(GZIP1),
    "... initrd gzip -9": Packing(GZIP9),
    "... initrd not packed": Packing(("cat",)),
    "kernel lz4, initrd zstd -15, modules zstd": Packing(ZSTD15, kernel=LZ4),
}
STANDIN = r"""
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/mount.h>
int main(void)
{
	char up[64] = "?";
	FILE *f;

	if (mount("proc", "/proc", "proc", 0, NULL) == 0 && (f = fopen("/proc/uptime", "r")))
		fgets(up, sizeof(up), f);
	printf("STANDIN READY uptime %s\n", strtok(up, " "));
	fflush(stdout);
	for (;;)
		pause();
}
"""


def media(iso, stick):
    """The ISO as a CD, or as a USB stick that it was copied to."""
    if not stick:
        return ["-cdrom", str(iso)]
    return ["-drive", f"file={iso},format=raw,if=none,id=stick,snapshot=on", "-device", "nec-usb-xhci",
            "-device", "usb-storage,drive=stick"]


def boot(iso, uefi=False, ready="STANDIN READY", log=None, stick=False):
    """Seconds from QEMU's start to each stage and to `ready`; the text of the serial line goes to `log`."""
    firmware = ["-bios", OVMF] if uefi else []
    start = time.monotonic()
    machine = subprocess.Popen([*QEMU, *firmware, *media(iso, stick)], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        return watch(machine, start, STAGES | {"ready": re.escape(ready.encode()) + rb"[^\n]*\n"}, log)
    finally:
        machine.kill()
        machine.wait()


def watch(machine, start, stages, log):
    seen, text = {}, b""
    with selectors.DefaultSelector() as s:
        s.register(machine.stdout, selectors.EVENT_READ)
        while "ready" not in seen:
            left = start + TIMEOUT_S - time.monotonic()
            data = machine.stdout.read1(65536) if left > 0 and s.select(left) else b""
            text += data
            if log:
                log.write_bytes(text)
            if not data:
                tail, passed = text[-800:].decode(errors="replace"), time.monotonic() - start
                raise ImageError(f"not ready after {passed:.0f} s; the serial line ends with:\n{tail}")
            now = time.monotonic() - start
            for stage, pattern in stages.items():
                if stage not in seen and re.search(pattern, text):
                    seen[stage] = now
    uptime = re.search(rb"uptime ([\d.]+)", text)
    return seen | ({"uptime": float(uptime.group(1))} if uptime else {})


def line(seen):
    return "  ".join(f"{stage} {seconds:.1f}" for stage, seconds in seen.items())


def pack(runs):
    import build
    with tempfile.TemporaryDirectory() as folder:
        source, program = pathlib.Path(folder) / "init.c", pathlib.Path(folder) / "init"
        source.write_text(STANDIN)
        subprocess.run(["gcc", "-O2", "-static", "-o", program, source], check=True)
        isos = {name: build.build("measure", init=program, packing=packing, out=WORK / f"measure-{i}.iso")
                for i, (name, packing) in enumerate(PACKINGS.items())}
    times = {name: [] for name in isos}
    for _ in range(runs):
        for name, iso in isos.items():
            times[name].append(boot(iso, uefi=True))
            print(f"{name}: {line(times[name][-1])}", flush=True)
    # The least of the runs: what else the machine does can only add.
    print(f"{'packing':54} {'ISO MiB':>8} {'GRUB to Xen':>12} {'Xen to init':>12} {'kernel to init':>15} {'all':>6}")
    for name, seen in times.items():
        def least(f):
            return min(f(s) for s in seen)
        print(f"{name:54} {isos[name].stat().st_size / (1 << 20):8.1f} {least(lambda s: s['xen'] - s['grub']):12.1f}"
              f" {least(lambda s: s['ready'] - s['xen']):12.1f} {least(lambda s: s['uptime']):15.1f}"
              f" {least(lambda s: s['ready']):6.1f}")
        isos[name].unlink()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(dest="what", required=True)
    one = sub.add_parser("boot")
    one.add_argument("iso", type=pathlib.Path)
    one.add_argument("--uefi", action="store_true")
    one.add_argument("--stick", action="store_true", help="as a USB stick, not as a CD")
    one.add_argument("--ready", default="STANDIN READY", help="text on the serial line that ends the boot")
    one.add_argument("--log", type=pathlib.Path, help="keep the serial line's text here")
    several = sub.add_parser("pack")
    several.add_argument("--runs", type=int, default=3)
    o = p.parse_args()
    # So that the emulator ends with us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("image: stopped"))
    if o.what == "boot":
        print(line(boot(o.iso, o.uefi, o.ready, o.log, o.stick)))
    else:
        pack(o.runs)


if __name__ == "__main__":
    try:
        main()
    except ImageError as e:
        sys.exit(f"image: {e}")

# SPDX-License-Identifier: Apache-2.0
"""Makes the ISO: GRUB for BIOS and UEFI with only the modules it needs, Xen, the kernel, the initrd.

It boots as a CD or, copied to one as it is, from a USB stick.  grub-mkrescue would do the same with 20 MB of GRUB.
"""
import os
import shutil
import subprocess
import time

from lists import EPOCH, HERE, WORK

LABEL = "HVAPI-ISO"
# dom0's memory grows with the host's: image/README.md has the rule.
XEN = "console=com1,vga com1=115200,8n1 dom0_mem=608M+2%,max:608M+2% sched=credit2"
DOM0 = "console=tty0 console=hvc0 nomodeset"
SHELL = {"debug": " hvapi.debug", "bench": " hvapi.debug"}

GRUB_LIB = "/usr/lib/grub"
GRUB_MODULES = ("boot", "configfile", "echo", "gzio", "iso9660", "multiboot2", "normal", "part_gpt", "part_msdos",
                "search", "search_label", "serial", "terminal", "test")
BIOS_MODULES = ("biosdisk",)
EARLY = f"search --no-floppy --label --set=root {LABEL}\nset prefix=($root)/boot/grub\n"


def run(*command, **options):
    """Runs a tool quietly; its messages are shown if it fails."""
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env=os.environ | {"SOURCE_DATE_EPOCH": str(EPOCH)}, **options)
    if done.returncode:
        print(done.stdout)
        raise SystemExit(f"image: {command[0]} failed (exit {done.returncode}): {' '.join(map(str, command))}")


def grub_image(folder, platform, modules, out, prefix):
    early = folder.parent / "early.cfg"
    early.write_text(EARLY)
    run("grub-mkimage", "-O", platform, "-d", f"{GRUB_LIB}/{platform}", "-p", prefix, "-c", early, "-o", out,
        *GRUB_MODULES, *modules)


def add_bios(stage):
    core = WORK / "core.img"
    grub_image(stage, "i386-pc", BIOS_MODULES, core, "/boot/grub")
    with open(f"{GRUB_LIB}/i386-pc/cdboot.img", "rb") as first:
        (stage / "boot/grub/bios.img").write_bytes(first.read() + core.read_bytes())


def add_efi(stage):
    """A FAT image with the loader at the path that firmware looks for."""
    loader = WORK / "bootx64.efi"
    grub_image(stage, "x86_64-efi", (), loader, "/boot/grub")
    image = stage / "boot/grub/efi.img"
    sectors = -(-(loader.stat().st_size + (96 << 10)) // (32 << 10)) * 64
    image.write_bytes(b"\0" * (sectors * 512))
    os.utime(loader, (EPOCH, EPOCH))
    run("mformat", "-i", image, "-N", "48564150", "-T", sectors, "-h", "1", "-s", "1", "::")
    run("mmd", "-i", image, "::/EFI", "::/EFI/BOOT")
    run("mcopy", "-m", "-i", image, loader, "::/EFI/BOOT/BOOTX64.EFI")


def menu(flavour):
    text = (HERE / "grub.cfg").read_text()
    return text.replace("@XEN@", XEN).replace("@DOM0@", DOM0 + SHELL.get(flavour, ""))


def write_image(stage, out):
    date = time.strftime("%Y%m%d%H%M%S00", time.gmtime(EPOCH))
    run("xorriso", "-as", "mkisofs", "-quiet", "-r", "-V", LABEL, "-o", out, f"--modification-date={date}",
        "-b", "boot/grub/bios.img", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", "--grub2-boot-info",
        "--grub2-mbr", f"{GRUB_LIB}/i386-pc/boot_hybrid.img",
        "--efi-boot", "boot/grub/efi.img", "-efi-boot-part", "--efi-boot-image", "--protective-msdos-label",
        stage)


def make(flavour, hypervisor, kernel_image, initrd, packages_text, out):
    """The ISO of a flavour from its pieces; `out` appears only when it is whole."""
    stage = WORK / f"iso-{flavour}"
    shutil.rmtree(stage, ignore_errors=True)
    (stage / "boot/grub").mkdir(parents=True)
    shutil.copyfile(hypervisor, stage / "boot/xen.gz")
    shutil.copyfile(kernel_image, stage / "boot/vmlinuz")
    (stage / "boot/initrd").write_bytes(initrd)
    (stage / "boot/grub/grub.cfg").write_text(menu(flavour))
    (stage / "packages").write_text(packages_text)
    add_bios(stage)
    add_efi(stage)
    for path in (stage, *stage.rglob("*")):
        os.utime(path, (EPOCH, EPOCH))
    part = out.with_suffix(".part")
    write_image(stage, part)
    part.rename(out)

# SPDX-License-Identifier: Apache-2.0
"""One emulated host: QEMU's arguments, and whether this machine's KVM can run Xen."""
import functools
import os
import pathlib
import shutil
import subprocess

from places import LAB, LabError
from vols import management_mac, uplink_mac

MEMORY_MIB = 1400
API_PORT = 8443
QEMU = "qemu-system-x86_64"
FIRMWARE = pathlib.Path("/usr/share/OVMF")
# Nested paging for log-dirty; without what QEMU 7.2 emulates wrongly for Xen or what makes programs crash under it.
TCG_CPU = "EPYC,+svm,+npt,-smap,-smep,-monitor,-rdtscp,-avx,-avx2,-xsave"


def kvm_nests():
    for module in ("kvm_amd", "kvm_intel"):
        path = pathlib.Path(f"/sys/module/{module}/parameters/nested")
        if path.exists() and path.read_text().strip() in ("1", "Y", "y"):
            return True
    return False


@functools.cache
def accelerator():
    """"kvm" if it is there, nests, and starts a machine; else "tcg".  HVAPI_LAB_ACCEL overrides."""
    if os.environ.get("HVAPI_LAB_ACCEL"):
        return os.environ["HVAPI_LAB_ACCEL"]
    if not os.access("/dev/kvm", os.R_OK | os.W_OK) or not kvm_nests():
        return "tcg"
    trial = [QEMU, "-machine", "q35,accel=kvm", "-cpu", "host", "-S", "-display", "none", "-nodefaults", "-monitor",
             "stdio"]
    p = subprocess.run(trial, input=b"quit\n", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=20)
    return "kvm" if p.returncode == 0 else "tcg"


def machine():
    accel = accelerator()
    cpu = "host" if accel == "kvm" else TCG_CPU
    return ["-machine", f"q35,accel={accel}", "-cpu", cpu, "-smp", "1", "-m", str(MEMORY_MIB)]


def firmware(name, uefi):
    if not uefi:
        return []
    code = FIRMWARE / "OVMF_CODE_4M.fd"
    if not code.exists():
        raise LabError(f"{code} is missing: install ovmf, or use --bios")
    vars_file = LAB / name / "vars.fd"
    if not vars_file.exists():
        shutil.copyfile(FIRMWARE / "OVMF_VARS_4M.fd", vars_file)
    return ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}",
            "-drive", f"if=pflash,format=raw,unit=1,file={vars_file}"]


def disk(name, path, serial, shared=False, readonly=False):
    """cache=unsafe: what the host wrote survives its power cut in this machine's memory, flushed or not."""
    drive = f"if=none,id={name},format=raw,cache=unsafe,file={path}"
    drive += ",file.locking=off" if shared else ""
    drive += ",readonly=on" if readonly else ""
    return ["-drive", drive, "-device",
            f"virtio-blk-pci,drive={name},serial={serial}" + (",share-rw=on" if shared else "")]


def network(name, hub_dir, port):
    return ["-netdev", f"stream,id=lab,server=off,addr.type=unix,addr.path={hub_dir}/{name}.sock",
            "-device", f"virtio-net-pci,netdev=lab,mac={uplink_mac(name)}",
            "-netdev", f"user,id=mgmt,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:{API_PORT}",
            "-device", f"virtio-net-pci,netdev=mgmt,mac={management_mac(name)}"]


def arguments(name, iso, uefi, port):
    folder = LAB / name
    return [QEMU, "-name", name, *machine(), *firmware(name, uefi), "-display", "none", "-nodefaults",
            "-chardev", f"socket,id=s0,path={folder}/serial.sock,server=on,wait=off,"
                        f"logfile={folder}/serial.log,logappend=on",
            "-serial", "chardev:s0", "-qmp", f"unix:{folder}/qmp.sock,server=on,wait=off",
            "-drive", f"if=none,id=cd,media=cdrom,format=raw,readonly=on,file={iso}",
            "-device", "ide-cd,drive=cd,bootindex=0",
            *network(name, LAB, port),
            *disk("data", folder / "data.img", f"hvdata-{name}"),
            *disk("lun0", LAB / "lun0.img", "lun0", shared=True),
            *disk("lun1", LAB / "lun1.img", "lun1", shared=True),
            *disk("settings", folder / "settings.img", "settings", readonly=True)]


def start(name, iso, uefi, port):
    log = LAB / name / "qemu.log"
    with open(log, "ab") as out:
        try:
            return subprocess.Popen(arguments(name, iso, uefi, port), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                    start_new_session=True)
        except FileNotFoundError as e:
            raise LabError(f"{QEMU} is missing: run `make deps`") from e

# SPDX-License-Identifier: Apache-2.0
"""Gets the Debian packages of the image: resolved by apt's signed index, checked, unpacked, never installed.

packages.lock pins entry, package, version and SHA-256.  A pinned package that lies in build/image/debs is used
without asking anybody; one that the mirror dropped gives way to the mirror's version, with a line that says so.
"""
import re
import shutil
import subprocess
from typing import NamedTuple

from lists import DEBS, HERE, UNPACKED, WORK, ImageError, file_sha256, words

LOCK = HERE / "packages.lock"


class Package(NamedTuple):
    entry: str      # the word in `packages`
    name: str
    version: str
    sha256: str

    @property
    def deb(self):
        """Where apt-get download puts it: the colon of an epoch is escaped."""
        return DEBS / f"{self.name}_{self.version.replace(':', '%3a')}_amd64.deb"

    @property
    def folder(self):
        return UNPACKED / f"{self.name}_{self.version}"


def read_lock():
    if not LOCK.exists():
        return {}
    rows = [line.split() for line in LOCK.read_text().split("\n") if line and not line.startswith("#")]
    return {row[0]: Package(*row) for row in rows}


def write_lock(packages):
    text = "# Written by `build.py --relock`: entry of packages, package, version, SHA-256 of the .deb.\n"
    LOCK.write_text(text + "".join(" ".join(p) + "\n" for p in sorted(packages)))


def apt_show(names, *options):
    """Records of apt's index (fields as a dict) for the names, candidate version first."""
    if not names:
        return []
    out = subprocess.run(["apt-cache", *options, "show", *names], capture_output=True, text=True)
    records = []
    for block in out.stdout.split("\n\n"):
        fields = dict(re.findall(r"^([\w-]+): (.*)$", block, re.M))
        if fields.get("SHA256"):
            records.append(fields)
    return records


def meta_target(entry):
    """The package that the meta-package @NAME depends on."""
    for record in apt_show([entry[1:]], "--no-all-versions"):
        return record["Depends"].split()[0].rstrip(",")
    raise ImageError(f"package '{entry[1:]}' is not in apt's index: run `apt-get update`")


def resolve(entries, lock):
    """One Package for each entry: the pinned one where it can still be had, else the mirror's."""
    cached = {e: lock[e] for e in entries if e in lock and lock[e].deb.exists()}
    missing = [e for e in entries if e not in cached]
    names = {e: lock[e].name if e in lock else meta_target(e) if e[0] == "@" else e for e in missing}
    index = {}
    for record in apt_show(list(names.values())):
        index.setdefault(record["Package"], {})[record["Version"]] = record["SHA256"]
    return [cached[e] if e in cached else choose(e, names[e], lock.get(e), index) for e in entries]


def choose(entry, name, pinned, index):
    versions = index.get(name, {})
    if pinned and versions.get(pinned.version) == pinned.sha256:
        return pinned
    if pinned and pinned.version in versions:
        raise ImageError(f"package '{name}' {pinned.version}: the mirror's SHA-256 is not that of packages.lock; "
                         "find out why before you run `image/build.py --relock`")
    if pinned and entry[0] == "@":
        name = meta_target(entry)
        versions = {r["Version"]: r["SHA256"] for r in apt_show([name])}
    if not versions:
        raise ImageError(f"package '{name}' is not in apt's index: run `apt-get update`")
    version, sha256 = next(iter(versions.items()))
    if pinned:
        print(f"image: the mirror no longer has {pinned.name} {pinned.version}; using {name} {version}")
    return Package(entry, name, version, sha256)


def download(packages):
    DEBS.mkdir(parents=True, exist_ok=True)
    missing = [p for p in packages if not p.deb.exists()]
    if missing:
        print(f"image: downloading {len(missing)} packages")
        run = subprocess.run(["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root",
                              *(f"{p.name}={p.version}" for p in missing)],
                             cwd=DEBS, stderr=subprocess.PIPE, text=True)
        if run.returncode:
            raise ImageError(f"apt-get download: {run.stderr.strip()}")
    for p in packages:
        if not p.deb.exists():
            raise ImageError(f"apt-get download made no {p.deb.name}")


def unpack(packages):
    """Each package in a folder of its own; the check of the sum comes first."""
    for p in packages:
        if p.folder.exists():
            continue
        found = file_sha256(p.deb)
        if found != p.sha256:
            p.deb.unlink()
            raise ImageError(f"{p.deb.name}: SHA-256 is {found}, the index says {p.sha256}: deleted, run again")
        part = p.folder.with_name(p.folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        subprocess.run(["dpkg-deb", "-x", p.deb, part], check=True)
        part.rename(p.folder)


def fetch(sections, relock=False):
    """Packages of the sections, unpacked; also leaves build/image/manifest."""
    entries = words("packages", sections)
    packages = resolve(entries, {} if relock else read_lock())
    download(packages)
    unpack(packages)
    return packages


def manifest(packages):
    """What the image was made of: one line a package."""
    return "".join(f"{p.name} {p.version} {p.sha256}\n" for p in sorted(packages, key=lambda p: p.name))


def save_manifest(packages):
    WORK.mkdir(parents=True, exist_ok=True)
    (WORK / "manifest").write_text(manifest(packages))

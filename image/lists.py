# SPDX-License-Identifier: Apache-2.0
"""Paths, flavours, and the lists (packages, files, modules) that say what is in the image.

A list is words under [section] headings; `#` starts a comment.  A flavour is a set of sections:
what debug and bench images hold is the shipped image plus their own section, never less.
"""
import hashlib
import os
import pathlib
import re

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent
BUILD = TOP / "build"
WORK = BUILD / "image"
DEBS = WORK / "debs"
UNPACKED = WORK / "x"

# Flavour -> its sections, and the ISO it makes.
FLAVOURS = {
    "ship": (["base"], BUILD / "hvapi.iso"),
    "debug": (["base", "debug"], BUILD / "hvapi-debug.iso"),
    "bench": (["base", "bench"], BUILD / "hvapi-bench.iso"),
    # measure.py's, with another program in hvinit's place; never shipped.
    "measure": (["base"], WORK / "measure.iso"),
}
# depmod and modinfo are administrators' tools, which not every PATH names.
os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

# All times inside the image, so that equal inputs make equal images.
EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "1700000000"))


class ImageError(Exception):
    """What is wrong and what to do, in one line for the person who builds."""


def words(name, sections):
    """Words of the list `name` (a file of this folder) in the given sections, in order, once each."""
    found, section = {}, None
    for number, line in enumerate((HERE / name).read_text().split("\n"), 1):
        line = line.split("#")[0].strip()
        heading = re.fullmatch(r"\[(\w+)\]", line)
        if heading:
            section = heading.group(1)
        elif line and section is None:
            raise ImageError(f"image/{name}:{number}: '{line}' stands before the first [section]")
        elif section in sections:
            found.update(dict.fromkeys(line.split()))
    return list(found)


def root_of(flavour):
    return WORK / ("root" if flavour == "ship" else f"root-{flavour}")


def file_sha256(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()

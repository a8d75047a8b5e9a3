# SPDX-License-Identifier: Apache-2.0
"""Calls build/bin/hvapi as the lab's operator."""
import json
import os
import subprocess

from places import CLI, LAB, LabError

TIMEOUT_S = 300


class CliError(LabError):
    """The command failed: exit status and what it said."""

    def __init__(self, argv, status, text):
        super().__init__(f"hvapi {' '.join(argv)}: exit status {status}: {text.strip()}")
        self.status, self.text = status, text


def environment():
    return {**os.environ, "HVAPI_CONFIG_DIR": str(LAB / "operator")}


def run(host, *args, timeout_s=TIMEOUT_S):
    """What `hvapi --host HOST --json ARGS` answers ({} if nothing); CliError when it fails."""
    if not CLI.exists():
        raise LabError(f"{CLI} is not built: run `make`")
    argv = [*(["--host", host] if host else []), "--json", *map(str, args)]
    try:
        p = subprocess.run([CLI, *argv], env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, timeout=timeout_s)
    except subprocess.TimeoutExpired as e:
        raise CliError(argv, 124, f"no answer within {timeout_s} s") from e
    if p.returncode:
        raise CliError(argv, p.returncode, (p.stderr or p.stdout).decode(errors="replace"))
    text = p.stdout.decode()
    try:
        return json.loads(text) if text.strip() else {}
    except ValueError as e:
        raise CliError(argv, 0, f"not JSON: {text[:300]}") from e

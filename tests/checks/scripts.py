#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Scripts parse, can be executed, and name an interpreter that Debian has at that path."""

import os
import subprocess

import checklib
from checklib import Executable

INTERPRETERS = {"#!/bin/sh", "#!/bin/bash", "#!/usr/bin/python3"}
# The test guest's userland is busybox, which is a shell of its own.
GUEST = "#!/bin/busybox sh"


def check(tree):
    problems = []
    for path in tree.paths:
        if not tree.is_text(path):
            continue
        first = tree.text(path).split("\n", 1)[0].strip()
        python = path.endswith(".py") or first == "#!/usr/bin/python3"
        if first.startswith("#!"):
            if first not in INTERPRETERS | {GUEST}:
                problems.append(f"{path}: '{first}': use one of {', '.join(sorted(INTERPRETERS))}")
            if first != GUEST and not path.endswith(".in") and not os.access(tree.root / path, os.X_OK):
                problems.append(f"{path}: is not executable")
        if python:
            try:
                compile(tree.text(path), path, "exec")
            except SyntaxError as error:
                problems.append(f"{path}:{error.lineno}: {error.msg}")
        elif first.endswith(("sh", "bash")) and first.startswith("#!"):
            shell = "bash" if "bash" in first else "sh"
            done = subprocess.run([shell, "-n", tree.root / path], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                problems.append(f"{path}: {done.stderr.strip()}")
    return problems


GOOD = [{"a": Executable("#!/bin/bash\nif true; then x=(1); fi\n"), "b.py": "x = 1\n"}]
BAD = [
    ({"a": Executable("#!/bin/bash\nif true; then\n")}, "a:"),
    ({"a": Executable("#!/bin/sh\nx=(1)\n")}, "a:"),
    ({"a.py": "def x(:\n"}, "a.py:1"),
    ({"a": "#!/bin/sh\n"}, "not executable"),
    ({"a": Executable("#!/usr/local/bin/python3\n")}, "/usr/local"),
]

if __name__ == "__main__":
    checklib.run(check, GOOD, BAD)

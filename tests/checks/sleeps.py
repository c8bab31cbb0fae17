#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tests never sleep to order things. sleeps.allow names the few places that do it for another reason: one polling call with a
deadline, a disk that has to be slow. fiber_sleep(0) is no wait: it lets the others run. Measurements (bench) may wait as they like."""

import re

import checklib

C_RE = re.compile(r"\b(sleep|usleep|nanosleep|clock_nanosleep|g_usleep|fiber_sleep(?!\s*\(0\)))\s*\(")
PYTHON_RE = re.compile(r"\b(?:time\.|asyncio\.)?(sleep)\s*\(")
SHELL_RE = re.compile(r"(?:^|[;&|({]|\bdo|\bthen)\s*(sleep)\s+[\d.$\"]", re.M)


def calls(tree, path):
    text = tree.text(path)
    if path.endswith((".c", ".h")):
        return C_RE.findall(checklib.blank_comments(text))
    text = re.sub(r"(^|\s)#.*", "", text)
    if path.endswith(".py") or "python" in text.split("\n", 1)[0]:
        return PYTHON_RE.findall(text)
    if path.endswith(".sh") or tree.text(path).startswith(("#!/bin/sh", "#!/bin/bash")):
        return SHELL_RE.findall(text)
    return PYTHON_RE.findall(text) if tree.text(path).startswith("#!/usr/bin/python3") else []


def check(tree):
    allowed = tree.allowed("sleeps")
    seen = set()
    problems = []
    for path in tree.files(under=("tests",)):
        if path.startswith(("tests/checks/", "tests/bench/")) or not tree.is_text(path):
            continue
        for call in calls(tree, path):
            seen.add(path)
            if path not in allowed:
                problems.append(f"{path}: {call}: wait for the thing itself, with a deadline")
    return sorted(set(problems)) + checklib.unused(allowed, seen, "sleeps")


GOOD = [
    {"tests/a.c": "/* sleep(1) */ int x = fiber_wait_fd(1); fiber_sleep(0);\n", "tests/a.py": "# time.sleep(1)\nsleepy(2)\n",
     "tests/a.sh": "#!/bin/sh\necho sleep 1\n", "driver/a.c": "usleep(3);\n"},
    {"tests/lib/poll.py": "time.sleep(0.1)\n", "tests/checks/sleeps.allow": "tests/lib/poll.py: polls with a deadline\n"},
]
BAD = [
    ({"tests/a.c": "usleep(3);\n"}, "usleep"),
    ({"tests/a.c": "fiber_sleep(3);\n"}, "fiber_sleep"),
    ({"tests/a.py": "time.sleep(3)\n"}, "tests/a.py"),
    ({"tests/a": "#!/usr/bin/python3\nsleep(3)\n"}, "tests/a"),
    ({"tests/a": "#!/bin/bash\nx; sleep 1\n"}, "tests/a"),
    ({"tests/a.c": "\n", "tests/checks/sleeps.allow": "tests/a.c: because\n"}, "not needed"),
]

if __name__ == "__main__":
    checklib.run(check, GOOD, BAD)

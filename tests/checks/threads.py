#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Threads start only in driver/engine and in helper programs that threads.allow names; everything else has one loop."""

import re

import checklib

START_RE = re.compile(r"\b(pthread_create|thrd_create|g_thread_new|g_thread_try_new|g_thread_pool_new\w*)\s*\(")
ROOM = "driver/engine/"


def check(tree):
    allowed = tree.allowed("threads")
    seen = set()
    problems = []
    for path in tree.files(".c", ".h", under=("driver", "xml", "daemon", "tools")):
        for call in START_RE.findall(checklib.blank_comments(tree.text(path))):
            seen.add(path)
            if not path.startswith(ROOM) and path not in allowed:
                problems.append(f"{path}: {call}(): threads start in {ROOM} only")
    return problems + checklib.unused(allowed, seen, "threads")


GOOD = [
    {"driver/engine/worker.c": "int x(void) { return pthread_create(&t, 0, f, 0); }\n",
     "driver/qemu/a.c": "/* pthread_create(); */\n", "tests/a.c": "pthread_create();\n",
     "driver/qemu/populate_main.c": "pthread_create();\n",
     "tests/checks/threads.allow": "driver/qemu/populate_main.c: a program of its own\n"},
]
BAD = [
    ({"driver/qemu/a.c": "pthread_create (&t);\n"}, "pthread_create"),
    ({"daemon/a.c": "g_thread_new(0);\n"}, "g_thread_new"),
    ({"daemon/a.c": "\n", "tests/checks/threads.allow": "daemon/a.c: because\n"}, "not needed"),
]

if __name__ == "__main__":
    checklib.run(check, GOOD, BAD)

#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each source file has a unit test at the mirrored place: driver/engine/ram_block.c -> tests/engine/test-ram-block.c. A file that is
a part of another one (complete_pci.c beside complete.c, or one of several dispatch_*.c) may share its test (test-complete.c).

mirror.allow lists the files without one, and an entry for x.c speaks for its parts x_y.c, too. Its reason may be words, or 'covered by PATH'; then PATH must exist.
"""

import posixpath
import re

import checklib


def test_of(path):
    """Where the test of a source file may stand."""
    folder, name = posixpath.split(path)
    folder = re.sub(r"^driver/(?=.)", "", folder + "/").rstrip("/")
    words = name.removesuffix(".c").split("_")
    names = [f"test-{mark.join(words[:n])}.c" for n in range(len(words), 0, -1) for mark in "-_"]
    places = [f"tests/{folder}/{one}" for one in names]
    if "/" in folder:  # daemon/rpc/x.c may also be tested by tests/daemon/test-x.c
        places += [f"tests/{posixpath.dirname(folder)}/{one}" for one in names]
    return places


def entry_for(path, allowed):
    """The entry of the allow list that speaks for a file, or None."""
    words = path.removesuffix(".c").split("_")
    candidates = ["_".join(words[:n]) + ".c" for n in range(len(words), 0, -1)]
    return next((candidate for candidate in candidates if candidate in allowed), None)


def check(tree):
    allowed = tree.allowed("mirror")
    seen = set()
    problems = []
    for path in tree.files(".c", under=("driver", "xml", "daemon")):
        if any(tree.exists(place) for place in test_of(path)):
            continue
        item = entry_for(path, allowed)
        seen.add(item)
        if item is None:
            problems.append(f"{path}: has no unit test {test_of(path)[0]}")
        elif allowed[item].startswith("covered by "):
            problems += [f"tests/checks/mirror.allow: {path}: there is no {other}"
                         for other in re.split(r",\s*|\s+and\s+", allowed[item].removeprefix("covered by "))
                         if not tree.exists(other)]
    return problems + checklib.unused(allowed, seen, "mirror")


GOOD = [
    {"driver/engine/ram_block.c": "", "tests/engine/test-ram-block.c": "", "driver/driver.c": "", "tests/driver/test-driver.c": "",
     "xml/complete_pci.c": "", "tests/xml/test-complete.c": "",
     "daemon/rpc/frame.c": "", "tests/daemon/test-frame.c": "", "daemon/rpc/tls.c": "", "tests/daemon/rpc/test-tls.c": ""},
    {"xml/a.c": "", "xml/a_part.c": "", "xml/b.c": "", "tests/live/b.py": "",
     "tests/checks/mirror.allow": "xml/a.c: a table\nxml/b.c: covered by tests/live/b.py\n"},
]
BAD = [
    ({"driver/engine/a.c": "", "tests/engine/test-b.c": ""}, "tests/engine/test-a.c"),
    ({"xml/a.c": "", "tests/checks/mirror.allow": "xml/a.c: covered by tests/xml/test-gone.c\n"}, "no tests/xml/test-gone.c"),
    ({"xml/a.c": "", "tests/xml/test-a.c": "", "tests/checks/mirror.allow": "xml/a.c: later\n"}, "not needed"),
    ({"xml/a.c": "", "tests/checks/mirror.allow": "xml/a.c\n"}, "no reason"),
]

if __name__ == "__main__":
    checklib.run(check, GOOD, BAD)

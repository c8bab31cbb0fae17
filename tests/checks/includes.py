#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Folders depend one way only: which folder may include what."""

import posixpath
import re

import checklib

# The first entry that a file's path starts with says what it may include, besides its own folder and system headers.
ALLOWED = [
    ("driver/base/", ()),
    ("xml/", ("driver/base/",)),
    ("driver/policy/", ("driver/base/units.h",)),
    ("driver/image/", ("driver/base/",)),
    ("driver/engine/", ("driver/base/", "driver/image/")),
    ("driver/qemu/", ("driver/base/", "xml/")),
    ("driver/domain/", ("driver/base/", "xml/")),
    ("driver/guest/", ("driver/base/", "xml/", "driver/domain/", "driver/qemu/")),
    ("driver/migration/", ("driver/base/", "xml/", "driver/domain/", "driver/qemu/", "driver/guest/", "driver/policy/",
                           "driver/engine/engine.h")),
    ("driver/snapshot/", ("driver/base/", "xml/", "driver/domain/", "driver/qemu/", "driver/guest/", "driver/image/",
                          "driver/migration/", "driver/engine/engine.h", "driver/engine/engine_image.h")),
    ("driver/", ("driver/", "xml/")),
    ("daemon/rpc/", ("driver/driver.h", "driver/base/", "daemon/auth/", "daemon/")),
    ("daemon/dbus/", ("driver/driver.h", "driver/base/", "daemon/auth/", "daemon/")),
    ("daemon/", ("driver/driver.h", "driver/base/", "daemon/")),
    ("tools/", ("driver/base/", "driver/policy/", "driver/image/", "driver/engine/", "driver/qemu/")),
]
NEVER = {"daemon/rpc/": ("daemon/dbus/",), "daemon/dbus/": ("daemon/rpc/",)}

# Policy is pure: numbers in, decision out.
POLICY_SYSTEM = {"stdint.h", "stdbool.h", "stddef.h", "string.h"}

# System headers with one room: prefix of the header -> the files that may include it.
ROOMS = {
    "gnutls/": r"driver/engine/(channel_tls|handshake)\.[ch]|daemon/rpc/.*tls\w*\.[ch]|driver/qemu/tls\w*\.[ch]",
    "rdma/": r"driver/engine/channel_rdma\.[ch]",
    "infiniband/": r"driver/engine/channel_rdma\.[ch]",
    "libxml/": r"xml/.*|driver/(qemu|migration|domain)/.*|driver/\w+\.[ch]",
}

INCLUDE_RE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.M)


def check_one(tree, path, quoted, header):
    rule = next((allowed for prefix, allowed in ALLOWED if path.startswith(prefix)), None)
    if not quoted:
        for prefix, room in ROOMS.items():
            if header.startswith(prefix) and rule is not None and not re.fullmatch(room, path):
                return f"{path}: <{header}> may be included only by {room}"
        if path.startswith("driver/policy/") and header not in POLICY_SYSTEM:
            return f"{path}: <{header}>: policy may include only {', '.join(sorted(POLICY_SYSTEM))}"
        return None

    folder = posixpath.dirname(path)
    from_top = header.split("/")[0] in ("driver", "xml", "daemon", "tests", "tools")
    if not from_top:
        if path.startswith("tests/") or tree.exists(posixpath.join(folder, header)) is False:
            return None  # a generated header, or a test's own data
        return f"{path}: '{header}' must be included by its path from the top"
    if header.startswith("tests/") and not path.startswith("tests/"):
        return f"{path}: '{header}': only tests include tests"
    if posixpath.basename(header).endswith("_internal.h"):
        theirs = posixpath.dirname(header)
        mirrored = "tests/" + theirs.removeprefix("driver/")
        if not folder.startswith(theirs) and not folder.startswith(mirrored):
            return f"{path}: '{header}' is internal to {theirs}/ and its tests"
    if rule is None:
        return None
    if header.startswith(next((prefix for key, bad in NEVER.items() if path.startswith(key) for prefix in bad), "\0")):
        return f"{path}: '{header}': rpc/ and dbus/ never include each other"
    if header.startswith(rule) or posixpath.dirname(header) == folder:
        return None
    own = next(prefix for prefix, _ in ALLOWED if path.startswith(prefix))
    if own != "driver/" and header.startswith(own):
        return None
    return f"{path}: '{header}' is against the directions in tests/checks/includes.py"


def check(tree):
    problems = []
    for path in tree.files(".c", ".h"):
        code = checklib.blank_comments(tree.text(path), keep_strings=True)
        for bracket, header in INCLUDE_RE.findall(code):
            problem = check_one(tree, path, bracket == '"', header)
            if problem:
                problems.append(problem)
    return problems


GOOD = [
    {"driver/qemu/qmp.c": '#include "driver/base/error.h"\n#include "driver/qemu/qmp.h"\n#include "xml/def.h"\n',
     "driver/driver.c": '#include "driver/migration/phase.h"\n#include "xml/def.h"\n',
     "driver/migration/phase.c": '#include "driver/engine/engine.h"\n',
     "tests/engine/test-wire.c": '#include "driver/engine/wire_internal.h"\n',
     "xml/parse.c": '/* #include "daemon/x.h" */\n#include <libxml/tree.h>\n'},
]
BAD = [
    ({"driver/base/io.c": '#include "xml/def.h"\n'}, "xml/def.h"),
    ({"xml/parse.c": '#include "driver/qemu/qmp.h"\n'}, "driver/qemu/qmp.h"),
    ({"driver/policy/a.c": "#include <time.h>\n"}, "time.h"),
    ({"driver/policy/a.c": '#include "driver/base/io.h"\n'}, "io.h"),
    ({"driver/engine/a.c": '#include "driver/policy/p.h"\n'}, "driver/policy/p.h"),
    ({"driver/engine/a.c": "#include <gnutls/gnutls.h>\n"}, "gnutls"),
    ({"driver/migration/a.c": '#include "driver/engine/wire.h"\n'}, "wire.h"),
    ({"driver/domain/a.c": '#include "driver/driver.h"\n'}, "driver/driver.h"),
    ({"daemon/main.c": '  #  include   "driver/domain/domain.h"\n'}, "domain.h"),
    ({"daemon/rpc/a.c": '#include "daemon/dbus/b.h"\n'}, "never"),
    ({"driver/domain/a.c": '#include "tests/lib/x.h"\n'}, "only tests"),
    ({"driver/domain/a.c": '#include "domain.h"\n', "driver/domain/domain.h": "\n"}, "from the top"),
    ({"driver/migration/a.c": '#include "driver/qemu/qmp_internal.h"\n'}, "internal"),
]

if __name__ == "__main__":
    checklib.run(check, GOOD, BAD)

#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Links in the documents lead somewhere, and docs/README.md names every page of docs/."""

import posixpath
import re

import checklib

LINK_RE = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
INDEX = "docs/README.md"


def check(tree):
    problems = []
    linked = {}
    for path in tree.files(".md"):
        text = re.sub(r"```.*?```|`[^`\n]*`", "", tree.text(path), flags=re.S)
        targets = [target for target in LINK_RE.findall(text) if not re.match(r"\w+:", target)]
        linked[path] = {posixpath.normpath(posixpath.join(posixpath.dirname(path), target)) for target in targets}
        problems += [f"{path}: the link to {target} leads nowhere" for target in sorted(linked[path])
                     if not (tree.root / target).exists()]
    if tree.exists(INDEX):
        problems += [f"{INDEX}: does not name {path}" for path in tree.files(".md", under=("docs",))
                     if path != INDEX and path not in linked[INDEX]]
    return problems


GOOD = [{"README.md": "[a](docs/a.md#top) [b](https://x.invalid/) [c](#here) `[d](gone)`\n", "docs/a.md": "[r](../README.md)\n",
         INDEX: "[a](a.md)\n"}]
BAD = [
    ({"README.md": "[a](docs/gone.md)\n"}, "docs/gone.md"),
    ({"docs/a.md": "\n", INDEX: "\n"}, "does not name docs/a.md"),
]

if __name__ == "__main__":
    checklib.run(check, GOOD, BAD)

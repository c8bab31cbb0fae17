#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A variable with a cleanup attribute has a value from its declaration on: an early return would clean up garbage."""

import re

import checklib

DECLARATION_RE = re.compile(r"^[ \t]*(?:g_autofree|g_autoptr\s*\(\w+\)|g_auto\s*\(\w+\)|g_autolist\s*\(\w+\)|_cleanup_\w+_)\s+([^;]*);", re.M)


def without_brackets(text):
    """Drops what stands in brackets, so that the commas left separate declarators."""
    while True:
        shorter = re.sub(r"\([^()]*\)|\{[^{}]*\}|\[[^\[\]]*\]", "", text)
        if shorter == text:
            return text
        text = shorter


def check(tree):
    problems = []
    for path in tree.files(".c", ".h"):
        code = checklib.blank_comments(tree.text(path))
        for match in DECLARATION_RE.finditer(code):
            for declarator in without_brackets(match.group(1)).split(","):
                if "=" not in declarator:
                    line = code.count("\n", 0, match.start()) + 1
                    problems.append(f"{path}:{line}: '{' '.join(declarator.split())}' has no value where it is declared")
    return problems


GOOD = [{"a.c": "g_autofree char *a = NULL, *b = f(1, 2);\ng_auto(GStrv) s = NULL;\n_cleanup_fd_ int fd = -EBADF;\n"
                "/* g_autofree char *x; */\n#define _cleanup_fd_ __attribute__((cleanup(fd_closep)))\n",
         "tests/a.c": "        g_autoptr(GError) error =\n                NULL;\n"}]
BAD = [
    ({"a.c": "g_autofree char *a;\n"}, "'char *a'"),
    ({"a.c": "g_autofree char *a = f(1, 2), *b;\n"}, "'*b'"),
    ({"a.c": "        g_autoptr(GError) error;\n"}, "'error'"),
    ({"a.c": "        _cleanup_fd_ int fd;\n"}, "'int fd'"),
]

if __name__ == "__main__":
    checklib.run(check, GOOD, BAD)

#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""tools/packages names the Debian package of each dependency() and find_program() of the meson.build files."""

import os
import re
import shutil
import subprocess
import sys

import checklib

DEPENDENCY_RE = re.compile(r"\bdependency\('([\w.+-]+)'")
PROGRAM_RE = re.compile(r"\bfind_program\('([\w+-]+)'")
# threads is the compiler's own; these belong to every Debian system.
NOT_PACKAGED = {"threads"}
ESSENTIAL = {"bash", "coreutils", "util-linux", "perl-base", "dpkg", "sed", "grep", "findutils", "libc-bin", "mount", "tar"}


def output(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def owner(path):
    """The package that a file came with. Where /bin is a link to /usr/bin, dpkg may know it under either name."""
    real = os.path.realpath(path)
    for name in {path, real, real.removeprefix("/usr")}:
        found = output("dpkg", "-S", name)
        if found:
            return found.split(":")[0].split(",")[0]
    return None


def package_of_dependency(name):
    folder = output("pkg-config", "--variable=pcfiledir", name)
    return owner(f"{folder}/{name}.pc") if folder else None


def package_of_program(name):
    path = shutil.which(name, path="/usr/bin:/usr/sbin:/bin:/sbin")
    return owner(path) if path else None


def check(tree):
    listed = set(output("bash", str(tree.root / "tools/packages"), "--list").split())
    problems = []
    for path in tree.files("meson.build"):
        text = re.sub(r"#.*", "", tree.text(path))
        wanted = [(name, package_of_dependency(name)) for name in DEPENDENCY_RE.findall(text) if name not in NOT_PACKAGED]
        wanted += [(name, package_of_program(name)) for name in PROGRAM_RE.findall(text) if not name.endswith((".py", ".sh"))]
        for name, package in wanted:
            if package is None:
                problems.append(f"{path}: '{name}' comes with no installed package")
            elif package not in listed | ESSENTIAL:
                problems.append(f"{path}: '{name}' comes with package {package}, which tools/packages does not list")
    return problems


LISTS_GLIB = "#!/bin/bash\necho libglib2.0-dev rpcsvc-proto\n"
GOOD = [{"meson.build": "dependency('glib-2.0', version: '>=2')\nfind_program('rpcgen')\nfind_program('x.py')\nfind_program('sed')\n",
         "tools/packages": LISTS_GLIB}]
BAD = [
    ({"meson.build": "dependency('json-c')\n", "tools/packages": LISTS_GLIB}, "libjson-c-dev"),
    ({"xml/meson.build": "find_program('xmllint')\n", "tools/packages": LISTS_GLIB}, "libxml2-utils"),
    ({"meson.build": "dependency('no-such-library')\n", "tools/packages": LISTS_GLIB}, "no installed package"),
]

if __name__ == "__main__":
    if not shutil.which("dpkg"):
        print("this is no Debian system")
        sys.exit(77)
    checklib.run(check, GOOD, BAD)

#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What 'meson install' installs is what this file lists, no more and no less, and a translation works from there.

usage: installed.py BUILD-FOLDER
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

# Paths below the prefix, or from the root where the prefix does not matter.
EXPECTED = {
    "etc/libvirt/virtferryd.conf",
    "lib/systemd/catalog/virtferry.catalog",
    "lib/systemd/system/run-libvirt-ferry-ram.mount",
    "lib/systemd/system/virtferryd-ro.socket",
    "lib/systemd/system/virtferryd.service",
    "lib/systemd/system/virtferryd.socket",
    "lib/systemd/user/virtferryd.service",
    "lib/systemd/user/virtferryd.socket",
    "lib/sysusers.d/virtferryd.conf",
    "lib/tmpfiles.d/virtferryd.conf",
    "libexec/ferry/ferry-uffd-shim.so",
    "libexec/ferry/virt-ferry-engine",
    "libexec/ferry/virt-ferry-network",
    "libexec/ferry/virt-ferry-peer",
    "libexec/ferry/virt-ferry-prealloc",
    "bin/virt-ferry",
    "sbin/virtferryd",
    "share/dbus-1/interfaces/org.libvirt.Connect.xml",
    "share/dbus-1/interfaces/org.libvirt.Domain.xml",
    "share/dbus-1/interfaces/org.virtferry.Domain1.xml",
    "share/dbus-1/interfaces/org.virtferry.Migration1.xml",
    "share/dbus-1/services/org.virtferry.service",
    "share/dbus-1/system-services/org.virtferry.service",
    "share/dbus-1/system.d/org.virtferry.conf",
    "share/polkit-1/actions/org.virtferry.policy",
    "share/ferry/schemas/domain.rng",
    "share/ferry/schemas/migration-policy.rng",
    "share/man/man1/virt-ferry.1",
    "share/man/man5/virtferry-domain.5",
    "share/man/man5/virtferryd.conf.5",
    "share/man/man8/virtferryd.8",
    "share/locale/de/LC_MESSAGES/ferry.mo",
}
SENTENCE = ("domain '%s' is not running", "Domäne »%s« läuft nicht")


def compare(found):
    return ([f"'{path}' is installed, but not expected: list it in tests/checks/installed.py" for path in sorted(found - EXPECTED)] +
            [f"'{path}' is not installed" for path in sorted(EXPECTED - found)])


def installed(build, folder):
    """The files that land in folder, with paths from the prefix."""
    subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", folder], check=True,
                   stdout=subprocess.DEVNULL)
    options = json.loads((pathlib.Path(build) / "meson-info" / "intro-buildoptions.json").read_text())
    prefix = next(option["value"] for option in options if option["name"] == "prefix").strip("/")
    result = set()
    for path in pathlib.Path(folder).rglob("*"):
        if path.is_file():
            name = str(path.relative_to(folder))
            result.add(name.removeprefix(prefix + "/"))
    return prefix, result


def translated(locale_folder):
    """The sentence as gettext finds it; a locale whose name is not plain C honours LANGUAGE."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "LANGUAGE": "de", "TEXTDOMAINDIR": str(locale_folder)}
    return subprocess.run(["gettext", "-d", "ferry", SENTENCE[0]], check=True, capture_output=True, text=True,
                          env=environment).stdout


def main():
    # The comparison can fail in both directions.
    if compare(EXPECTED) or len(compare(EXPECTED | {"bin/x"})) != 1 or len(compare(EXPECTED - {"sbin/virtferryd"})) != 1:
        sys.exit("self-test: the comparison does not tell lists apart")
    with tempfile.TemporaryDirectory() as folder:
        prefix, found = installed(sys.argv[1], folder)
        problems = compare(found)
        text = translated(pathlib.Path(folder) / prefix / "share" / "locale")
        if text != SENTENCE[1]:
            problems.append(f"in German, '{SENTENCE[0]}' is '{text}' instead of '{SENTENCE[1]}'")
    print("\n".join(problems) or f"{len(found)} files")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()

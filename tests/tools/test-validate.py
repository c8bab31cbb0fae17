#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""virt-ferry validate on this host, whatever it is: what is missing, or made to look missing, is found and named with a remedy.
Usage: test-validate.py PROGRAM"""

import json
import os
import socket
import subprocess
import sys
import unittest


def call(*args, **environment):
    return subprocess.run([PROGRAM, "validate", *args], capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, "LC_ALL": "C", **environment})


def findings(*args, **environment):
    """(exit status, {check: finding})"""
    done = call("--json", *args, **environment)
    return done.returncode, {finding["check"]: finding for finding in json.loads(done.stdout)}


class Validate(unittest.TestCase):
    def test_text_and_json_agree(self):
        status, found = findings()
        done = call()
        self.assertEqual(done.returncode, status)
        lines = [line for line in done.stdout.splitlines() if line[:4] in ("PASS", "NOTE", "WARN", "FAIL")]
        self.assertEqual({line.split()[1]: line.split()[0] for line in lines}, {name: one["level"] for name, one in found.items()})
        counts = [sum(one["level"] == level for one in found.values()) for level in ("PASS", "NOTE", "WARN", "FAIL")]
        self.assertEqual(done.stdout.splitlines()[-1], "{} passed, {} notes, {} warnings, {} failed".format(*counts))
        self.assertEqual(status, int(counts[3] > 0))

    def test_quiet(self):
        for line in call("--quiet").stdout.splitlines():
            self.assertRegex(line, "^(WARN|FAIL|    )")

    def test_missing_kernel_features(self):
        _, found = findings(FERRY_DISABLE_KERNEL="pagemap-scan,uffd-minor-shmem,populate")
        self.assertIn(found["dirty-tracking"]["level"], ("WARN", "FAIL"))
        self.assertEqual(found["dirty-tracking"]["remedy"], "use Linux 6.7 or later")
        self.assertEqual((found["postcopy"]["level"], found["populate"]["level"]), ("WARN", "WARN"))
        status, found = findings(FERRY_DISABLE_KERNEL="uffd-wp-async,uffd-wp-shmem,seek-hole")
        self.assertEqual((status, found["dirty-tracking"]["level"], found["seek-hole"]["level"]), (1, "FAIL", "FAIL"))

    def test_emulators(self):
        for path, words in (("/nonexistent/qemu", "/nonexistent/qemu"), ("/bin/true", "/bin/true")):
            status, found = findings(path)
            self.assertEqual((status, found["qemu"]["level"]), (1, "FAIL"))
            self.assertIn(words, found["qemu"]["text"])
            self.assertEqual(found["qemu"]["remedy"], "install QEMU 7.2 or later")

    def test_ports(self):
        with socket.socket() as busy:
            busy.bind(("", 0))
            busy.listen()
            port = busy.getsockname()[1]
            status, found = findings("--ports", f"{port}-{port}")
        self.assertEqual((status, found["ports"]["level"]), (1, "FAIL"))
        self.assertIn("0 of 1 ports", found["ports"]["text"])
        for wrong in ("", "x", "1", "2-1", "0-5", "1-65536", "1-2-3"):
            done = call("--ports", wrong)
            self.assertEqual(done.returncode, 2, wrong)
            self.assertIn("not a range of ports", done.stderr)

    def test_unknown_option(self):
        self.assertEqual(call("--nonsense").returncode, 2)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()

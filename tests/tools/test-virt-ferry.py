#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""virt-ferry as users call it: help, version, and what it says to mistakes. Usage: test-virt-ferry.py PROGRAM"""

import subprocess
import sys
import unittest


def call(*args):
    return subprocess.run([PROGRAM, *args], capture_output=True, text=True, timeout=30, check=False)


class Usage(unittest.TestCase):
    def test_help_lists_every_command(self):
        for option in ("help", "--help"):
            done = call(option)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("Usage: virt-ferry COMMAND", done.stdout)
            self.assertIn("  help ", done.stdout)

    def test_every_command_explains_itself(self):
        names = [line.split()[0] for line in call("help").stdout.splitlines() if line.startswith("  ")]
        self.assertIn("help", names)
        for name in names:
            done = call(name, "--help")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("Usage: virt-ferry", done.stdout)

    def test_version(self):
        self.assertRegex(call("--version").stdout, r"^virt-ferry \d+\.\d+")

    def test_mistakes(self):
        for args, words in (((), "no command given"), (("swim",), "no command 'swim'")):
            done = call(*args)
            self.assertEqual(done.returncode, 2)
            self.assertIn(words, done.stderr)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()

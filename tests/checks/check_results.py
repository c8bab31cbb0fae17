#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""tools/check-results, against made-up logs: the counts, the exit status, and that nothing disappears."""

import json
import re
import subprocess
import sys
import tempfile


def report(tests, *options, text=None):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as log:
        log.write(text if text is not None else "".join(json.dumps(test) + "\n" for test in tests))
        log.flush()
        done = subprocess.run([sys.argv[1], *options, f"plain={log.name}"], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines()


def entry(name, result, stdout=""):
    return {"name": name, "result": result, "stdout": stdout, "duration": 1.5}


def expect(what, condition):
    if not condition:
        print(f"FAILED: {what}")
        sys.exit(1)


OK = entry("a", "OK")

code, lines = report([OK, entry("b", "OK")])
expect("two passes", code == 0 and lines[-1] == "2 passed, 0 failed, 0 skipped")

code, lines = report([OK, entry("b", "SKIP", "start\nno root\n")])
expect("a skip counts and has its reason", code == 0 and lines[-1] == "1 passed, 0 failed, 1 skipped")
expect("the reason is shown", "  plain: b: no root" in lines)

code, lines = report([OK, entry("b", "SKIP")])
expect("a skip without a reason is called that", "  plain: b: NO REASON GIVEN" in lines)

for bad in ("FAIL", "TIMEOUT", "ERROR", "INTERRUPT", "UNEXPECTEDPASS", "SOMETHING"):
    code, lines = report([OK, entry("b", bad, "the log\n")])
    expect(f"{bad} fails", code == 1 and lines[-1] == "1 passed, 1 failed, 0 skipped")
    expect(f"{bad} shows its log", "the log" in lines)

code, lines = report([entry("a", "OK", "[ RUN      ] a_case\nno such disk\n[  SKIPPED ] a_case\n[       OK ] b\n[  SKIPPED ] 1 test(s), listed below:\n[  SKIPPED ] a_case\n")])
expect("a case that is skipped inside a program shows", code == 0 and lines[-1] == "1 passed, 0 failed, 1 skipped")
expect("and its reason", "  plain: a: case a_case: no such disk" in lines)

code, lines = report([OK], "--broken=suite live has no tests")
expect("what is broken counts", code == 1 and lines[-1] == "1 passed, 1 failed, 0 skipped")

code, lines = report([])
expect("nothing run is no success", code == 1 and lines[-1] == "0 passed, 0 failed, 0 skipped")

code, lines = report([], text="{ broken\n")
expect("an unreadable log fails", code == 1 and lines[-1] == "0 passed, 1 failed, 0 skipped")

expect("the summary stands once", sum(bool(re.fullmatch(r"\d+ passed, \d+ failed, \d+ skipped", line)) for line in lines) == 1)
print("ok")

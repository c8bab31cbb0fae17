# SPDX-License-Identifier: LGPL-2.1-or-later
"""Memory that is taken from the machine and given back: in a virtual machine whose host takes free memory away, its first touch costs
up to 5 s per GiB, and who pays for that would depend on what was freed before."""

import subprocess
import sys

TOUCH = '''
import mmap, sys
memory = mmap.mmap(-1, int(sys.argv[1]) << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_HUGEPAGE)
for _ in range(int(sys.argv[1])):
    memory.write(b'1' * (1 << 20))
'''


def warm(mib):
    """Touches and frees this many MiB."""
    if mib:
        subprocess.run([sys.executable, '-c', TOUCH, str(mib)], check=True)

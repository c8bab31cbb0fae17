# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a migration costs: RAM that is really allocated, and processor time of whole process trees."""

import contextlib
import os
import re

import wait

MIB = 1 << 20


class Ram:
    """What is allocated for the guest RAM of QEMU pid, which has size_bytes of it.

    Shared RAM (memfd, tmpfs): blocks of its file, whoever touched them. The file is held, so that it can be asked after QEMU has ended.
    Private RAM: what QEMU's mapping holds."""

    def __init__(self, pid, size_bytes):
        self.pid = pid
        self.size = size_bytes
        self.fd = None
        best = None
        for start, end, flags, inode, rss in self._mappings(pid):
            if 'w' in flags and size_bytes // 2 <= end - start <= size_bytes + 4 * MIB and (best is None or rss > best[4]):
                best = (start, end, flags, inode, rss)
        if best is None:
            raise ValueError(f'QEMU {pid} has no mapping of {size_bytes} bytes')
        self.start = best[0]
        if best[3] and 's' in best[2]:
            self.fd = os.open(f'/proc/{pid}/map_files/{best[0]:x}-{best[1]:x}', os.O_PATH | os.O_CLOEXEC)

    @staticmethod
    def _mappings(pid):
        header = re.compile(r'^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ (\d+)')
        current = None
        with open(f'/proc/{pid}/smaps', encoding='ascii', errors='replace') as smaps:
            for line in smaps:
                match = header.match(line)
                if match:
                    current = int(match[1], 16), int(match[2], 16), match[3], int(match[4])
                elif line.startswith('Rss:'):
                    yield (*current, int(line.split()[1]) * 1024)

    def bytes(self):
        """Bytes allocated now."""
        if self.fd is not None:
            return os.fstat(self.fd).st_blocks * 512
        return next((rss for start, _, _, _, rss in self._mappings(self.pid) if start == self.start), 0)

    def close(self):
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


def ram_bytes(pid, size_bytes):
    """Bytes allocated for the guest RAM of QEMU pid, once."""
    ram = Ram(pid, size_bytes)
    try:
        return ram.bytes()
    finally:
        ram.close()


class CpuGroup:
    """A control group for one side of a migration. Processes that have ended stay counted."""

    def __init__(self, name):
        with open('/proc/mounts', encoding='ascii') as mounts:
            fields = [line.split() for line in mounts]
        unified = [f[1] for f in fields if f[2] == 'cgroup2']
        accounting = [f[1] for f in fields if f[2] == 'cgroup' and 'cpuacct' in f[3].split(',')]
        self.v2 = bool(unified)
        base = (unified or accounting or [None])[0]
        if base is None:
            raise OSError('no control groups are mounted')
        self.path = os.path.join(base, name)
        os.makedirs(self.path, exist_ok=True)

    def enter(self):
        """Moves the calling process in; for Popen's preexec_fn."""
        with open(os.path.join(self.path, 'cgroup.procs'), 'w', encoding='ascii') as procs:
            procs.write(str(os.getpid()))

    def seconds(self):
        """Processor seconds used so far."""
        if not self.v2:
            with open(os.path.join(self.path, 'cpuacct.usage'), encoding='ascii') as usage:
                return int(usage.read()) / 1e9
        with open(os.path.join(self.path, 'cpu.stat'), encoding='ascii') as stat:
            for line in stat:
                if line.startswith('usage_usec'):
                    return int(line.split()[1]) / 1e6
        return 0.0

    def pids(self):
        """Processes in the group now."""
        with open(os.path.join(self.path, 'cgroup.procs'), encoding='ascii') as procs:
            return [int(pid) for pid in procs.read().split()]

    def close(self):
        """Removes the group; its processes must have been told to end."""
        def gone():
            with contextlib.suppress(OSError):
                os.rmdir(self.path)
            return not os.path.exists(self.path)
        with contextlib.suppress(wait.NotInTime):
            wait.wait_for('the end of the processes', gone, 5)

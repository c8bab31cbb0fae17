# SPDX-License-Identifier: LGPL-2.1-or-later
"""The test guest, seen from the host: its image, its control line with heartbeat and verification, and whether KVM can boot it."""

import collections
import os
import select
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
KERNEL_ARGS = 'console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check'

Beat = collections.namedtuple('Beat', 'arrival pid number guest_msec writes')


class GuestError(Exception):
    """The guest did not answer, or its memory is not what it wrote."""


def images():
    """Paths of the kernel and the initramfs, made on first use."""
    out = subprocess.run([os.path.join(HERE, 'make-guest')], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    return os.path.join(out, 'vmlinuz'), os.path.join(out, 'initrd.img')


def kvm_boots(qemu='qemu-system-x86_64', seconds=10):
    """Whether a 64-bit guest comes up under KVM here. Tried once and remembered beside the image (a nested KVM may only look usable)."""
    if not os.access('/dev/kvm', os.R_OK | os.W_OK):
        return False
    kernel, initrd = images()
    with open('/proc/sys/kernel/random/boot_id', encoding='ascii') as boot_id:
        memo = os.path.join(os.path.dirname(kernel), 'kvm-' + boot_id.read().strip())
    if os.path.exists(memo):
        with open(memo, encoding='ascii') as answer:
            return answer.read() == 'yes'
    folder = tempfile.mkdtemp(prefix='ferry-kvm-')
    try:
        with Control(os.path.join(folder, 'control')) as control:
            process = subprocess.Popen(
                [shutil.which(qemu) or qemu, '-accel', 'kvm', '-cpu', 'host', '-m', '256', '-M', 'q35', '-nodefaults', '-display', 'none',
                 '-kernel', kernel, '-initrd', initrd, '-append', KERNEL_ARGS, '-serial', 'null',
                 '-serial', 'unix:' + control.path],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                control.wait_ready(seconds, alive=lambda: process.poll() is None)
                answer = True
            except GuestError:
                answer = False
            finally:
                process.kill()
                process.wait()
    finally:
        shutil.rmtree(folder)
    with open(memo, 'w', encoding='ascii') as out:
        out.write('yes' if answer else 'no')
    return answer


class Control:
    """The listening end of the guests' control lines.

    Each QEMU that has the guest, the source's and the destination's, connects to the same path; a connection is known by the pid of
    its QEMU. A thread reads all of them and stamps each heartbeat on arrival."""

    def __init__(self, path):
        self.path = path
        self.beats = []
        self.on_beat = None
        self._answers = {}
        self._ready = set()
        self._connections = {}
        self._tag = 0
        self._changed = threading.Condition()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        os.chmod(path, 0o666)
        self._listener.listen(16)
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends the thread and drops every line. Guests go on without."""
        os.write(self._wake_write, b'x')
        self._thread.join()
        for connection in self._connections.values():
            connection.close()
        self._listener.close()
        os.close(self._wake_read)
        os.close(self._wake_write)
        if os.path.exists(self.path):
            os.unlink(self.path)

    # the reader's thread

    def _main(self):
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        by_fd = {}
        while True:
            for fd, _ in poll.poll():
                if fd == self._wake_read:
                    return
                if fd == self._listener.fileno():
                    connection, _ = self._listener.accept()
                    pid = struct.unpack('3i', connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
                    by_fd[connection.fileno()] = [connection, pid, b'']
                    poll.register(connection, select.POLLIN)
                    with self._changed:
                        self._connections[pid] = connection
                        self._changed.notify_all()
                    continue
                self._read(poll, by_fd, fd)

    def _read(self, poll, by_fd, fd):
        entry = by_fd[fd]
        try:
            data = entry[0].recv(65536)
        except OSError:
            data = b''
        arrival = time.monotonic()
        if not data:
            poll.unregister(fd)
            del by_fd[fd]
            with self._changed:
                if self._connections.get(entry[1]) is entry[0]:
                    del self._connections[entry[1]]
                self._changed.notify_all()
            entry[0].close()
            return
        lines = (entry[2] + data).split(b'\n')
        entry[2] = lines.pop()
        with self._changed:
            for line in lines:
                self._line(line.decode(errors='replace').strip(), entry[1], arrival)
            self._changed.notify_all()

    def _line(self, line, pid, arrival):
        words = line.split()
        if len(words) == 4 and words[0] == 'H':
            try:
                beat = Beat(arrival, pid, int(words[1], 16), int(words[2], 16), int(words[3], 16))
            except ValueError:
                return
            self.beats.append(beat)
            if self.on_beat:
                self.on_beat(beat)
        elif words[:1] == ['READY']:
            self.beats[:] = [beat for beat in self.beats if beat.pid != pid]  # it has booted again and counts from 1
            self._ready.add(pid)
        elif len(words) >= 3 and words[0] == 'R':
            self._answers[words[1]] = words[2:]

    # for everybody else

    def _wait(self, what, predicate, seconds, alive=None):
        deadline = time.monotonic() + seconds
        with self._changed:
            while not predicate():
                rest = deadline - time.monotonic()
                if rest <= 0:
                    raise GuestError(f'{what}: nothing within {seconds} s')
                if alive and not alive():
                    raise GuestError(f'{what}: its QEMU has ended')
                self._changed.wait(min(rest, 0.2))

    def wait_ready(self, seconds=60, pid=None, alive=None):
        """Waits until a guest has booted (the one of QEMU pid, if given) and its heart beats."""
        def beating():
            return any(beat.pid in self._ready and pid in (None, beat.pid) for beat in self.beats[-50:])
        self._wait('booting the guest', beating, seconds, alive)

    def wait_beat(self, seconds=30, pid=None, not_pid=None, after=None):
        """Waits for a heartbeat that arrives from now on (or after the given time); from QEMU pid, or from another than not_pid."""
        if after is None:
            after = time.monotonic()

        def found():
            for beat in reversed(self.beats):
                if beat.arrival <= after:
                    return False
                if pid in (None, beat.pid) and beat.pid != not_pid:
                    return True
            return False
        self._wait('waiting for a heartbeat', found, seconds)

    def forget(self):
        """Drops what was recorded (a new guest, or a new measurement)."""
        with self._changed:
            self.beats.clear()
            self._ready.clear()

    def pid(self):
        """QEMU whose guest spoke last."""
        return self.beats[-1].pid if self.beats else None

    def connected(self):
        """The pids of the QEMUs on the line."""
        with self._changed:
            return set(self._connections)

    def send(self, text, pid=None):
        """Sends a command to the guest that spoke last, or to that of QEMU pid. Returns the answer's tag."""
        with self._changed:
            self._tag += 1
            tag = f't{self._tag}'
            connection = self._connections.get(pid or self.pid())
        if connection is None:
            raise GuestError(f'{text}: no guest is on the line')
        connection.sendall(f'{tag} {text}\n'.encode())
        return tag

    def send_unlocked(self, line, pid):
        """Sends a whole line, tag included, from an on_beat callback, which holds the lock."""
        self._connections[pid].sendall(f'{line}\n'.encode())

    def answer(self, tag, seconds=120, what='command'):
        """Waits for the answer to a tag: a dict of its key=value words."""
        self._wait(what, lambda: tag in self._answers, seconds)
        words = self._answers.pop(tag)
        if words[0] != 'ok':
            raise GuestError(f'{what}: {" ".join(words)}')
        return {key: value for key, _, value in (word.partition('=') for word in words[1:])}

    def command(self, text, seconds=120, pid=None):
        """Sends a command and waits for its answer."""
        return self.answer(self.send(text, pid), seconds, text)

    def verify(self, seconds=180):
        """Has the guest check all of its memory; raises if a page is wrong."""
        verdict = {key: int(value, 16 if key in ('got', 'want') else 10) for key, value in self.command('verify', seconds).items()}
        if verdict['bad']:
            raise GuestError(f'{verdict["bad"]} of {verdict["pages"]} pages are wrong, the first is page {verdict["first_bad"]}: '
                             f'{verdict["got"]:#x} instead of {verdict["want"]:#x}')
        self.check_single()
        return verdict

    # what heartbeats tell

    def window(self, start=None, end=None):
        """Heartbeats that arrived between two times of time.monotonic()."""
        return [beat for beat in list(self.beats) if (start is None or beat.arrival >= start) and (end is None or beat.arrival <= end)]

    def period(self, start=None, end=None):
        """The usual distance of two heartbeats, in seconds (the median)."""
        beats = self.window(start, end)
        gaps = sorted(after.arrival - before.arrival for before, after in zip(beats, beats[1:]))
        return gaps[len(gaps) // 2] if gaps else 0.0

    def largest_gap(self, start=None, end=None):
        """The largest distance of two heartbeats, in seconds, and the first of the two."""
        beats = self.window(start, end)
        return max(((after.arrival - before.arrival, before) for before, after in zip(beats, beats[1:])), default=(0.0, None))

    def switch_gap(self, start=None, end=None):
        """The gap between the last heartbeat of one QEMU and the first of the next, in seconds; None if there was no switch.
        This is the downtime as somebody who talks to the guest sees it; it includes up to one heartbeat period."""
        beats = self.window(start, end)
        gaps = [after.arrival - before.arrival for before, after in zip(beats, beats[1:]) if before.pid != after.pid]
        return max(gaps) if gaps else None

    def check_single(self):
        """Raises if two guests ever ran at once, or one ran on from an older state: a beat or a number of writes that falls back."""
        best_number = best_writes = -1
        for beat in list(self.beats):
            if beat.number <= best_number:
                raise GuestError(f'heartbeat {beat.number} of QEMU {beat.pid} came after {best_number}: the guest ran twice')
            if beat.writes < best_writes:
                raise GuestError(f'QEMU {beat.pid} reports {beat.writes} page writes after {best_writes}: the guest fell back')
            best_number, best_writes = beat.number, beat.writes

#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Migrations that are disturbed in every phase: the guest ends up running on exactly one side with the right memory, nothing is left
behind, and the user reads what went wrong."""

import contextlib
import os
import pty
import re
import shutil
import signal
import socket
import subprocess

import case
import host as hosts


class Disturbed(case.LiveCase):
    """A guest on alpha whose migration to beta, slowed down to a few seconds, is disturbed at a chosen point."""

    SHARED = True
    IDLE_SEC = 3
    FILL_MIB = 128
    SPEED_MIB = 100
    POINTS = (0.02, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 0.97)

    def setUp(self):
        super().setUp()
        self.alpha, self.beta = self.bed.alpha, self.bed.beta
        self.addCleanup(self.bed.mend)

    def prepare(self):
        self.guest_on(self.alpha)
        self.control.command('write 1500 16')

    def reach(self, point, process):
        """Waits until the migration is at a point: a share of the first pass, or `round N`, or `stopped`."""
        def there():
            if process.poll() is not None:
                return True
            if point == 'stopped':
                return self.alpha.state(self.NAME) == 'paused' or self.NAME not in self.alpha.running()
            if isinstance(point, str):
                return self.alpha.job(self.NAME).get('memory_iteration', 0) >= int(point.split()[1])
            return (self.progress(self.alpha) or 0) >= point or self.alpha.job(self.NAME).get('memory_iteration', 0) > 1
        hosts.wait_for(f'point {point} of the migration', there, 30, 0.005)

    def disturb(self, point, action, *options, seconds=45):
        """Starts a migration, acts at the point; returns (exit code, what the user reads)."""
        self.prepare()
        words = options if '--bandwidth' in options else (*options, '--bandwidth', str(self.SPEED_MIB))
        process = self.migrate_start(self.alpha, self.beta, *words)
        self.reach(point, process)
        action()
        return self.migrate_end(process, seconds)

    def check_stayed(self, code, output, *patterns):
        self.assertNotEqual(code, 0, f'it succeeded: {output}')
        self.assert_reads(output, *patterns)
        self.assert_settled(self.alpha)
        self.assert_nothing_left()

    def check_either(self, code):
        """It was too late or not: in either case one guest, right memory, nothing left."""
        if code == 0:
            self.assert_settled(self.beta)
            self.assertEqual(self.alpha.processes(), {})
        else:
            self.assert_settled(hosts.wait_for('a running guest', self.where_running, 30))
            self.assertFalse(self.alpha.pids_of('virt-ferry') + self.beta.pids_of('virt-ferry'))

    def where_running(self):
        found = [host for host in self.bed.hosts if host.state(self.NAME) == 'running']
        return found[0] if len(found) == 1 else None


class Link(Disturbed):
    """The network goes away."""

    def test_cut_in_precopy(self):
        for number, point in enumerate(self.POINTS):
            with self.subTest(point=point):
                code, output = self.disturb(point, lambda number=number: self.bed.cut(self.bed.hosts[number % 2]))
                self.bed.mend()
                self.check_stayed(code, output, 'lost|connection|timed? ?out|silent|unreachable|reach|route|answer')

    def test_cut_in_later_rounds(self):
        self.alpha_downtime(1)
        try:
            for point in ('round 2', 'round 3'):
                with self.subTest(point=point):
                    self.prepare()
                    self.control.command('write 15000 32')
                    process = self.migrate_start(self.alpha, self.beta, '--bandwidth', '40')
                    self.reach(point, process)
                    self.bed.cut()
                    code, output = self.migrate_end(process)
                    self.bed.mend()
                    self.check_stayed(code, output)
        finally:
            self.alpha_downtime(300)

    def alpha_downtime(self, msec):
        self.guest_on(self.alpha)
        self.alpha.virsh('migrate-setmaxdowntime', self.NAME, str(msec))

    def test_cut_at_the_switch(self):
        """Wherever that hits; test-commit does it step by step."""
        code, _ = self.disturb('stopped', self.bed.cut)
        self.bed.mend()
        self.check_either(code)

    def test_cut_peer_to_peer(self):
        code, output = self.disturb(0.4, self.bed.cut, '--p2p')
        self.bed.mend()
        self.check_stayed(code, output)

    def test_cut_before(self):
        self.prepare()
        self.bed.cut()
        code, output = self.migrate_end(self.migrate_start(self.alpha, self.beta))
        self.bed.mend()
        self.check_stayed(code, output)

    def test_short_cut_is_survived(self):
        """A link that comes back within a second or two costs time and nothing else."""
        self.prepare()
        process = self.migrate_start(self.alpha, self.beta, '--bandwidth', str(self.SPEED_MIB))
        self.reach(0.3, process)
        self.bed.cut()
        self.bed.mend()
        code, output = self.migrate_end(process)
        self.assertEqual(code, 0, output)
        self.assert_settled(self.beta)


class Killed(Disturbed):
    """Processes that die."""

    def kill(self, host, program):
        pids = host.pids_of(program)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def test_engine(self):
        for host in self.bed.hosts:
            for point in (0.05, 0.5, 0.9):
                with self.subTest(host=host.name, point=point):
                    code, output = self.disturb(point, lambda host=host: self.kill(host, 'virt-ferry'))
                    self.check_stayed(code, output, 'engine|lost|connection|ended|killed')

    def test_destination_qemu(self):
        for point in (0.05, 0.5, 0.9):
            with self.subTest(point=point):
                code, output = self.disturb(point, lambda: self.kill(self.beta, 'qemu-system'))
                self.check_stayed(code, output, 'QEMU|emulator|guest|destination')

    def test_source_qemu(self):
        """Nothing can save the guest, but both sides say so and are clean."""
        for point in (0.1, 0.6):
            with self.subTest(point=point):
                code, output = self.disturb(point, lambda: self.kill(self.alpha, 'qemu-system'))
                self.assertNotEqual(code, 0)
                self.assert_reads(output, 'QEMU|emulator|guest|domain')
                hosts.wait_for('both sides to notice', lambda: not self.alpha.running() and not self.beta.running(), 20)
                hosts.wait_for('both sides to be clean', lambda: not self.alpha.processes() and not self.beta.processes(), 20)
                self.assertRegex(self.alpha.virsh('domstate', '--reason', self.NAME), r'shut off \((crashed|failed)\)')

    def test_source_qemu_while_it_is_asked(self):
        """QEMU dies while the daemon waits for its answer, so that nothing of it is there any more when the call returns."""
        self.prepare()
        qemu = self.alpha.qemu()
        os.kill(qemu, signal.SIGSTOP)
        process = self.migrate_start(self.alpha, self.beta)
        hosts.wait_for('the job', lambda: process.poll() is not None or self.alpha.job(self.NAME).get('type'), 20)
        hosts.wait_for('the destination', lambda: self.beta.pids_of('qemu-system'), 20)
        os.kill(qemu, signal.SIGKILL)
        code, output = self.migrate_end(process)
        self.assertNotEqual(code, 0)
        self.assert_reads(output, 'QEMU|domain')
        hosts.wait_for('both sides to be clean', lambda: not self.alpha.processes() and not self.beta.processes(), 20)
        self.assertIsNone(self.alpha.daemon.poll())

    def test_virsh(self):
        """The controlling client dies: a direct migration ends, and so does a peer-to-peer one, whose helper is ended."""
        for point in (0.02, 0.5, 0.9, 'stopped'):
            with self.subTest(point=point):
                self.prepare()
                process = self.migrate_start(self.alpha, self.beta, '--bandwidth', str(self.SPEED_MIB))
                self.reach(point, process)
                process.kill()
                process.wait()
                self.assert_settled(hosts.wait_for('a running guest', self.where_running, 40))
                hosts.wait_for('the helpers to end', lambda: not self.alpha.pids_of('virt-ferry') + self.beta.pids_of('virt-ferry'), 20)

    def test_virsh_peer_to_peer(self):
        self.prepare()
        process = self.migrate_start(self.alpha, self.beta, '--p2p', '--bandwidth', str(self.SPEED_MIB))
        self.reach(0.3, process)
        process.kill()
        process.wait()
        hosts.wait_for('the end of the job', lambda: not self.alpha.job(self.NAME).get('type'), 40)
        self.assert_settled(hosts.wait_for('a running guest', self.where_running, 40))


class Aborted(Disturbed):
    """The user changes their mind."""

    def test_abort(self):
        for point in (0.02, 0.2, 0.4, 0.6, 0.8, 0.95):
            with self.subTest(point=point):
                code, output = self.disturb(point, lambda: self.alpha.virsh('domjobabort', self.NAME, check=False))
                if code == 0:
                    self.check_either(code)
                else:
                    self.check_stayed(code, output, 'cancel|abort')

    def test_abort_at_once(self):
        """Abort as soon as the job exists, before a byte was sent."""
        self.prepare()
        process = self.migrate_start(self.alpha, self.beta, '--bandwidth', str(self.SPEED_MIB))
        hosts.wait_for('the job', lambda: process.poll() is not None or self.alpha.job(self.NAME).get('type'), 20, 0.001)
        self.alpha.virsh('domjobabort', self.NAME, check=False)
        code, _ = self.migrate_end(process)
        self.check_either(code)

    def test_interrupt(self):
        """Ctrl-C in virsh, which reads it as a character of its terminal."""
        self.prepare()
        self.most_remaining = 0
        keyboard, terminal = pty.openpty()
        self.addCleanup(os.close, keyboard)
        words = self.migrate_arguments(self.alpha, self.beta, '--verbose', '--bandwidth', str(self.SPEED_MIB))
        process = subprocess.Popen(['virsh', '-c', self.alpha.uri, *words], stdin=terminal, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)
        os.close(terminal)
        self.addCleanup(lambda: (process.kill(), process.wait(), process.stdout.close()))
        self.reach(0.4, process)
        os.write(keyboard, b'\x03')
        code, output = self.migrate_end(process)
        self.check_stayed(code, output, 'cancel|abort')

    def test_abort_peer_to_peer(self):
        code, output = self.disturb(0.5, lambda: self.alpha.virsh('domjobabort', self.NAME), '--p2p')
        self.check_stayed(code, output, 'cancel|abort')

    def test_destroy_while_it_moves(self):
        code, output = self.disturb(0.5, lambda: self.alpha.virsh('destroy', self.NAME))
        self.assertNotEqual(code, 0)
        self.assertIn('error:', output)
        hosts.wait_for('both sides to be clean', lambda: not self.alpha.processes() and not self.beta.processes(), 20)
        self.assertEqual(self.alpha.running() + self.beta.running(), [])


class Refused(Disturbed):
    """Destinations that cannot or will not take the guest."""

    def refused(self, *options, uri=None):
        """A migration that must fail at once; returns what the user reads."""
        code, output = self.migrate_end(self.migrate_start_uri(uri, *options))
        self.assertNotEqual(code, 0, output)
        return output

    def migrate_start_uri(self, uri, *options):
        process = self.alpha.virsh_start(*self.migrate_arguments(self.alpha, self.beta, *options, uri=uri))
        self.addCleanup(lambda: (process.kill(), process.wait(), process.stdout.close()))
        return process

    def test_unreachable_daemon(self):
        self.prepare()
        words = ['migrate', '--live', self.NAME, '--desturi', 'ferry:///system?socket=/nonexistent/sock']
        output = self.alpha.refused(*words)
        self.assert_reads(output, '/nonexistent/sock')
        output = self.alpha.refused('migrate', '--live', '--p2p', self.NAME, 'ferry+unix:///system?socket=/nonexistent/sock')
        self.assert_reads(output, '/nonexistent/sock')
        self.assert_settled(self.alpha)
        self.assert_nothing_left()

    def test_unreachable_address(self):
        self.prepare()
        nobody = self.beta.address.rsplit('.', 1)[0] + '.77'
        output = self.refused(uri=f'tcp://{nobody}:49200')
        self.assert_reads(output, re.escape(nobody))
        self.assert_settled(self.alpha)
        self.assert_nothing_left()

    def test_bad_uri(self):
        self.prepare()
        for uri in ('tcp://', 'http://x', 'tcp://host:0', 'tcp://host:99999', 'nonsense'):
            with self.subTest(uri=uri):
                self.assertIn('error:', self.refused(uri=uri))
        self.assert_settled(self.alpha)
        self.assert_nothing_left()

    def test_name_is_taken(self):
        self.prepare()
        self.beta.virsh('create', self.bed.write('other.xml', self.xml(memory_mib=256).replace(self.control.path, '/nonexistent').replace(
            "<serial type='unix'><source mode='connect' path='/nonexistent'/><target port='1'/></serial>", '')))
        self.assert_reads(self.refused(), 'exist|active|name|running')
        self.beta.virsh('destroy', self.NAME)
        self.assert_settled(self.alpha)
        self.assert_nothing_left()

    def test_same_host(self):
        self.prepare()
        output = self.alpha.refused('migrate', '--live', self.NAME, '--desturi', self.alpha.uri)
        self.assertIn('error:', output)
        self.assert_settled(self.alpha)
        self.assert_nothing_left()

    def test_wrong_token(self):
        """Somebody else connects to the data port with rubbish: turned away, and the migration goes on."""
        self.prepare()
        self.bed.cut(self.beta)  # the source goes on trying for seconds
        process = self.migrate_start(self.alpha, self.beta)

        def port():
            listing = hosts.run('nsenter', '--net=/run/netns/' + self.beta.namespace, 'ss', '-Hltn')
            found = re.search(r':(49[12]\d\d)\s', listing)
            return int(found[1]) if found else None
        number = hosts.wait_for('the data port', port, 20)
        script = """import socket, sys
for payload in (b'', b'GET / HTTP/1.0\\r\\n\\r\\n', bytes(4096), b'\\xff' * 65536):
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), 5) as s:
        s.settimeout(8)
        try:
            s.sendall(payload)
            s.shutdown(socket.SHUT_WR)
            while s.recv(4096):
                pass
        except OSError:
            pass
"""
        hosts.run('nsenter', '--net=/run/netns/' + self.beta.namespace, '/usr/bin/python3', '-c', script, self.beta.address, str(number))
        self.bed.mend()
        code, output = self.migrate_end(process)
        self.assertEqual(code, 0, output)
        self.assert_settled(self.beta)

    def test_bad_xml(self):
        self.prepare()
        for text in ('<domain', '<network/>', ''):
            path = self.bed.write('broken.xml', text)
            self.assertIn('error:', self.refused('--xml', path))
        self.assert_settled(self.alpha)
        self.assert_nothing_left()

    def test_destination_memory_full(self):
        """beta's RAM file system becomes full in the middle of it: a small tmpfs lies over the daemon's own."""
        with open('/proc/mounts', encoding='utf-8') as mounts:
            points = [line.split()[1] for line in mounts if line.split()[2] == 'tmpfs' and line.split()[1].startswith(self.beta.root + '/')]
        self.assertEqual(len(points), 1)
        self.prepare()
        hosts.run('mount', '-t', 'tmpfs', '-o', 'size=48M,mode=700', 'small', points[0])
        try:
            output = self.refused()
        finally:
            hosts.run('umount', points[0])
        self.assert_reads(output, 'memory|space')
        self.assert_settled(self.alpha)
        self.assert_nothing_left()

    def test_destination_lacks_huge_pages(self):
        """Enough huge pages for one guest only: the destination cannot allocate."""
        self.huge_pages(256 + 16)
        self.remove_guest()
        self.addCleanup(self.remove_guest)
        self.bed.boot(self.alpha, self.xml(memory_mib=256, backing='<memoryBacking><hugepages/></memoryBacking>'), 32)
        self.snapshot()
        output = self.refused()
        self.assert_reads(output, 'memory|huge')
        self.assert_settled(self.alpha)
        self.assert_nothing_left()


class Lacking(Disturbed):
    """The destination lacks a disk, a bridge, an emulator that the source has."""

    MEMORY_MIB = 256
    FILL_MIB = 32

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        disk = os.path.join(cls.bed.folder, 'lacking.img')
        with open(disk, 'wb') as image:
            image.truncate(16 << 20)
        cls.emulator = os.path.join(cls.bed.folder, 'qemu-system-x86_64')
        os.symlink(shutil.which('qemu-system-x86_64'), cls.emulator)
        cls.disk = disk
        hosts.run('ip', '-n', cls.bed.alpha.namespace, 'link', 'add', 'frybr0', 'type', 'bridge')
        hosts.run('ip', '-n', cls.bed.alpha.namespace, 'link', 'set', 'frybr0', 'up')
        cls.XML = {'devices': f"""<emulator>{cls.emulator}</emulator>
            <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{disk}'/><target dev='vda' bus='virtio'/></disk>
            <interface type='bridge'><source bridge='frybr0'/><model type='virtio'/></interface>"""}

    def attempt(self, old, new):
        """Migrates with the destination's XML changed from old to new."""
        xml = self.alpha.virsh('dumpxml', '--migratable', self.NAME)
        self.assertIn(old, xml)
        path = self.bed.write('lacking.xml', xml.replace(old, new))
        return self.migrate_end(self.migrate_start(self.alpha, self.beta, '--xml', path))

    def test_bridge(self):
        self.prepare()
        code, output = self.migrate_end(self.migrate_start(self.alpha, self.beta))
        self.check_stayed(code, output, 'frybr0')

    def with_bridge(self):
        hosts.run('ip', '-n', self.beta.namespace, 'link', 'add', 'frybr0', 'type', 'bridge')
        self.addCleanup(hosts.run, 'ip', '-n', self.beta.namespace, 'link', 'del', 'frybr0')

    def test_disk(self):
        self.with_bridge()
        self.prepare()
        code, output = self.attempt(self.disk, '/nonexistent/lacking.img')
        self.check_stayed(code, output, '/nonexistent/lacking.img')

    def test_emulator(self):
        self.with_bridge()
        self.prepare()
        code, output = self.attempt(self.emulator, '/nonexistent/qemu')
        self.check_stayed(code, output, '/nonexistent/qemu')

    def test_all_there(self):
        self.with_bridge()
        self.prepare()
        self.migrate(self.alpha, self.beta)
        self.assert_settled(self.beta)
        self.migrate(self.beta, self.alpha)
        self.assert_settled(self.alpha)


class DiskError(Disturbed):
    """A disk of the guest fails while it moves: its image's file system becomes full, and QEMU pauses the guest."""

    MEMORY_MIB = 256
    FILL_MIB = 64

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = os.path.join(cls.bed.folder, 'full')
        os.makedirs(cls.folder)
        disk = os.path.join(cls.folder, 'disk.img')
        cls.XML = {'devices': f"""<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{disk}'/>
            <target dev='vda' bus='virtio'/></disk>"""}
        hosts.run('mount', '-t', 'tmpfs', '-o', 'size=8M', 'full', cls.folder)
        cls.addClassCleanup(hosts.run, 'umount', '-l', cls.folder)
        with open(disk, 'wb') as image:
            image.truncate(16 << 20)

    def test_abort_on_error(self):
        self.prepare()
        process = self.migrate_start(self.alpha, self.beta, '--abort-on-error', '--bandwidth', '20')
        self.reach(0.2, process)
        answer = self.control.send('disk /dev/vda 16 2')
        code, output = self.migrate_end(process)
        self.assertNotEqual(code, 0)
        self.assert_reads(output, "'vda'", 'I/O error')
        self.assertEqual(self.alpha.virsh('domstate', '--reason', self.NAME), 'paused (I/O error)')
        self.assertNotIn(self.NAME, self.beta.running())
        self.assert_nothing_left()
        hosts.run('mount', '-o', 'remount,size=64M', self.folder)
        self.alpha.virsh('resume', self.NAME)
        self.control.answer(answer)
        verdict = self.control.command('diskverify', 120)
        self.assertEqual((verdict['bad_slots'], verdict['bad_blocks'], verdict['io_errors']), ('0', '0', '0'))
        self.assert_settled(self.alpha)


class Hostile(case.LiveCase):
    """Clients that speak rubbish do no harm to the daemon."""

    SHARED = True

    def test_rubbish_on_the_rpc_socket(self):
        alpha = self.bed.alpha
        before = alpha.descriptors()
        for payload in (b'', b'\0\0\0\4', b'\xff' * 28, b'\0\0\0\x1c' + b'\0' * 24, b'\0\0\0\x1c\x20\0\x80\x86\0\0\0\1\0\0\xff\xff' + b'\0' * 12,
                        os.urandom(65536)):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(alpha.socket)
                with contextlib.suppress(OSError):
                    connection.sendall(payload)
                    connection.shutdown(socket.SHUT_WR)
                    connection.settimeout(5)
                    while connection.recv(4096):
                        pass
            self.assertIsNone(alpha.daemon.poll(), f'the daemon died of {payload[:32]!r}')
        alpha.virsh('list')
        hosts.wait_for('their descriptors to close', lambda: alpha.descriptors() <= before + 1, 10)


if __name__ == '__main__':
    case.main()

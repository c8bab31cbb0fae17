#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commit rule: link cut and each process killed exactly between COMMIT, its answer and RUNNING. A proxy on the data connection holds a
chosen frame there, so nothing depends on who is quicker. Whatever happens the guest runs on one side at most, and on one side in the
end, with the right memory."""

import contextlib
import os
import signal
import struct

import case
import host as hosts
import proxy as wire


class Handover(case.LiveCase):
    """A guest that moves from wherever it is to the other host, through the proxy."""

    SHARED = True
    IDLE_SEC = 3
    MEMORY_MIB = 256
    FILL_MIB = 40
    SPARSE_MIB = 8

    def setUp(self):
        super().setUp()
        self.proxy = self.process = None
        self.source = self.destination = None

    def begin(self, *options):
        """A sound guest, a proxy; who is the source is what the guest's place makes of it."""
        for host in self.bed.hosts:
            if host.daemon is None:
                host.start()
        place = self.where()
        self.source = self.guest_on(place if place and place.state(self.NAME) == 'running' else None)
        self.destination = self.bed.other(self.source)
        self.proxy = wire.Proxy(self.source, self.destination)
        self.addCleanup(self.proxy.close)
        self.control.command('write 1000 4')
        self.options = options

    def start(self):
        words = self.migrate_arguments(self.source, self.destination, *self.options, uri=self.proxy.uri)
        self.process = self.source.virsh_start(*words)
        process = self.process
        self.addCleanup(lambda: (process.kill(), process.wait(), process.stdout.close()))

    def hold(self, kind, *options):
        """Starts a migration and waits until the proxy holds this frame."""
        self.begin(*options)
        self.proxy.hold(kind)
        self.start()
        self.proxy.wait_for(kind, alive=self.process)

    def end(self, seconds=40):
        code, self.output = self.migrate_end(self.process, seconds)
        return code

    @staticmethod
    def kill(host, program, how=signal.SIGKILL):
        pids = host.pids_of(program)
        assert pids, f'{host.name} has no {program}'
        for pid in pids:
            os.kill(pid, how)

    def reason(self, host):
        return hosts.run('virsh', '-c', host.uri, 'domstate', '--reason', self.NAME, check=False).strip()

    # how it can end

    def assert_moved(self, code=0):
        """The guest runs on the destination, and nothing is left at the source."""
        if code is not None:
            self.assertEqual(self.end(), code, getattr(self, 'output', ''))
        self.assert_settled(self.destination)
        hosts.wait_for('the source to be clean', lambda: not self.source.processes(), 20)
        self.assertNotIn(self.NAME, self.source.running())

    def assert_stayed(self, *patterns):
        """The guest runs on the source by itself, and the user reads why."""
        self.assertNotEqual(self.end(), 0, 'it succeeded')
        self.assert_reads(self.output, *patterns)
        self.assert_settled(self.source)
        self.assert_nothing_left()

    def assert_unknown(self):
        """The source keeps the guest paused and says so; nobody runs it."""
        hosts.wait_for('the source to know that it does not know',
                       lambda: self.reason(self.source) == 'paused (unknown)', 30)
        hosts.wait_for('the destination to drop it', lambda: not self.destination.processes(), 30)
        self.assertNotIn(self.NAME, self.destination.running())
        self.assertRegex(self.source.refused('resume', self.NAME), 'domjobabort')
        self.assertRegex(self.source.refused('migrate', '--live', self.NAME, '--desturi', self.destination.uri), 'error:')

    def settle_here(self):
        """The operator says that the destination does not run it."""
        self.source.virsh('domjobabort', self.NAME)
        self.assert_settled(self.source)
        self.assert_nothing_left()

    def settle_there(self):
        """The operator says that the destination runs it."""
        self.assert_not_running_at_source()
        self.source.virsh('destroy', self.NAME)
        self.assert_moved(None)

    def assert_not_running_at_source(self):
        status = self.source.virsh('qemu-monitor-command', self.NAME, '{"execute":"query-status"}')
        self.assertRegex(status, r'"running":\s?false')


class BeforeCommit(Handover):
    """COMMIT has been sent and has not arrived."""

    def test_state_cannot_be_saved(self):
        """COMMIT is not sent unless a restarted daemon would know of it."""
        self.hold(wire.READY)
        folder = os.path.join(self.source.root, 'run/libvirt/ferry/status')
        hosts.run('mount', '--bind', folder, folder)
        self.addCleanup(hosts.run, 'umount', '-l', folder, check=False)
        hosts.run('mount', '-o', 'remount,ro,bind', folder)
        self.proxy.release()
        self.assertNotEqual(self.end(), 0)
        hosts.run('umount', '-l', folder)
        self.assertEqual(self.proxy.seen[wire.COMMIT], 0)
        self.assert_reads(self.output, 'cannot be saved')
        self.assert_settled(self.source)
        self.assert_nothing_left()

    def test_link_closed(self):
        self.hold(wire.COMMIT)
        self.assertRegex(self.source.refused('resume', self.NAME), 'handed over')
        self.proxy.cut()
        self.assertNotEqual(self.end(), 0)
        self.assert_reads(self.output, 'lost|broke|closed')
        self.assert_unknown()
        self.settle_here()

    def test_link_silent(self):
        self.hold(wire.COMMIT)
        self.proxy.silence()
        self.assertNotEqual(self.end(), 0)
        self.assert_unknown()
        self.settle_here()

    def test_source_engine(self):
        self.hold(wire.COMMIT)
        self.kill(self.source, 'virt-ferry')
        self.proxy.cut()
        self.assertNotEqual(self.end(), 0)
        self.assert_unknown()
        self.settle_here()

    def test_source_engine_and_commit_arrives(self):
        self.hold(wire.COMMIT)
        self.kill(self.source, 'virt-ferry')
        self.proxy.release()
        self.assert_moved()

    def test_destination_engine(self):
        self.hold(wire.COMMIT)
        self.kill(self.destination, 'virt-ferry')
        self.assertNotEqual(self.end(), 0)
        self.assert_unknown()
        self.settle_here()

    def test_source_qemu(self):
        """The guest lives on if COMMIT arrives, although its old QEMU is gone."""
        self.hold(wire.COMMIT)
        self.kill(self.source, 'qemu-system')
        self.proxy.release()
        self.assert_moved(None)

    def test_destination_qemu(self):
        """The destination says in time that it never will: no operator is needed."""
        self.hold(wire.COMMIT)
        self.kill(self.destination, 'qemu-system')
        self.assert_stayed('QEMU|destination')

    def test_destination_gives_up(self):
        """The destination does not wait for COMMIT for ever; when it says so, the guest runs on at the source."""
        self.hold(wire.COMMIT)
        self.process.kill()
        self.process.wait()
        self.destination.disconnect()
        self.assert_settled(self.source)
        self.assert_nothing_left()

    def test_source_daemon(self):
        self.hold(wire.COMMIT)
        self.source.stop(signal.SIGKILL)
        self.proxy.cut()
        self.assertNotEqual(self.end(), 0)
        self.source.start()
        self.assert_unknown()
        self.settle_here()

    def test_source_daemon_is_stopped(self):
        """A normal stop of the daemon is nobody's word that the destination does not run the guest."""
        self.hold(wire.COMMIT)
        self.proxy.cut()
        self.assertNotEqual(self.end(), 0)
        self.assert_unknown()
        self.source.stop()
        self.source.start()
        self.assert_unknown()
        self.assert_not_running_at_source()
        self.settle_here()

    def test_source_daemon_and_commit_arrives(self):
        self.hold(wire.COMMIT)
        os.kill(self.process.pid, signal.SIGSTOP)  # or it would tell the destination first
        self.source.stop(signal.SIGKILL)
        self.proxy.release()
        self.proxy.wait_for(wire.RUNNING)
        os.kill(self.process.pid, signal.SIGCONT)
        self.end()
        self.source.start()
        hosts.wait_for('the guest on the destination', lambda: self.destination.state(self.NAME) == 'running', 20)
        hosts.wait_for('the source to know that it does not know', lambda: self.reason(self.source) == 'paused (unknown)', 20)
        self.settle_there()

    def test_destination_daemon(self):
        """Its engine answers in its place: nobody there would start the guest."""
        self.hold(wire.COMMIT)
        self.destination.stop(signal.SIGKILL)
        self.assertNotEqual(self.end(), 0)
        self.destination.start()
        self.assert_settled(self.source)
        self.assert_nothing_left()


class AfterCommit(Handover):
    """COMMIT has arrived, its answer has not: the guest belongs to the destination."""

    def test_link_closed(self):
        self.hold(wire.COMMIT_ACK)
        self.proxy.cut()
        self.assert_moved()

    def test_link_silent(self):
        self.hold(wire.COMMIT_ACK)
        self.proxy.silence()
        self.assert_moved()

    def test_source_engine(self):
        self.hold(wire.COMMIT_ACK)
        self.kill(self.source, 'virt-ferry')
        self.assert_moved()

    def test_destination_engine(self):
        self.hold(wire.COMMIT_ACK)
        self.kill(self.destination, 'virt-ferry')
        self.proxy.cut()
        self.assert_moved()

    def test_source_qemu(self):
        self.hold(wire.COMMIT_ACK)
        self.kill(self.source, 'qemu-system')
        self.proxy.release()
        self.assert_moved(None)

    def test_destination_qemu(self):
        """It ran there and died there: the source does not bring an older state back by itself."""
        self.hold(wire.COMMIT_ACK)
        hosts.wait_for('the guest on the destination', lambda: self.destination.state(self.NAME) == 'running', 20)
        self.kill(self.destination, 'qemu-system')
        self.proxy.cut()
        self.end()
        hosts.wait_for('the end of the guest there', lambda: not self.destination.processes(), 20)
        if self.NAME in self.source.running():
            self.assertEqual(self.reason(self.source), 'paused (unknown)')
            self.source.virsh('destroy', self.NAME)
        hosts.wait_for('the source to be clean', lambda: not self.source.processes(), 20)

    def test_source_daemon(self):
        self.hold(wire.COMMIT_ACK)
        self.source.stop(signal.SIGKILL)
        self.end()
        self.source.start()
        hosts.wait_for('the guest on the destination', lambda: self.destination.state(self.NAME) == 'running', 20)
        self.settle_there()

    def test_destination_daemon_reads_the_record(self):
        """The engine has taken COMMIT and nobody has started the guest: the next daemon does, after its record."""
        self.hold(wire.COMMIT)
        self.proxy.hold(wire.COMMIT_ACK)
        self.destination.disconnect()
        os.kill(self.destination.daemon.pid, signal.SIGSTOP)
        self.proxy.release(wire.COMMIT)
        self.proxy.wait_for(wire.COMMIT_ACK)
        self.destination.stop(signal.SIGKILL)
        self.proxy.cut()
        self.assertNotEqual(self.end(), 0)
        self.destination.start()
        hosts.wait_for('the guest on the destination', lambda: self.destination.state(self.NAME) == 'running', 20)
        self.settle_there()

    def test_destination_engine_before_the_daemon_hears(self):
        """The engine has taken COMMIT and died; a daemon that comes to it later finds its record, or its last word."""
        self.hold(wire.COMMIT)
        self.proxy.hold(wire.COMMIT_ACK)
        self.destination.disconnect()
        daemon = self.destination.daemon.pid
        os.kill(daemon, signal.SIGSTOP)
        self.proxy.release(wire.COMMIT)
        self.proxy.wait_for(wire.COMMIT_ACK)
        self.kill(self.destination, 'virt-ferry')
        self.proxy.cut()
        os.kill(daemon, signal.SIGCONT)
        self.assert_moved()


class AfterAck(Handover):
    """The source knows that the destination has it, and not yet that it runs."""

    def test_link_closed(self):
        self.hold(wire.RUNNING)
        self.proxy.cut()
        self.assert_moved()

    def test_source_engine(self):
        self.hold(wire.RUNNING)
        self.kill(self.source, 'virt-ferry')
        self.assert_moved()

    def test_source_daemon(self):
        self.hold(wire.RUNNING)
        self.source.stop(signal.SIGKILL)
        self.end()
        self.source.start()
        self.settle_there()

    def slow_start(self):
        """COMMIT has been taken, and the destination's QEMU takes its time to run the guest. Returns its pid."""
        self.hold(wire.COMMIT)
        qemu = self.destination.qemu()
        os.kill(qemu, signal.SIGSTOP)
        self.proxy.release()
        self.proxy.wait_for(wire.COMMIT_ACK)
        return qemu

    def nobody_asks(self):
        """The client goes, and the source gives up waiting for RUNNING."""
        self.process.kill()
        self.process.wait()
        hosts.wait_for('the source to know that it does not know', lambda: self.reason(self.source) == 'paused (unknown)', 30)
        self.assert_not_running_at_source()

    def test_late_running(self):
        """The source settles by itself when RUNNING comes after all; until then nobody gets the guest back there."""
        qemu = self.slow_start()
        self.nobody_asks()
        self.assertRegex(self.source.refused('domjobabort', self.NAME), 'destination has it')
        self.assert_not_running_at_source()
        os.kill(qemu, signal.SIGCONT)
        self.assert_moved(None)

    def test_abandon(self):
        """The destination's QEMU dies after COMMIT and before it runs the guest."""
        os.kill(self.slow_start(), signal.SIGKILL)
        self.proxy.wait_for(wire.ABANDON)
        self.assert_stayed('could not start|destination')

    def test_late_abandon(self):
        """The source resumes the guest by itself when it hears, late, that it never will run there."""
        qemu = self.slow_start()
        self.nobody_asks()
        os.kill(qemu, signal.SIGKILL)
        self.assert_settled(self.source)
        self.assert_nothing_left()


class Precopy(Handover):
    """The link closes after a number of bytes, anywhere in the stream; strangers and forgeries on the data connection."""

    def test_cut_points(self):
        # In the hellos, in the proof, in the table of RAM, in frames of pages.
        points = (1, 40, 64, 90, 112, 130, 300, 5000, 1 << 20, 3 << 20, 10 << 20, 30 << 20)
        for point in points:
            with self.subTest(bytes=point):
                self.begin()
                self.proxy.cut_after = point
                self.start()
                self.assert_stayed('lost|connection|closed|ended')
                self.proxy.close()

    def test_cut_of_the_return_path(self):
        for kind in (wire.ACCEPT, wire.MARK_ACK, wire.READY):
            with self.subTest(frame=kind):
                self.hold(kind)
                self.proxy.cut()
                self.assert_stayed('lost|connection|closed|ended')

    def test_source_qemu_at_the_switch(self):
        """Before COMMIT nothing can save the guest; both sides are clean afterwards, and say why."""
        self.hold(wire.READY)
        self.kill(self.source, 'qemu-system')
        self.assertNotEqual(self.end(), 0)
        self.assert_reads(self.output, 'QEMU|guest|domain')
        hosts.wait_for('both sides to notice', lambda: not self.source.running() and not self.destination.running(), 20)
        hosts.wait_for('both sides to be clean', lambda: not self.source.processes() and not self.destination.processes(), 20)
        self.assertRegex(self.reason(self.source), r'shut off \((crashed|failed)\)|failed to get domain')  # a transient one is gone

    def test_forged_source(self):
        """The hello is right, the proof is not: turned away with ERROR, and the true source gets through afterwards."""
        self.begin()
        forged = []

        def forge(frame):
            if not forged:
                forged.append(frame)
                return frame[:wire.HEADER.size] + bytes(len(frame) - wire.HEADER.size)
            return frame
        self.proxy.change(wire.PROOF, forge)
        self.start()
        self.assert_stayed('token|prove')
        self.proxy.close()
        self.begin()
        self.start()
        self.assert_moved()

    def test_other_memory_layout(self):
        """The table of RAM names another size, another page size, another block."""
        changes = {
            'size': lambda block: struct.pack('<Q', struct.unpack('<Q', block[:8])[0] * 2) + block[8:],
            'pages': lambda block: block[:8] + struct.pack('<Q', 2 << 20) + block[16:],
            'name': lambda block: block[:16] + b'ram7' + block[20:],
        }
        for name, change in changes.items():
            with self.subTest(difference=name):
                self.begin()
                self.proxy.change(wire.RAM_TABLE, lambda frame, change=change: (
                    frame[:wire.HEADER.size] + change(frame[wire.HEADER.size:wire.HEADER.size + wire.BLOCK_BYTES]) +
                    frame[wire.HEADER.size + wire.BLOCK_BYTES:]))
                self.start()
                self.assert_stayed('memory layout differs')
                self.proxy.close()

    def test_other_memory_in_xml(self):
        self.begin()
        xml = self.source.virsh('dumpxml', '--migratable', self.NAME)
        kib = str(self.MEMORY_MIB * 1024)
        self.assertIn(f'>{kib}<', xml)
        self.options = ('--xml', self.bed.write('other.xml', xml.replace(f'>{kib}<', f'>{2 * int(kib)}<')))
        self.start()
        self.assert_stayed('memory', kib)

    def test_incomplete(self):
        """A frame of pages is lost on the way: the totals tell, and nothing is handed over."""
        self.begin()
        dropped = []

        def drop(frame):
            if dropped:
                return frame
            dropped.append(frame)
            return b''
        self.proxy.change(wire.PAGES, drop)
        self.start()
        self.assert_stayed('incomplete|not what the source has sent|device state|QEMU')  # QEMU may miss something first


if __name__ == '__main__':
    case.main()

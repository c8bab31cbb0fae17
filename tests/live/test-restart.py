#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Daemons that end, cleanly or not: guests go on, and the next daemon finds them with their state."""

import contextlib
import os
import signal
import time

import case
import host as hosts


class Restart(case.LiveCase):
    FILL_MIB = 96

    def setUp(self):
        super().setUp()
        self.alpha, self.beta = self.bed.alpha, self.bed.beta
        for host in self.bed.hosts:
            if host.daemon is None:
                host.start()
        self.guest_on(self.alpha)

    def restart(self, host, how=signal.SIGTERM):
        code = host.stop(how)
        if how == signal.SIGTERM:
            self.assertEqual(code, 0, self.bed.log(host.name)[-2000:])
        self.control.wait_beat(10)
        host.start()

    def same_guest(self, qemu):
        self.assertEqual(self.alpha.qemu(), qemu)
        self.assertEqual(self.alpha.state(self.NAME), 'running')
        self.control.wait_beat(10, pid=qemu)
        self.control.verify()

    def test_clean(self):
        qemu, before = self.alpha.qemu(), self.alpha.virsh('dumpxml', self.NAME)
        number = self.alpha.virsh('domid', self.NAME)
        self.restart(self.alpha)
        self.same_guest(qemu)
        self.assertEqual(self.alpha.virsh('dumpxml', self.NAME), before)
        self.assertEqual(self.alpha.virsh('domid', self.NAME), number)
        self.assertRegex(self.alpha.virsh('ttyconsole', self.NAME), '^/dev/pts/')
        self.migrate(self.alpha, self.beta)
        self.assert_settled(self.beta)

    def test_killed(self):
        qemu = self.alpha.qemu()
        self.restart(self.alpha, signal.SIGKILL)
        self.same_guest(qemu)
        self.alpha.virsh('suspend', self.NAME)
        self.alpha.virsh('resume', self.NAME)
        self.migrate(self.alpha, self.beta)
        self.assert_settled(self.beta)

    def test_paused_guest(self):
        self.alpha.virsh('suspend', self.NAME)
        self.alpha.stop(signal.SIGKILL)
        self.alpha.start()
        self.assertEqual(self.alpha.virsh('domstate', '--reason', self.NAME), 'paused (user)')
        after = time.monotonic()
        self.alpha.virsh('resume', self.NAME)
        self.control.wait_beat(10, after=after)
        self.control.verify()

    def test_guest_ended_meanwhile(self):
        qemu = self.alpha.qemu()
        self.alpha.stop()
        os.kill(qemu, signal.SIGKILL)
        hosts.wait_for('QEMU to end', lambda: not self.alpha.processes(), 10)
        self.alpha.start()
        self.assertEqual(self.alpha.state(self.NAME), 'shut off')
        self.control.forget()
        self.alpha.virsh('start', self.NAME)
        self.control.wait_ready(60)

    def test_definitions_and_autostart(self):
        self.alpha.virsh('define', self.bed.write('kept.xml', self.xml(name='kept')))
        self.alpha.virsh('autostart', 'kept')
        before = self.alpha.virsh('dumpxml', 'kept')
        self.restart(self.alpha)
        self.assertEqual(self.alpha.virsh('dumpxml', 'kept'), before)
        self.assertRegex(self.alpha.virsh('dominfo', 'kept'), r'Autostart: +enable')
        self.alpha.virsh('destroy', 'kept', check=False)
        self.alpha.virsh('undefine', 'kept')

    def test_source_daemon_killed_while_it_moves(self):
        process = self.migrate_start(self.alpha, self.beta, '--bandwidth', '30')
        hosts.wait_for('progress', lambda: (self.progress(self.alpha) or 0) > 0.2, 30)
        self.alpha.stop(signal.SIGKILL)
        code, output = self.migrate_end(process)
        self.assertNotEqual(code, 0)
        self.assertIn('error:', output)
        self.alpha.start()
        self.assert_settled(self.alpha)
        hosts.wait_for('the destination to be clean', lambda: not self.beta.processes(), 30)
        hosts.wait_for('the helper to end', lambda: not self.alpha.pids_of('virt-ferry'), 30)
        self.migrate(self.alpha, self.beta)
        self.assert_settled(self.beta)

    def test_destination_daemon_killed_while_it_moves(self):
        process = self.migrate_start(self.alpha, self.beta, '--bandwidth', '30')
        hosts.wait_for('progress', lambda: (self.progress(self.alpha) or 0) > 0.2, 30)
        self.beta.stop(signal.SIGKILL)
        code, output = self.migrate_end(process)
        self.assertNotEqual(code, 0)
        self.assertIn('error:', output)
        self.beta.start()
        self.assert_settled(self.alpha)
        hosts.wait_for('the destination to be clean', lambda: not self.beta.processes(), 30)
        self.migrate(self.alpha, self.beta)
        self.assert_settled(self.beta)

    def test_clean_stop_while_it_moves(self):
        """SIGTERM in the middle: the job is cancelled, the guest stays, the daemon ends with 0."""
        process = self.migrate_start(self.alpha, self.beta, '--bandwidth', '20')
        hosts.wait_for('progress', lambda: (self.progress(self.alpha) or 0) > 0.1, 30)
        self.alpha.disconnect()
        self.assertEqual(self.alpha.stop(signal.SIGTERM, 30), 0)
        code, _ = self.migrate_end(process)
        self.alpha.start()
        if code == 0:
            self.assert_settled(self.beta)
        else:
            self.assert_settled(self.alpha)

    def test_timeout(self):
        """--timeout: ends by itself when no client and no guest is there, and only then."""
        self.remove_guest()
        self.beta.stop()
        self.beta.start('--timeout', '1')
        with contextlib.closing(case.Events(self.beta)):
            self.bed.boot(self.beta, self.xml(), 16)
            self.beta.virsh('list')
            self.assertIsNone(self.beta.daemon.poll())
            self.beta.virsh('destroy', self.NAME)
            self.beta.virsh('undefine', self.NAME)
            self.assertIsNone(self.beta.daemon.poll())
        self.assertEqual(self.beta.daemon.wait(15), 0)
        self.beta.daemon = None


if __name__ == '__main__':
    case.main()

# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of postcopy and its soak have in common."""

import contextlib
import os
import signal

import case
import host as hosts


class Postcopy(case.LiveCase):
    """A writing guest on alpha that moves to beta."""

    SHARED = True
    IDLE_SEC = 2
    FILL_MIB = 96
    SLOW = ('--bandwidth', '8')           # precopy that does not end by itself
    PUSH = ('--postcopy-bandwidth', '24')  # about 4 s of postcopy

    def setUp(self):
        super().setUp()
        self.alpha, self.beta = self.bed.alpha, self.bed.beta
        self.bed.mend()
        self.addCleanup(self.bed.mend)
        for host in self.bed.hosts:
            if host.daemon is None:
                host.start()
        if all(self.NAME in host.running() for host in self.bed.hosts):
            self.remove_guest()  # a failed test's postcopy
        self.guest_on(self.alpha)
        self.control.command('write 1500 16')

    def reason(self, host):
        return host.virsh('domstate', '--reason', self.NAME, check=False)

    def start(self, *options, slow=True):
        words = ('--postcopy', *(self.SLOW if slow else ()), *self.PUSH, *options)
        process = self.migrate_start(self.alpha, self.beta, *words)
        hosts.wait_for('the job', lambda: process.poll() is not None or self.alpha.job(self.NAME).get('memory_total'), 20)
        return process

    def switch(self, *options):
        """Begins, switches at once; returns when the guest runs at the destination."""
        process = self.start(*options)
        self.alpha.virsh('migrate-postcopy', self.NAME)
        hosts.wait_for('the guest at the destination', lambda: process.poll() is not None or
                       self.beta.state(self.NAME) == 'running', 30, 0.01)
        return process

    def resume(self, *options):
        """Starts virsh to resume."""
        return self.migrate_start(self.alpha, self.beta, '--postcopy', '--postcopy-resume', *options)

    def left(self):
        """Share of the memory that the destination still lacks, 1..0."""
        job = self.beta.job(self.NAME)
        stale = job.get('ferry.postcopy.pages_stale', 0) + job.get('ferry.postcopy.pages_inflight', 0)
        self.most_stale = max(self.most_stale, stale)
        return stale / self.most_stale if self.most_stale else 1

    most_stale = 0

    def reach(self, share, process):
        """Waits until so much has arrived since the switch."""
        hosts.wait_for(f'{share} of postcopy', lambda: process.poll() is not None or 1 - self.left() >= share, 40, 0.01)

    def ends_well(self, process):
        code, output = self.migrate_end(process)
        self.assertEqual(code, 0, output)
        self.settled_on_beta()

    def settled_on_beta(self):
        self.assert_settled(self.beta)
        # A daemon that was just started runs a QEMU for a moment, to ask it what it can.
        hosts.wait_for('the source to be clean', lambda: not self.alpha.processes(), 20)
        self.assertEqual(self.beta.pids_of('virt-ferry'), [])
        self.assertEqual(self.reason(self.beta), 'running (migrated)')

    def kill(self, host, program):
        for pid in host.pids_of(program):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def interrupt(self, process, action):
        action()
        _, output = self.migrate_end(process)
        self.bed.mend()
        # virsh's exit code does not tell: with everything at the destination it is 0 although the source was not told.
        return None if self.stopped() == 'complete' else output

    def stopped(self, seconds=30):
        """What became of an interrupted one: 'paused' (the source waits for the resumption, the destination too, or it has everything
        and could not say so), or 'complete' (only virsh did not hear of it)."""
        def known():
            source, destination = self.reason(self.alpha), self.reason(self.beta)
            if source == 'paused (post-copy failed)' and destination in ('running (post-copy failed)', 'running (migrated)'):
                return 'paused'
            return 'complete' if destination == 'running (migrated)' and self.NAME not in self.alpha.running() else None
        return hosts.wait_for('both sides to notice', known, seconds)

    def restart(self, *daemons, engines=()):
        for host in daemons:
            host.stop(signal.SIGKILL)
        for host in engines:
            self.kill(host, 'virt-ferry-engine')
        for host in daemons:
            host.start()

#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Postcopy: every way into it, what both sides say meanwhile, and every way back after a link, a helper or a daemon was lost. The
guest writes all the time, and its memory is verified at the end of every migration."""

import contextlib
import os
import signal

import case
import host as hosts
import postcopy_case

LIFECYCLE = {
    'suspended migrated': (3, 1), 'suspended postcopy': (3, 7), 'suspended postcopy failed': (3, 8), 'stopped migrated': (5, 3),
    'started migrated': (2, 1), 'resumed postcopy': (4, 3), 'resumed postcopy failed': (4, 4), 'resumed migrated': (4, 1),
}
NUMBERS = {number: word for word, number in LIFECYCLE.items()}


class Ways(postcopy_case.Postcopy):
    """Into postcopy, without disturbance."""

    def lifecycle(self, events):
        return [NUMBERS.get(words, words) for words in events.lifecycle()]

    def moved_with_events(self, *options):
        with contextlib.closing(case.Events(self.alpha)) as source, contextlib.closing(case.Events(self.beta)) as destination:
            process = self.start(*options)
            self.assertEqual(self.alpha.state(self.NAME), 'running')
            self.assertEqual(self.reason(self.beta), 'paused (migrating)')
            self.alpha.virsh('migrate-postcopy', self.NAME)
            destination.wait('lifecycle', *LIFECYCLE['resumed postcopy'])
            source.wait('lifecycle', *LIFECYCLE['suspended postcopy'])
            self.assertEqual(self.reason(self.alpha), 'paused (post-copy)')
            self.assertEqual(self.reason(self.beta), 'running (post-copy)')
            self.assertEqual(self.alpha.job(self.NAME)['type'], 2)
            self.assertIn('ferry.postcopy.pages_valid', self.beta.job(self.NAME))
            self.ends_well(process)
            source.wait('job-completed')
            source.wait('lifecycle', *LIFECYCLE['stopped migrated'])
            self.assertEqual(self.lifecycle(source), ['suspended migrated', 'suspended postcopy', 'stopped migrated'])
            self.assertEqual(self.lifecycle(destination), ['started migrated', 'resumed postcopy', 'resumed migrated'])

    def test_direct(self):
        self.moved_with_events()
        stats = self.beta.connection().lookupByName(self.NAME).jobStats(1)
        self.assertEqual(stats['ferry.postcopy.state'], 'complete')
        self.assertEqual(stats['ferry.postcopy.pages_stale'], 0)
        self.assertEqual(sum(int(n) for n in stats['ferry.postcopy.latency_log2_usec'].split(',')),
                         stats['ferry.postcopy.faults_requested'])

    def test_peer_to_peer(self):
        self.moved_with_events('--p2p')

    def test_after_precopy(self):
        self.alpha.virsh('migrate-setmaxdowntime', self.NAME, '1')
        self.addCleanup(self.fresh_guest)  # without that limit
        self.control.command('write 20000 32')
        with contextlib.closing(case.Events(self.alpha)) as source:
            process = self.migrate_start(self.alpha, self.beta, '--postcopy', '--postcopy-after-precopy', '--bandwidth', '40')
            self.ends_well(process)
            self.assertIn(LIFECYCLE['suspended postcopy'], source.lifecycle())

    def test_timeout(self):
        with contextlib.closing(case.Events(self.alpha)) as source:
            process = self.migrate_start(self.alpha, self.beta, '--postcopy', '--timeout', '1', '--timeout-postcopy', *self.SLOW)
            self.ends_well(process)
            self.assertIn(LIFECYCLE['suspended postcopy'], source.lifecycle())

    def test_never_switched(self):
        """--postcopy allows it and no more: what converges is precopy."""
        with contextlib.closing(case.Events(self.alpha)) as source:
            self.ends_well(self.migrate_start(self.alpha, self.beta, '--postcopy'))
            self.assertNotIn(LIFECYCLE['suspended postcopy'], source.lifecycle())

    def test_refused(self):
        self.assert_reads(self.alpha.refused('migrate-postcopy', self.NAME), 'while outgoing migration is in progress')
        self.assert_reads(self.alpha.refused(*self.migrate_arguments(self.alpha, self.beta, '--postcopy', '--postcopy-resume')),
                          'no postcopy migration')
        process = self.migrate_start(self.alpha, self.beta, '--bandwidth', '30')
        hosts.wait_for('the job', lambda: self.alpha.job(self.NAME).get('memory_total'), 20)
        self.assert_reads(self.alpha.refused('migrate-postcopy', self.NAME), 'not started with .--postcopy')
        self.alpha.virsh('migrate-setspeed', self.NAME, '2000')
        self.ends_well(process)

    def test_speeds(self):
        self.alpha.virsh('migrate-setspeed', self.NAME, '77', '--postcopy')
        self.assertEqual(self.alpha.virsh('migrate-getspeed', self.NAME, '--postcopy'), '77')
        self.assertNotEqual(self.alpha.virsh('migrate-getspeed', self.NAME), '77')

    def test_host_cannot(self):
        """Before the guest moves, and with what to do about it."""
        self.beta.stop()
        self.beta.start(environment={'FERRY_DISABLE_KERNEL': 'uffd-minor-shmem'})
        try:
            output = self.alpha.refused(*self.migrate_arguments(self.alpha, self.beta, '--postcopy'))
        finally:
            self.beta.stop()
            self.beta.start()
        self.assert_reads(output, 'userfaultfd', "leave '--postcopy' out")
        self.assert_settled(self.alpha)


class Meanwhile(postcopy_case.Postcopy):
    """While memory is missing at the destination."""

    PUSH = ('--postcopy-bandwidth', '12')

    def test_commands(self):
        process = self.switch()
        words = self.beta.virsh('dumpxml', self.NAME)
        self.assertIn('<memory', words)
        self.assertIn('state.state=1', self.beta.virsh('domstats', self.NAME))
        self.beta.virsh('suspend', self.NAME)
        self.assertEqual(self.reason(self.beta), 'paused (user)')
        self.beta.virsh('resume', self.NAME)
        self.assertEqual(self.beta.state(self.NAME), 'running')
        self.assert_reads(self.beta.refused('setmem', self.NAME, '262144'), 'part of the memory', 'postcopy')
        self.assertIn('error:', self.beta.refused('save', self.NAME, os.path.join(self.bed.folder, 'image')))
        self.assert_reads(self.beta.refused(*self.migrate_arguments(self.beta, self.alpha)), 'postcopy|arriving')
        self.assertIn('error:', self.alpha.refused(*self.migrate_arguments(self.alpha, self.beta)))
        self.assert_reads(self.alpha.refused('domjobabort', self.NAME), 'post-copy mode', '--postcopy')
        self.assert_reads(self.alpha.refused('resume', self.NAME), 'another host')
        self.assertEqual(self.reason(self.alpha), 'paused (post-copy)')
        self.alpha.virsh('migrate-setspeed', self.NAME, '2000', '--postcopy')
        code, output = self.migrate_end(process)
        self.assertEqual(code, 0, output)
        self.assert_settled(self.beta)

    def test_suspended_guest(self):
        self.alpha.virsh('suspend', self.NAME)
        process = self.start()
        self.alpha.virsh('migrate-postcopy', self.NAME)
        self.alpha.virsh('migrate-setspeed', self.NAME, '2000', '--postcopy', check=False)
        code, output = self.migrate_end(process)
        self.assertEqual(code, 0, output)
        self.assertEqual(self.beta.state(self.NAME), 'paused')
        self.beta.virsh('resume', self.NAME)
        self.assert_settled(self.beta)

    def test_destroy(self):
        """Whoever destroys the guest at its destination has destroyed it; the source is told by nobody, and can be ended."""
        process = self.switch()
        self.beta.virsh('destroy', self.NAME)
        code, _ = self.migrate_end(process)
        self.assertNotEqual(code, 0)
        hosts.wait_for('the source to notice', lambda: self.reason(self.alpha) == 'paused (post-copy failed)', 30)
        code, output = self.migrate_end(self.resume())
        self.assertNotEqual(code, 0)
        self.assert_reads(output, 'no postcopy migration')
        self.alpha.virsh('destroy', self.NAME)
        hosts.wait_for('both sides to be clean', lambda: not self.alpha.processes() and not self.beta.processes(), 20)

    def test_client_gone(self):
        """Nobody waits for the end any more: it comes all the same."""
        for options in ((), ('--p2p',)):
            with self.subTest(options=options):
                self.guest_on(self.alpha)
                process = self.switch(*options)
                process.kill()
                process.wait()
                self.alpha.virsh('migrate-setspeed', self.NAME, '200', '--postcopy')
                hosts.wait_for('the end', lambda: self.NAME not in self.alpha.running(), 40)
                self.settled_on_beta()


class Interrupted(postcopy_case.Postcopy):
    """Cuts and kills over the whole of postcopy and of its recovery: several in each migration."""

    FILL_MIB = 128
    PUSH = ('--postcopy-bandwidth', '40')

    def series(self, steps, *options):
        """One migration with an interruption at each share of it. Returns how many there were."""
        process, done, self.most_stale = self.switch(*options), 0, 0
        for share, action in steps:
            self.reach(share, process)
            output = self.interrupt(process, action)
            if output is None:
                break
            if output:
                self.assert_reads(output, 'post-?copy|lost|connect|closed|end of file|broke')
            done += 1
            process = self.resume(*options)
            hosts.wait_for('the resumption', lambda process=process: process.poll() is not None or
                           self.reason(self.alpha) == 'paused (post-copy)', 30, 0.01)
            if process.poll():
                self.fail(f'after {done} interruptions: {self.migrate_end(process)[1]}')
        else:
            code, output = self.migrate_end(process)
            self.assertEqual(code, 0, output)
        self.settled_on_beta()
        return done

    def test_link(self):
        steps = [(share, lambda number=number: self.bed.cut(self.bed.hosts[number % 2]))
                 for number, share in enumerate((0.0, 0.3, 0.6))]
        self.assertGreaterEqual(self.series(steps), 2)

    def test_abort(self):
        def abort():
            self.alpha.virsh('domjobabort', '--postcopy', self.NAME)
        self.assertGreaterEqual(self.series([(share, abort) for share in (0.0, 0.2, 0.5, 0.8)], '--p2p'), 3)

    def test_engines(self):
        steps = [(share, lambda host=host: self.kill(host, 'virt-ferry-engine'))
                 for share, host in ((0.0, self.alpha), (0.1, self.beta), (0.3, self.alpha), (0.5, self.beta), (0.75, self.beta))]
        self.assertGreaterEqual(self.series(steps), 4)

    def test_everything(self):
        """Engine and daemon of one side at once, then of both."""
        steps = [(0.05, lambda: self.restart(self.beta, engines=[self.beta])),
                 (0.25, lambda: self.restart(self.alpha, engines=[self.alpha])),
                 (0.5, lambda: self.restart(self.alpha, self.beta, engines=self.bed.hosts))]
        self.assertGreaterEqual(self.series(steps), 2)

    def test_daemons(self):
        """A daemon that goes takes nothing with it: postcopy runs to its end, and the next one finds it so."""
        for killed in ([self.alpha], [self.beta], self.bed.hosts):
            with self.subTest(killed=[host.name for host in killed]):
                self.guest_on(self.alpha)
                process = self.switch()
                for host in killed:
                    host.stop(signal.SIGKILL)
                self.migrate_end(process)
                self.control.wait_beat(20)
                for host in killed:
                    host.start()
                hosts.wait_for('the end', lambda: self.NAME not in self.alpha.running() and
                               self.reason(self.beta) == 'running (migrated)', 40)
                self.settled_on_beta()

    def test_cut_while_resuming(self):
        process, self.most_stale = self.switch(), 0
        self.reach(0.2, process)
        self.interrupt(process, lambda: self.kill(self.beta, 'virt-ferry-engine'))
        for cut in (self.bed.cut, lambda: self.kill(self.alpha, 'virt-ferry-engine')):
            process = self.resume()
            cut()
            code, _ = self.migrate_end(process)
            self.bed.mend()
            if code == 0:
                break
            hosts.wait_for('both sides to notice', lambda: 'failed' in self.reason(self.alpha) and 'failed' in self.reason(self.beta), 30)
        else:
            code, output = self.migrate_end(self.resume())
            self.assertEqual(code, 0, output)
        self.settled_on_beta()

    def test_end_not_heard(self):
        """The destination has everything, and the source was told by nobody: the resumption tells it."""
        process = self.switch()
        self.alpha.stop(signal.SIGKILL)
        self.migrate_end(process)
        hosts.wait_for('all memory', lambda: self.reason(self.beta) == 'running (migrated)', 40)
        self.kill(self.alpha, 'virt-ferry-engine')
        self.alpha.start()
        self.assertEqual(self.reason(self.alpha), 'paused (post-copy failed)')
        self.ends_well(self.resume())


if __name__ == '__main__':
    case.main()

#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Policies over a link that tc has made slow: an idle guest, one that writes moderately, one that writes faster than the link, under each policy. Each
migration ends as its policy promises, with decision and reason, and the guest verifies its memory."""

import contextlib
import json
import os
import re
import threading
import time

import libvirt

import case
import host as hosts

LINK_MIB = 48  # per second
MODERATE = 1500  # pages per second: 6 MiB/s
FAST = 24000     # 94 MiB/s
FAST_MIB = 40    # ... into so much memory
POLICY = 'ferry.policy'


class Policy(case.LiveCase):
    """One guest that goes back and forth over a link of 48 MiB/s."""

    MEMORY_MIB = 256
    FILL_MIB = 64
    SPARSE_MIB = 8

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for host in cls.bed.hosts:
            hosts.run('tc', '-n', host.namespace, 'qdisc', 'add', 'dev', host.link, 'root', 'tbf', 'rate', f'{LINK_MIB * 8}mibit',
                      'burst', '1mb', 'latency', '100ms')

    def setUp(self):
        super().setUp()
        self.source = self.where() or self.guest_on(self.bed.alpha)
        self.destination = self.bed.other(self.source)
        self.control.command('stop')

    # one migration

    def move(self, policy, flags=0, seconds=60):
        """Migrates under a policy; returns what the user reads if it fails, or None."""
        parameters = {libvirt.VIR_MIGRATE_PARAM_URI: f'tcp://{self.destination.address}'}
        if policy:
            parameters[POLICY] = policy
        begin = time.monotonic()
        old = self.source.qemu()
        # A connection of its own: python-libvirt keeps one call at a time on each.
        with contextlib.closing(libvirt.open(self.source.uri)) as source, contextlib.closing(libvirt.open(self.destination.uri)) as destination:
            domain = source.lookupByName(self.NAME)
            try:
                domain.migrate3(destination, parameters, libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PERSIST_DEST | flags)
            except libvirt.libvirtError as error:
                return str(error)
        self.assertLess(time.monotonic() - begin, seconds)
        self.control.wait_beat(20, not_pid=old, after=begin)
        return None

    def completed(self, host=None):
        """Statistics of the last job, as a program reads them."""
        # It stays defined on both hosts: a transient one would be gone from the source, with its statistics.
        with contextlib.closing(libvirt.open((host or self.source).uri)) as connection:
            return connection.lookupByName(self.NAME).jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED | libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)

    def rounds(self, host=None):
        """The rounds and decisions that the daemon has recorded."""
        for folder, _, files in os.walk((host or self.source).root):
            for name in files:
                if name == self.NAME + '.rounds.log':
                    with open(os.path.join(folder, name), encoding='utf-8') as log:
                        return [json.loads(line) for line in log]
        self.fail('no rounds.log')

    def write(self, load):
        """Starts the guest's writers; waits until they have begun."""
        pages, mib = {'idle': (0, 0), 'moderate': (MODERATE, 16), 'fast': (FAST, FAST_MIB)}[load]
        if pages:
            self.control.command(f'write {pages} {mib}')

    def arrived(self, policy):
        """The guest is there, sound, and the numbers of the job make sense. Returns them."""
        self.assert_settled(self.destination)
        stats = self.completed()
        self.assertTrue(stats['success'])
        self.assertEqual(stats['ferry.policy'], policy)
        self.assertEqual(stats['ferry.pending.precopy_bytes'], 0)
        self.assertGreater(stats['ferry.downtime.measured_usec'], 0)
        self.assertLessEqual(stats['memory_bps'], LINK_MIB * 1.3 * (1 << 20), 'bandwidth above what the link can do')
        lines = self.rounds()
        self.assertEqual(lines[0]['policy'], policy)
        self.assertTrue(lines[-1]['end'] and lines[-1]['success'])
        return stats

    def check_easy(self, load, policy, settings=''):
        """A guest that every policy gets across below the limit."""
        self.write(load)
        self.assertIsNone(self.move(f'{policy} {settings}'))
        stats = self.arrived(policy)
        self.assertRegex(stats['ferry.decision'], '^stop-and-copy: (what is pending costs less|below the limit|the guest writes nothing)')
        self.assertEqual(stats.get('auto_converge_throttle', 0), 0)
        # The limit is kept, with what a busy machine adds.
        self.assertLess(stats['ferry.downtime.measured_usec'], stats['ferry.downtime.limit_usec'] + 200000)

    # what every policy does with an easy guest

    def test_idle(self):
        for policy in ('balanced', 'minimal-downtime', 'postcopy', 'deadline', 'never-throttle'):
            with self.subTest(policy):
                self.check_easy('idle', policy)
                self.source, self.destination = self.destination, self.source

    def test_moderate(self):
        for policy in ('balanced', 'minimal-downtime', 'postcopy', 'deadline', 'never-throttle'):
            with self.subTest(policy):
                self.check_easy('moderate', policy)
                self.source, self.destination = self.destination, self.source

    # a guest that writes faster than the link

    def test_fast_balanced(self):
        """The ramp, and what comes after it."""
        self.write('fast')
        self.assertIsNone(self.move('balanced downtime.initial=100 downtime.max=300 downtime.steps=2 downtime.reach=1000 stall.window=1'))
        stats = self.arrived('balanced')
        actions = [line['decision'] for line in self.rounds() if 'decision' in line]
        self.assertEqual(actions.count('raise-downtime'), 2, actions)
        self.assertEqual(stats['ferry.downtime.limit_usec'], 300000)
        if 'throttle' in actions:
            self.assertLess(actions.index('raise-downtime'), actions.index('throttle'), 'the ramp comes first')
            self.assertGreater(stats['auto_converge_throttle'], 0)
        else:
            self.assertRegex(stats['ferry.decision'], 'stop-and-copy: rounds have stalled, and nothing else is left')

    def test_fast_ramp_reaches(self):
        """What is left takes some 900 ms: a limit that the ramp reaches."""
        self.write('fast')
        self.assertIsNone(self.move('balanced downtime.initial=300 downtime.max=2000 downtime.steps=4 stall.window=1'))
        stats = self.arrived('balanced')
        self.assertRegex(stats['ferry.decision'], 'stop-and-copy: below the limit')
        self.assertGreater(stats['ferry.downtime.limit_usec'], 300000)
        self.assertEqual(stats.get('auto_converge_throttle', 0), 0)

    def test_fast_minimal_downtime(self):
        """Never above the limit: given up at the deadline, and the guest runs on where it was."""
        self.write('fast')
        begin = time.monotonic()
        output = self.move('minimal-downtime downtime.initial=40 deadline.seconds=6')
        self.assertRegex(output, 'given up by its policy .*deadline has come')
        self.assertLess(time.monotonic() - begin, 14)
        self.assert_settled(self.source)
        stats = self.completed()
        self.assertFalse(stats['success'])
        self.assertRegex(stats['ferry.decision'], '^abort: ')
        self.control.command('stop')

    def test_fast_deadline(self):
        self.write('fast')
        self.assertIsNone(self.move('deadline deadline.seconds=9', seconds=16))
        stats = self.arrived('deadline')
        self.assertLess(stats['time_elapsed'], 11000)
        self.assertRegex(stats['ferry.decision'], '^stop-and-copy: ')

    def test_fast_never_throttle(self):
        self.write('fast')
        self.assertIsNone(self.move('never-throttle stall.window=1'))
        stats = self.arrived('never-throttle')
        self.assertEqual(stats.get('auto_converge_throttle', 0), 0)
        self.assertRegex(stats['ferry.decision'], 'stop-and-copy: ')

    def test_fast_postcopy(self):
        """One round, then the guest runs at the destination while the rest arrives."""
        self.write('fast')
        self.assertIsNone(self.move('postcopy', libvirt.VIR_MIGRATE_POSTCOPY))
        stats = self.arrived('postcopy')
        self.assertRegex(stats['ferry.decision'], '^postcopy: the rounds that come before postcopy are done')
        self.assertEqual(stats.get('auto_converge_throttle', 0), 0)

    # where a policy is said

    def test_metadata(self):
        """In the domain's XML, for stock virsh; a mistake is told at once."""
        self.remove_guest()
        self.addCleanup(self.remove_guest)
        policy = "<metadata><p:policy xmlns:p='urn:ferry:migration-policy:1' name='{}'><p:deadline seconds='40'/></p:policy></metadata>"
        alpha = self.bed.alpha
        self.bed.boot(alpha, self.xml(top=policy.format('deadline')), 16)
        self.migrate(alpha, self.bed.beta, '--persistent')
        self.source, self.destination = alpha, self.bed.beta
        self.arrived('deadline')
        self.assertIn('urn:ferry:migration-policy:1', self.bed.beta.virsh('dumpxml', self.NAME))
        self.remove_guest()
        self.bed.boot(alpha, self.xml(top=policy.format('fast')), 0)
        self.assert_reads(alpha.refused(*self.migrate_arguments(alpha, self.bed.beta)), "'fast' is no migration policy")
        self.assertEqual(alpha.state(self.NAME), 'running')
        self.assertRegex(self.move('balanced stall.window=never') or '', 'stall.window')

    # events and numbers

    def test_numbers_of_a_round(self):
        """Who asks when an iteration event comes sees that round's numbers, or later ones, whoever else asks meanwhile; so do those who ask while it runs."""
        self.write('fast')
        listener = case.Events(self.source)
        self.addCleanup(listener.close)
        wrong, seen, over = [], [], threading.Event()

        def asked(_connection, domain, iteration, _opaque):
            with contextlib.suppress(libvirt.libvirtError):
                number = domain.jobStats().get('memory_iteration', 0)
                seen.append((iteration, number))
                if number < iteration:
                    wrong.append((iteration, number))

        def load():
            while not over.is_set():
                with contextlib.suppress(libvirt.libvirtError), contextlib.closing(libvirt.open(self.source.uri)) as connection:
                    connection.lookupByName(self.NAME).jobStats()
        connection = libvirt.open(self.source.uri)
        self.addCleanup(connection.close)
        number = connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, asked, None)
        threads = [threading.Thread(target=load) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            self.assertIsNone(self.move('never-throttle stall.window=3'))
        finally:
            over.set()
            for thread in threads:
                thread.join()
            connection.domainEventDeregisterAny(number)
        self.assertEqual(wrong, [])
        self.assertGreater(len(seen), 3)
        self.assertEqual([iteration for iteration, _ in seen], list(range(1, len(seen) + 1)))
        self.assertGreater(sum(iteration == number for iteration, number in seen), len(seen) / 2, seen)
        self.arrived('never-throttle')

    def test_virsh(self):
        """What stock virsh prints of it, and that it takes numbers that it does not know."""
        self.write('moderate')
        process = self.migrate_start(self.source, self.destination, '--persistent')
        hosts.wait_for('the second round', lambda: self.source.job(self.NAME).get('memory_iteration', 0) >= 1, 30)
        text = self.source.virsh('domjobinfo', self.NAME, check=False)
        self.assertRegex(text, r'Job type: +Unbounded')
        self.assertRegex(text, r'Memory processed|Time elapsed')
        code, output = self.migrate_end(process)
        self.assertEqual(code, 0, output)
        self.assert_settled(self.destination)
        text = self.source.virsh('domjobinfo', '--completed', self.NAME)
        for words in (r'Job type: +Completed', r'Operation: +Outgoing migration', r'Total downtime: +\d+', r'Setup time', r'Normal pages', r'Iteration'):
            self.assertRegex(text, words)
        self.assertRegex(re.sub(r'\s+', ' ', text), r'Memory remaining: 0')


class Queue(case.LiveCase):
    """More migrations than the host lets go at a time, over bandwidth that they share."""

    MEMORY_MIB = 192
    FILL_MIB = 16

    def test_queue(self):
        alpha, beta = self.bed.alpha, self.bed.beta
        with open(os.path.join(alpha.root, 'etc/libvirt/virtferryd.conf'), 'a', encoding='utf-8') as config:
            config.write('migration_max_outgoing = 2\nmigration_bandwidth = 30\n')
        alpha.stop()
        alpha.start()
        names = ['one', 'two', 'three']
        for name in names:
            self.bed.boot(alpha, self.xml(name=name), self.FILL_MIB)
        processes = [alpha.virsh_start('migrate', '--live', name, '--desturi', beta.uri, '--migrateuri', f'tcp://{beta.address}') for name in names]
        for process in processes:
            self.addCleanup(process.stdout.close)
        waiting = hosts.wait_for('one that waits', lambda: [name for name in names if alpha.job(name).get('ferry.queued')], 20)
        self.assertEqual(len(waiting), 1)
        self.assertEqual(alpha.state(waiting[0]), 'running')
        # Two that run share the bandwidth.
        running = [name for name in names if name not in waiting]
        hosts.wait_for('the others', lambda: all(alpha.job(name).get('memory_bps', 0) > 0 for name in running), 20)
        for name in running:
            self.assertLess(alpha.job(name).get('memory_bps', 0), 24 << 20)
        # A wait can be ended.
        alpha.virsh('domjobabort', waiting[0])
        for name, process in zip(names, processes):
            output, _ = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 1 if name in waiting else 0, output)
            if name in waiting:
                self.assert_reads(output, 'aborted')
        self.assertEqual(sorted(beta.running()), sorted(running))
        self.assertEqual(alpha.running(), waiting)
        for pid in alpha.pids_of('qemu-system') + beta.pids_of('qemu-system'):
            self.assertEqual(self.control.command('verify', 60, pid=pid)['bad'], '0')


if __name__ == '__main__':
    libvirt.registerErrorHandler(lambda *_: None, None)
    case.main()

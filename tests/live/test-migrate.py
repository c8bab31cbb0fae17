#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Live migration with stock virsh between two daemons, in every form that `virsh migrate` has; the guest verifies its memory each time."""

import os
import re
import time

import libvirt

import case
import host as hosts
import measure

MIB = 1 << 20


class Migrate(case.LiveCase):
    """One guest that goes back and forth."""

    def setUp(self):
        super().setUp()
        self.alpha, self.beta = self.bed.alpha, self.bed.beta
        self.guest_on(self.alpha)

    def ram(self, host):
        return measure.ram_bytes(host.qemu(), self.MEMORY_MIB * MIB)

    def check_moved(self, source, destination):
        self.assert_settled(destination)
        self.assertIn(source.state(self.NAME), (None, 'shut off'))
        self.assertEqual(source.processes(), {})

    def test_direct(self):
        """The main job, with a writer: events in libvirt's order, statistics, RAM on both ends, memory."""
        events = {host: case.Events(host) for host in self.bed.hosts}
        for listener in events.values():
            self.addCleanup(listener.close)
        self.control.command('write 3000 16')
        before = self.ram(self.alpha)
        begin = time.monotonic()
        output = self.migrate(self.alpha, self.beta, '--verbose')
        self.assertIn('Migration: [100', output)
        ram = self.ram(self.beta)
        self.check_moved(self.alpha, self.beta)
        self.assertLessEqual(ram, before * 1.02 + MIB, 'RAM on the destination')
        events[self.alpha].wait('job-completed')
        events[self.beta].wait('lifecycle', libvirt.VIR_DOMAIN_EVENT_RESUMED)
        self.assertEqual(events[self.alpha].lifecycle(), [(3, 1), (5, 3)], 'Suspended Migrated, Stopped Migrated')
        self.assertEqual(events[self.beta].lifecycle(), [(2, 1), (4, 1)], 'Started Migrated, Resumed Migrated')
        iterations = [words[2] for words in events[self.alpha].seen if words[1] == 'iteration']
        self.assertEqual(iterations, list(range(1, len(iterations) + 1)), 'rounds are counted from 1, one by one')
        completed = self.alpha.virsh('domjobinfo', '--completed', self.NAME)
        self.assertRegex(completed, r'Job type: +Completed')
        self.assertRegex(completed, r'Memory processed: +[\d.]+ MiB')
        downtime = int(re.search(r'Total downtime: +(\d+) +ms', completed)[1])
        gap = self.control.switch_gap(begin)
        self.assertLess(downtime, gap * 1e3 + 20, f'downtime {downtime} ms, gap {gap * 1e3:.0f} ms')
        self.assertTrue(events[self.alpha].statistics[0].get('memory_processed', 0) > 0)

    def test_there_and_back(self):
        """Many moves under load: nothing adds up."""
        self.control.command('write 5000 32')
        files = self.alpha.leftovers()['files']
        first = self.ram(self.alpha)
        for _ in range(3):
            self.migrate(self.alpha, self.beta)
            self.control.verify()
            self.migrate(self.beta, self.alpha, '--p2p')
            self.control.verify()
        self.assertEqual(self.alpha.leftovers()['files'], files)
        self.assertLessEqual(self.ram(self.alpha), first * 1.02 + 2 * MIB)

    def test_peer_to_peer(self):
        self.control.command('write 3000 16')
        self.migrate(self.alpha, self.beta, '--p2p')
        self.check_moved(self.alpha, self.beta)

    def test_persistent_undefinesource(self):
        self.migrate(self.alpha, self.beta, '--persistent', '--undefinesource')
        self.check_moved(self.alpha, self.beta)
        self.assertIsNone(self.alpha.state(self.NAME))
        self.assertRegex(self.beta.virsh('dominfo', self.NAME), r'Persistent: +yes')

    def test_transient_by_default(self):
        self.alpha.virsh('define', self.bed.write('kept.xml', self.alpha.virsh('dumpxml', '--inactive', self.NAME)))
        self.migrate(self.alpha, self.beta)
        self.check_moved(self.alpha, self.beta)
        self.assertEqual(self.alpha.state(self.NAME), 'shut off')
        self.assertRegex(self.beta.virsh('dominfo', self.NAME), r'Persistent: +no')

    def test_suspend(self):
        """--suspend leaves it paused at the destination; a paused guest moves and stays paused."""
        self.migrate(self.alpha, self.beta, '--suspend')
        self.assertEqual(self.beta.state(self.NAME), 'paused')
        self.beta.virsh(*self.migrate_arguments(self.beta, self.alpha))
        self.assertEqual(self.alpha.state(self.NAME), 'paused')
        self.assertNotIn(self.NAME, self.beta.running())
        after = time.monotonic()
        self.alpha.virsh('resume', self.NAME)
        self.control.wait_beat(20, after=after)
        self.assert_settled(self.alpha)

    def test_dname(self):
        self.migrate(self.alpha, self.beta, '--dname', 'renamed')
        self.control.verify()
        self.assertEqual(self.beta.running(), ['renamed'])
        self.assertEqual(self.alpha.running(), [])
        self.beta.virsh('destroy', 'renamed')

    def test_xml(self):
        xml = self.alpha.virsh('dumpxml', '--migratable', self.NAME)
        changed = self.bed.write('changed.xml', re.sub(r'(</uuid>)', r'\1<title>moved</title>', xml))
        self.migrate(self.alpha, self.beta, '--xml', changed)
        self.check_moved(self.alpha, self.beta)
        self.assertIn('<title>moved</title>', self.beta.virsh('dumpxml', self.NAME))

    def test_xml_that_changes_the_guest(self):
        xml = self.alpha.virsh('dumpxml', '--migratable', self.NAME)
        other = self.bed.write('other.xml', re.sub(r"<memory unit='KiB'>\d+", "<memory unit='KiB'>1048576", xml))
        output = self.alpha.refused(*self.migrate_arguments(self.alpha, self.beta, '--xml', other))
        self.assert_reads(output, 'memory')
        self.assert_settled(self.alpha)
        self.assert_nothing_left()

    def test_uri_and_listen_address(self):
        self.migrate(self.alpha, self.beta, '--listen-address', self.beta.address, uri=f'tcp://{self.beta.address}:49300')
        self.check_moved(self.alpha, self.beta)

    def test_uri_from_the_destination(self):
        """Without --migrateuri the destination names itself and its port."""
        self.migrate(self.alpha, self.beta, uri=False)
        self.check_moved(self.alpha, self.beta)

    def test_abort_on_error(self):
        self.migrate(self.alpha, self.beta, '--abort-on-error')
        self.check_moved(self.alpha, self.beta)

    def test_bandwidth(self):
        """--bandwidth holds; a new speed takes effect at once; progress and job info tell the truth meanwhile."""
        begin = time.monotonic()
        process = self.migrate_start(self.alpha, self.beta, '--bandwidth', '20')
        hosts.wait_for('progress', lambda: (self.progress(self.alpha) or 0) > 0.05, 30)

        def measured():
            text = self.alpha.virsh('domjobinfo', self.NAME)
            return text if re.search(r'Memory bandwidth: +(1\d|2\d)\.', text) else None
        info = hosts.wait_for('a measured bandwidth', measured, 10)
        self.assertRegex(info, r'Job type: +Unbounded')
        self.assertRegex(info, r'Operation: +Outgoing migration')
        self.assertRegex(info, r'Memory bandwidth: +(1\d|2\d)\.\d+ MiB/s')
        self.assertRegex(info, r'Iteration: +1')
        self.assertEqual(self.alpha.state(self.NAME), 'running')
        self.assertEqual(self.beta.virsh('domstate', self.NAME), 'paused')
        hosts.wait_for('three seconds of data', lambda: (self.progress(self.alpha) or 0) > 0.15, 30)
        self.assertGreater(time.monotonic() - begin, 0.15 * self.FILL_MIB / 20 * 0.8)
        self.alpha.virsh('migrate-setspeed', self.NAME, '2000')
        fast = time.monotonic()
        code, output = self.migrate_end(process)
        self.assertEqual(code, 0, output)
        self.assertLess(time.monotonic() - fast, 3, 'the new speed did not take effect')
        self.check_moved(self.alpha, self.beta)
        self.migrate(self.beta, self.alpha)
        self.alpha.virsh('migrate-setspeed', self.NAME, '8796093022207')

    def test_downtime_limit_ends_it(self):
        """A guest that writes faster than the link: it goes on until a greater downtime is allowed."""
        self.alpha.virsh('migrate-setmaxdowntime', self.NAME, '1')
        self.control.command('write 20000 32')
        process = self.migrate_start(self.alpha, self.beta, '--bandwidth', '40')
        hosts.wait_for('the third round', lambda: self.alpha.job(self.NAME).get('memory_iteration', 0) >= 3, 60)
        self.assertIsNone(process.poll(), 'it ended although it cannot within 1 ms')
        self.alpha.virsh('migrate-setmaxdowntime', self.NAME, '5000')
        code, output = self.migrate_end(process)
        self.assertEqual(code, 0, output)
        self.check_moved(self.alpha, self.beta)

    def test_suspend_while_it_moves(self):
        """virsh suspend during the precopy (what virsh --timeout does): the rest goes over at once and the guest runs at the destination."""
        process = self.migrate_start(self.alpha, self.beta, '--bandwidth', '40')
        hosts.wait_for('progress', lambda: (self.progress(self.alpha) or 0) > 0.1, 30)
        self.alpha.virsh('suspend', self.NAME)
        self.assertEqual(self.alpha.state(self.NAME), 'paused')
        code, output = self.migrate_end(process)
        self.assertEqual(code, 0, output)
        self.assert_settled(self.beta)

    def test_jobs_exclude_each_other(self):
        process = self.migrate_start(self.alpha, self.beta, '--bandwidth', '30')
        hosts.wait_for('progress', lambda: (self.progress(self.alpha) or 0) > 0.05, 30)
        self.assert_reads(self.alpha.refused(*self.migrate_arguments(self.alpha, self.beta)), 'job|migrat')
        self.alpha.virsh('dumpxml', self.NAME)
        self.alpha.virsh('domstats', self.NAME)
        self.alpha.virsh('migrate-setspeed', self.NAME, '8796093022207')
        code, output = self.migrate_end(process)
        self.assertEqual(code, 0, output)
        self.check_moved(self.alpha, self.beta)

    def test_histories(self):
        """Pages go data, zero, data while they move; sparse pages cost nothing on either end."""
        self.control.command('write 10000 32')
        before = self.ram(self.alpha)
        process = self.migrate_start(self.alpha, self.beta, '--bandwidth', '60')
        flips = 0
        while process.poll() is None and flips < 6:
            self.control.command('flip')
            flips += 1
        self.alpha.virsh('migrate-setspeed', self.NAME, '8796093022207', check=False)
        code, output = self.migrate_end(process)
        self.assertEqual(code, 0, output)
        self.check_moved(self.alpha, self.beta)
        # The flips touch pages of the sparse area that were never touched before: at most an eighth of it more.
        self.assertLessEqual(self.ram(self.beta), before * 1.02 + self.SPARSE_MIB * MIB / 8 + 4 * MIB)
        self.control.command('stop')
        self.migrate(self.beta, self.alpha)
        self.control.command('flip')
        self.control.verify()
        self.alpha.virsh('migrate-setspeed', self.NAME, '8796093022207')

    def test_balloon(self):
        """Memory that the guest gave back is a hole on the source and stays one on the destination."""
        before = self.ram(self.alpha)
        self.alpha.virsh('setmem', self.NAME, '300M', '--live')
        hosts.wait_for('the balloon', lambda: 'actual 307200' in self.alpha.virsh('dommemstat', self.NAME), 30)
        self.migrate(self.alpha, self.beta)
        after = self.ram(self.beta)
        self.check_moved(self.alpha, self.beta)
        self.assertLessEqual(after, before * 1.02)
        self.beta.virsh('setmem', self.NAME, '512M', '--live')
        hosts.wait_for('the balloon', lambda: 'actual 524288' in self.beta.virsh('dommemstat', self.NAME), 30)
        self.control.verify()

    def test_console_afterwards(self):
        """The guest answers on its console at the destination, and virsh shutdown works there."""
        self.migrate(self.alpha, self.beta)
        self.assertRegex(self.beta.virsh('ttyconsole', self.NAME), r'^/dev/pts/\d+$')
        self.beta.virsh('shutdown', self.NAME)
        hosts.wait_for('the guest powering off', lambda: self.NAME not in self.beta.running(), 30)


class Kinds(case.LiveCase):
    """Other guests: each memory backing, more devices, several processors, two at once."""

    MEMORY_MIB = 384
    FILL_MIB = 64
    SPARSE_MIB = 16

    def there_and_back(self, **arguments):
        alpha, beta = self.bed.alpha, self.bed.beta
        self.remove_guest()
        self.bed.boot(alpha, self.xml(**arguments), self.FILL_MIB, self.SPARSE_MIB)
        self.control.command('write 2000 16')
        self.migrate(alpha, beta)
        self.assert_settled(beta)
        self.migrate(beta, alpha)
        self.assert_settled(alpha)

    def test_memfd(self):
        self.there_and_back(backing="<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>")

    def test_immediate(self):
        """allocation immediate: all of it allocated on both ends, as asked."""
        self.there_and_back(backing="<memoryBacking><allocation mode='immediate' threads='2'/></memoryBacking>")
        self.assertGreaterEqual(measure.ram_bytes(self.bed.alpha.qemu(), self.MEMORY_MIB * MIB), self.MEMORY_MIB * MIB)

    def test_hugepages(self):
        self.huge_pages(2 * self.MEMORY_MIB + 16)
        self.there_and_back(backing='<memoryBacking><hugepages/></memoryBacking>')
        self.remove_guest()

    def test_many_devices(self):
        disk = os.path.join(self.bed.folder, 'kinds.img')
        with open(disk, 'wb') as image:
            image.truncate(32 << 20)
        self.there_and_back(vcpus=2, devices=f"""
            <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{disk}'/><target dev='vda' bus='virtio'/></disk>
            <interface type='user'><model type='virtio'/></interface><controller type='usb' model='qemu-xhci'/><input type='tablet' bus='usb'/>
            <video><model type='vga'/></video><graphics type='vnc' autoport='yes' listen='127.0.0.1'/>
            <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
            <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>""")

    def test_numa(self):
        self.there_and_back(vcpus=2, top="""<cpu><numa><cell id='0' cpus='0' memory='192' unit='MiB'/>
            <cell id='1' cpus='1' memory='192' unit='MiB'/></numa></cpu>""")

    def test_two_at_once(self):
        """Two guests pass each other."""
        alpha, beta = self.bed.alpha, self.bed.beta
        self.remove_guest()
        self.bed.boot(alpha, self.xml(name='first'), 32)
        first = self.control.pid()
        self.bed.boot(beta, self.xml(name='second'), 32)
        second = self.control.pid()
        processes = [
            alpha.virsh_start('migrate', '--live', 'first', '--desturi', beta.uri, '--migrateuri', f'tcp://{beta.address}'),
            beta.virsh_start('migrate', '--live', 'second', '--desturi', alpha.uri, '--migrateuri', f'tcp://{alpha.address}')]
        for process in processes:
            output, _ = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 0, output)
        self.assertEqual((alpha.running(), beta.running()), (['second'], ['first']))
        pids = {'first': beta.qemu(), 'second': alpha.qemu()}
        self.assertTrue({first, second}.isdisjoint(pids.values()))
        for pid in pids.values():
            self.assertEqual(self.control.command('verify', 60, pid=pid)['bad'], '0')


if __name__ == '__main__':
    case.main()

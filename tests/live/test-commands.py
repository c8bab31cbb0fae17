#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every virsh command that Ferry answers, against a running guest."""

import json
import os
import pty
import re
import select
import signal
import time

import case
import guest
import host as hosts


class Host(case.LiveCase):
    """Commands that need no guest."""

    def test_connect(self):
        self.bed.alpha.virsh('connect')
        self.assertIn('ferry:///system', self.bed.alpha.virsh('uri'))
        self.assertEqual(self.bed.alpha.virsh('hostname'), 'alpha')
        version = self.bed.alpha.virsh('version')
        self.assertRegex(version, r'Running hypervisor: \S+ \d+\.\d+\.\d+')
        self.assertRegex(self.bed.alpha.virsh('nodeinfo'), r'CPU\(s\): +\d+')
        self.assertRegex(self.bed.alpha.virsh('capabilities'), r'<host>[\s\S]*<guest>')
        self.assertIn('<domainCapabilities>', self.bed.alpha.virsh('domcapabilities'))

    def test_qemu_name(self):
        """virt-install and virt-manager key what they do on the scheme: the daemon answers to qemu:///system too."""
        uri = f'qemu:///system?socket={self.bed.alpha.socket}'
        self.assertIn('qemu:///system', hosts.run('virsh', '-c', uri, 'uri'))
        self.assertEqual(hosts.run('virsh', '-c', uri, 'hostname').strip(), 'alpha')

    def test_empty(self):
        self.assertEqual(self.bed.alpha.virsh('net-list', '--all', '--name'), '')
        self.assertEqual(self.bed.alpha.virsh('pool-list', '--all', '--name'), '')

    def test_unknown_procedure(self):
        output = self.bed.alpha.refused('iface-begin')
        self.assert_reads(output, 'unknown procedure: 220')

    def test_no_such_domain(self):
        for command in ('start', 'dominfo', 'destroy', 'undefine', 'migrate-getspeed', 'domjobinfo'):
            self.assert_reads(self.bed.alpha.refused(command, 'nobody'), 'nobody')

    def test_read_only(self):
        """The read-only socket, and a connection that asks to be read-only, may look and not touch."""
        path = self.bed.write('ro.xml', self.xml(name='ro'))
        for words in (['-r', '-c', self.bed.alpha.uri], ['-r', '-c', f'ferry:///system?socket={self.bed.alpha.socket}-ro']):
            hosts.run('virsh', *words, 'list', '--all')
            with self.assertRaises(hosts.CommandError) as caught:
                hosts.run('virsh', *words, 'define', path)
            self.assert_reads(caught.exception.output, 'read.only|denied|forbidden')
        # A client that forgets to say so itself is refused by the daemon, too.
        with self.assertRaises(hosts.CommandError) as caught:
            hosts.run('virsh', '-c', f'ferry:///system?socket={self.bed.alpha.socket}-ro', 'define', path)
        self.assert_reads(caught.exception.output, 'read.only|denied|forbidden')
        self.assertEqual(self.bed.alpha.virsh('list', '--all', '--name'), '')

    def test_definitions(self):
        alpha = self.bed.alpha
        xml = self.xml(name='defined', top='<!-- -->', identity='7d1a1c1e-5c4e-4f0e-9d53-0123456789ab')
        xml = xml.replace('<memory ', '<title>a title</title><description>words</description>'
                          '<metadata><x:y xmlns:x="urn:example">kept</x:y></metadata><memory ')
        path = self.bed.write('define.xml', xml)
        self.assertIn('defined', alpha.virsh('define', '--validate', path))
        alpha.virsh('define', path)
        self.assertEqual(alpha.virsh('list', '--all', '--name'), 'defined')
        self.assertEqual(alpha.virsh('list', '--name'), '')
        self.assertEqual(alpha.state('defined'), 'shut off')
        self.assertEqual(alpha.virsh('domuuid', 'defined'), '7d1a1c1e-5c4e-4f0e-9d53-0123456789ab')
        self.assertEqual(alpha.virsh('domname', '7d1a1c1e-5c4e-4f0e-9d53-0123456789ab'), 'defined')
        self.assertEqual(alpha.virsh('domid', 'defined'), '-')
        dump = alpha.virsh('dumpxml', 'defined')
        for piece in ('<title>a title</title>', 'urn:example', '>kept<', 'machine=', '<address type='):
            self.assertIn(piece, dump)
        again = alpha.virsh('define', self.bed.write('again.xml', dump))
        self.assertIn('defined', again)
        self.assertEqual(alpha.virsh('dumpxml', 'defined'), dump, 'a dump that is defined again changes')
        alpha.virsh('autostart', 'defined')
        self.assertRegex(alpha.virsh('dominfo', 'defined'), r'Autostart: +enable')
        alpha.virsh('autostart', '--disable', 'defined')
        self.assertRegex(alpha.virsh('dominfo', 'defined'), r'Autostart: +disable')
        alpha.virsh('undefine', 'defined')
        self.assertEqual(alpha.virsh('list', '--all', '--name'), '')

    def test_concurrent_clients(self):
        """Many clients at once, each with several calls."""
        processes = [self.bed.alpha.virsh_start('hostname; nodeinfo; list --all; version') for _ in range(12)]
        for process in processes:
            output, _ = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 0, output)

    def test_daemon_leaks_nothing(self):
        alpha = self.bed.alpha
        alpha.virsh('list')
        before = alpha.descriptors()
        for _ in range(10):
            alpha.virsh('list', '--all')
        hosts.wait_for("the clients' descriptors to close", lambda: alpha.descriptors() <= before, 5)


class Running(case.LiveCase):
    """Commands on a running guest."""

    FILL_MIB = 32
    SPARSE_MIB = 8

    def setUp(self):
        super().setUp()
        self.alpha = self.guest_on()

    def test_information(self):
        alpha, name = self.alpha, self.NAME
        info = alpha.virsh('dominfo', name)
        self.assertRegex(info, r'State: +running')
        self.assertRegex(info, r'Max memory: +524288 KiB')
        number = alpha.virsh('domid', name)
        self.assertEqual(alpha.virsh('domname', number), name)
        self.assertEqual(alpha.virsh('domuuid', number), alpha.virsh('domuuid', name))
        self.assertIn(name, alpha.virsh('list'))
        self.assertRegex(alpha.virsh('vcpuinfo', name), r'VCPU: +0')
        self.assertRegex(alpha.virsh('vcpucount', name), r'maximum +live +1')
        self.assertEqual(alpha.virsh('domblklist', name).splitlines()[2:], [])
        alpha.virsh('domiflist', name)
        self.assertRegex(alpha.virsh('dommemstat', name), r'actual 524288[\s\S]*rss \d+')
        stats = alpha.virsh('domstats', name)
        for key in ('state.state=1', 'balloon.current=524288', 'vcpu.current=1'):
            self.assertIn(key, stats)
        self.assertRegex(alpha.virsh('ttyconsole', name), r'^/dev/pts/\d+$')
        self.assertRegex(alpha.virsh('domjobinfo', name), r'Job type: +None')

    def test_dumpxml(self):
        live = self.alpha.virsh('dumpxml', self.NAME)
        self.assertIn(" id='", live)
        self.assertIn('<alias name=', live)
        inactive = self.alpha.virsh('dumpxml', '--inactive', self.NAME)
        self.assertNotIn(" id='", inactive.splitlines()[0])
        self.assertNotIn('/dev/pts/', inactive)
        self.assertIn('<domain', self.alpha.virsh('dumpxml', '--migratable', self.NAME))
        self.assertIn('<domain', self.alpha.virsh('dumpxml', '--security-info', self.NAME))

    def test_suspend_resume(self):
        self.alpha.virsh('suspend', self.NAME)
        self.assertEqual(self.alpha.state(self.NAME), 'paused')
        self.assertIn('user', self.alpha.virsh('domstate', '--reason', self.NAME))
        stopped = time.monotonic()
        self.alpha.virsh('resume', self.NAME)
        self.assertEqual(self.alpha.state(self.NAME), 'running')
        self.control.wait_beat(10, after=stopped)
        self.control.verify()

    def test_start_paused(self):
        self.remove_guest()
        self.alpha.virsh('define', self.bed.write('paused.xml', self.xml()))
        self.control.forget()
        self.alpha.virsh('start', '--paused', self.NAME)
        self.assertEqual(self.alpha.state(self.NAME), 'paused')
        self.assertEqual(self.control.beats, [])
        self.alpha.virsh('resume', self.NAME)
        self.control.wait_ready(60)
        self.assertEqual(self.alpha.state(self.NAME), 'running')

    def test_create_transient(self):
        self.remove_guest()
        self.bed.boot(self.alpha, self.xml(), 16, define=False)
        self.assertRegex(self.alpha.virsh('dominfo', self.NAME), r'Persistent: +no')
        self.alpha.virsh('destroy', self.NAME)
        self.assertIsNone(self.alpha.state(self.NAME))
        self.assertEqual(self.alpha.processes(), {})

    def test_destroy_start(self):
        self.alpha.virsh('destroy', self.NAME)
        self.assertEqual(self.alpha.state(self.NAME), 'shut off')
        self.assertEqual(self.alpha.processes(), {})
        self.control.forget()
        self.alpha.virsh('start', self.NAME)
        self.control.wait_ready(60)

    def test_shutdown(self):
        events = case.Events(self.alpha)
        self.addCleanup(events.close)
        self.alpha.virsh('shutdown', self.NAME)
        hosts.wait_for('the guest powering off', lambda: self.alpha.state(self.NAME) == 'shut off', 30)
        self.assertEqual(self.alpha.processes(), {})
        events.wait('lifecycle', 5)

    def test_reboot(self):
        qemu = self.alpha.qemu()
        events = case.Events(self.alpha)
        self.addCleanup(events.close)
        self.control.forget()
        self.alpha.virsh('reboot', self.NAME)
        self.control.wait_ready(60)
        self.assertEqual(self.alpha.qemu(), qemu, 'a reboot keeps QEMU')
        events.wait('reboot')
        self.assertEqual(self.alpha.state(self.NAME), 'running')
        self.control.command('fill 32 8')

    def test_reset(self):
        self.control.forget()
        self.alpha.virsh('reset', self.NAME)
        self.control.wait_ready(60)
        self.control.command('fill 32 8')

    def test_guest_reboots_and_powers_off_by_itself(self):
        self.control.send('reboot')
        self.control.forget()
        self.control.wait_ready(60)
        self.assertEqual(self.alpha.state(self.NAME), 'running')
        self.control.send('poweroff')
        hosts.wait_for('the guest powering off', lambda: self.alpha.state(self.NAME) == 'shut off', 30)

    def test_setmem(self):
        before = int(self.control.command('stats')['total_kib'])
        self.alpha.virsh('setmem', self.NAME, '256M', '--live')
        hosts.wait_for('the balloon', lambda: 'actual 262144' in self.alpha.virsh('dommemstat', self.NAME), 30)
        self.assertLessEqual(int(self.control.command('stats')['total_kib']), before - 250 * 1024)
        self.alpha.virsh('setmem', self.NAME, '512M', '--live')
        hosts.wait_for('the balloon', lambda: int(self.control.command('stats')['total_kib']) >= before - 1024, 30)
        self.control.verify()
        self.assert_reads(self.alpha.refused('setmem', self.NAME, '2G', '--live'), 'memory')

    def test_console(self):
        """virsh console on a terminal: what is typed reaches the guest and its answer comes back."""
        child, terminal = pty.fork()
        if child == 0:
            os.execvp('virsh', ['virsh', '-c', self.alpha.uri, 'console', self.NAME])
        seen = b''

        def until(what, seconds=15, type_again=None):
            nonlocal seen
            deadline, typed = time.monotonic() + seconds, 0.0
            while what not in seen:
                self.assertGreater(deadline, time.monotonic(), f'{what!r} is not in {seen!r}')
                # virsh throws away what was typed before it made the terminal raw, which it does after its greeting.
                if type_again and time.monotonic() - typed > 1:
                    os.write(terminal, type_again)
                    typed = time.monotonic()
                if select.select([terminal], [], [], 0.1)[0]:
                    seen += os.read(terminal, 4096)
        try:
            until(b'Escape character')
            until(b'R c1 ok', type_again=b'c1 ping\r')
            # A second user is refused unless --force.
            self.assert_reads(self.alpha.refused('console', self.NAME), 'console|terminal')
            os.write(terminal, b'\x1d')
            hosts.wait_for('virsh console to end', lambda: os.waitpid(child, os.WNOHANG)[0], 10)
            child = 0
        finally:
            if child:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            os.close(terminal)

    def test_monitor(self):
        reply = json.loads(self.alpha.virsh('qemu-monitor-command', self.NAME, '{"execute":"query-status"}'))
        self.assertTrue(reply['return']['running'])
        self.assertIn('running', self.alpha.virsh('qemu-monitor-command', self.NAME, '--hmp', 'info status'))
        # What QEMU refuses is shown, not hidden.
        self.assertIn('CommandNotFound', self.alpha.virsh('qemu-monitor-command', self.NAME, '{"execute":"no-such"}', check=False))

    def test_event(self):
        listener = self.alpha.virsh_start('event', self.NAME, '--event', 'lifecycle', '--timeout', '20')
        self.addCleanup(listener.stdout.close)
        try:
            # The listener is ready when it has registered; suspends until it has seen one.
            deadline = time.monotonic() + 20
            while listener.poll() is None and time.monotonic() < deadline:
                self.alpha.virsh('suspend', self.NAME)
                self.alpha.virsh('resume', self.NAME)
            output, _ = listener.communicate(timeout=30)
        finally:
            listener.kill()
            listener.wait()
        self.assertRegex(output, r"event 'lifecycle' for domain '?guest'?: (Suspended|Resumed)")

    def test_speed_and_downtime(self):
        self.alpha.virsh('migrate-setspeed', self.NAME, '100')
        self.assertEqual(self.alpha.virsh('migrate-getspeed', self.NAME), '100')
        self.alpha.virsh('migrate-setspeed', self.NAME, '8796093022207')
        self.alpha.virsh('migrate-setmaxdowntime', self.NAME, '123')
        self.assertEqual(self.alpha.virsh('migrate-getmaxdowntime', self.NAME), '123')

    def test_refused_states(self):
        self.assert_reads(self.alpha.refused('start', self.NAME), 'already (active|running)')
        self.assert_reads(self.alpha.refused('resume', self.NAME), 'running|paused')
        self.assert_reads(self.alpha.refused('domjobabort', self.NAME), 'job')
        self.alpha.virsh('destroy', self.NAME)
        for command in ('destroy', 'suspend', 'resume', 'shutdown', 'reset', 'reboot'):
            self.assert_reads(self.alpha.refused(command, self.NAME), 'not running')

    def test_guest_crash_is_seen(self):
        """QEMU killed from outside: the domain is shut off, crashed, and nothing is left."""
        events = case.Events(self.alpha)
        self.addCleanup(events.close)
        os.kill(self.alpha.qemu(), signal.SIGKILL)
        hosts.wait_for('the domain going away', lambda: self.alpha.state(self.NAME) == 'shut off', 20)
        self.assertRegex(self.alpha.virsh('domstate', '--reason', self.NAME), r'shut off \((crashed|failed)\)')
        events.wait('lifecycle', 5)
        self.assertEqual(self.alpha.processes(), {})
        self.control.forget()
        self.alpha.virsh('start', self.NAME)
        self.control.wait_ready(60)


class Bad(case.LiveCase):
    """What a user gets wrong."""

    def define_error(self, xml):
        return self.bed.alpha.refused('define', self.bed.write('bad.xml', xml))

    def test_bad_xml(self):
        good = self.xml(name='bad')
        self.assert_reads(self.define_error('<domain'), 'XML|pars|document')
        self.assert_reads(self.define_error(good.replace("unit='MiB'>512", "unit='MiB'>99999999999999999999")), 'memory|large|range|number')
        self.assert_reads(self.define_error(good.replace("type='qemu'", "type='xen'").replace("type='kvm'", "type='xen'")), 'xen')
        self.assert_reads(self.define_error(good.replace('<memballoon', '<frobnicator/><memballoon')), 'frobnicator')
        self.assert_reads(self.define_error('<!DOCTYPE d [<!ENTITY a "b">]>' + good.replace('<name>bad', '<name>&a;')), 'entit|DOCTYPE|DTD')
        self.assert_reads(self.define_error('<a>' * 3000 + '</a>' * 3000), 'deep|depth|XML|nest')
        self.assert_reads(self.define_error(good.replace('<name>bad</name>', '')), 'name')
        self.assertEqual(self.bed.alpha.virsh('list', '--all', '--name'), '')

    def start_error(self, xml, *patterns):
        alpha = self.bed.alpha
        before = alpha.leftovers()
        output = alpha.refused('create', self.bed.write('bad.xml', xml))
        self.assert_reads(output, *patterns)
        self.assertEqual(alpha.leftovers(), before)
        self.assertEqual(alpha.virsh('list', '--all', '--name'), '')

    def test_missing_emulator(self):
        xml = self.xml(name='bad').replace('<devices>', '<devices><emulator>/nonexistent/qemu</emulator>')
        self.start_error(xml, '/nonexistent/qemu')

    def test_missing_disk(self):
        disk = "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/nonexistent/disk.img'/><target dev='vda' bus='virtio'/></disk>"
        self.start_error(self.xml(name='bad', devices=disk), '/nonexistent/disk.img')

    def test_missing_bridge(self):
        interface = "<interface type='bridge'><source bridge='nobridge7'/><model type='virtio'/></interface>"
        self.start_error(self.xml(name='bad', devices=interface), 'nobridge7')

    def test_missing_kernel(self):
        xml = re.sub('<kernel>.*?</kernel>', '<kernel>/nonexistent/vmlinuz</kernel>', self.xml(name='bad'))
        self.start_error(xml, '/nonexistent/vmlinuz')

    def test_too_much_memory(self):
        self.start_error(self.xml(name='bad', memory_mib=1 << 24, backing="<memoryBacking><allocation mode='immediate'/></memoryBacking>"), 'memory')


class Disks(case.LiveCase):
    """Devices beside memory: a disk keeps what the guest writes, an interface comes up."""

    FILL_MIB = 16
    SPARSE_MIB = 0

    def test_disk_and_interface(self):
        path = os.path.join(self.bed.folder, 'disk.img')
        with open(path, 'wb') as image:
            image.truncate(64 << 20)
        grown = os.path.join(self.bed.folder, 'disk.qcow2')
        hosts.run('qemu-img', 'create', '-q', '-f', 'qcow2', grown, '32M')
        devices = f"""<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{grown}'/><target dev='vdb' bus='virtio'/></disk>
            <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{path}'/><target dev='vda' bus='virtio'/></disk>
            <interface type='user'><model type='virtio'/></interface><rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
            <video><model type='vga'/></video><graphics type='vnc' autoport='yes' listen='127.0.0.1'/><input type='tablet' bus='usb'/>"""
        alpha = self.bed.alpha
        self.remove_guest()
        self.bed.boot(alpha, self.xml(devices=devices), 16)
        self.assertIn(path, alpha.virsh('domblklist', self.NAME))
        self.assertRegex(alpha.virsh('domiflist', self.NAME), r'user +- +virtio')
        self.control.command('disk /dev/vda 16 2', 120)
        hosts.wait_for('disk operations', lambda: int(self.control.command('stats')['disk']) > 50, 30)
        verdict = {key: int(value) for key, value in self.control.command('diskverify', 120).items()}
        self.assertEqual((verdict['bad_slots'], verdict['bad_blocks'], verdict['io_errors']), (0, 0, 0), verdict)
        self.assertRegex(alpha.virsh('domstats', '--block', self.NAME), r'block\.0\.name=vda')
        self.assertRegex(alpha.virsh('domblkinfo', self.NAME, 'vda'), r'Capacity: +67108864')
        self.assertRegex(alpha.virsh('domblkinfo', self.NAME, 'vdb'), r'Capacity: +33554432')  # not the file's size
        with self.assertRaises(guest.GuestError):
            self.control.command('disk /dev/vdc 1 1')


if __name__ == '__main__':
    case.main()

#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""An installed Ferry on a machine whose PID 1 is systemd: activation, scopes, restarts of every kind, and nothing left behind.

Alpha is the machine's virtferryd.service as it is installed; beta is a second daemon with a root of its own, as another unit of the same
machine. The guest moves between them over the loopback interface."""

import contextlib
import json
import os
import re
import shutil
import signal
import sys
import time
import uuid

import case
import guest
import host as hosts
import machine

BETA_UNIT = """[Unit]
Description=The other host
[Service]
Type=notify
ExecStart=/usr/local/sbin/virtferryd --root /var/lib/beta
Restart=on-failure
WatchdogSec=30
KillMode=process
"""
CONFIG = 'hostname = "{name}"\nhost_uuid = "{uuid}"\nmigration_host = "127.0.0.1"\nlog_level = 1\n{more}'
# Units that are installed and stay.
OUR_UNITS = ['virtferryd-ro.socket', 'virtferryd.service', 'virtferryd.socket']


class UnitHost(hosts.Host):
    """A daemon that is a unit of the machine. Its guests are in a slice of its own."""

    def __init__(self, bed, name, unit, root, guest_slice):  # pylint: disable=super-init-not-called
        self.bed = bed
        self.machine = bed.machine
        self.name = name
        self.unit = unit
        self.address = '127.0.0.1'
        self.slice = guest_slice
        # /run is the machine's own, so its files are reached through its PID 1.
        self.root = f'/proc/{bed.machine.leader}/root{root}'
        self.socket = self.root + '/run/libvirt/virtferryd-sock'
        self.daemon = None
        self._connection = None
        more = '' if guest_slice == 'machine.slice' else f'guest_slice = "{guest_slice}"\n'
        bed.machine.write(f'{root}/etc/libvirt/virtferryd.conf', CONFIG.format(name=name, uuid=uuid.uuid4(), more=more))

    @property
    def peer_uri(self):
        return f'ferry+unix:///system?socket={self.socket.removeprefix(f"/proc/{self.machine.leader}/root")}'

    def start(self, *_arguments, environment=None):
        self.machine.run('systemctl', 'start', self.unit)

    def stop(self, how=signal.SIGTERM, seconds=60):
        self.disconnect()
        self.machine.run('systemctl', 'stop', self.unit, seconds=seconds)

    def main_pid(self):
        """The daemon's pid, as the machine counts; 0: it does not run."""
        return int(self.machine.show(self.unit, 'MainPID'))

    def status_text(self):
        return self.machine.show(self.unit, 'StatusText')

    def scopes(self, kind=''):
        """The scopes of guests and helpers: {unit: {pid: program}}."""
        path = '/' + self.slice
        found = {}
        for top in self.machine.group_roots:
            with contextlib.suppress(OSError):
                for entry in os.listdir(top + path):
                    if entry.startswith(f'virtferry-{kind}') and entry.endswith('.scope'):
                        found.setdefault(entry, {}).update(self.machine.pids_in(f'{path}/{entry}'))
        return {unit: pids for unit, pids in found.items() if pids}

    def processes(self):
        found = {}
        for pids in self.scopes().values():
            found.update(pids)
        return found

    def leftovers(self):
        files = []
        for folder in ('/run/libvirt', '/etc/libvirt/ferry'):
            for path, _, names in os.walk(self.root + folder):
                files += [re.sub('[0-9]+', '#', os.path.relpath(os.path.join(path, name), self.root)) for name in names]
        return {'files': sorted(files), 'programs': sorted(self.processes().values())}

    def close(self):
        self.disconnect()


class MachineBed(hosts.Bed):
    """Both hosts on one machine."""

    machine = None

    def _set_up(self):
        self.machine = machine.Machine(hosts.BUILD, self.folder, [os.path.dirname(self.kernel)])
        self.machine.write('/etc/systemd/system/beta.service', BETA_UNIT)
        self.hosts += [UnitHost(self, 'alpha', 'virtferryd.service', '', 'machine.slice'),
                       UnitHost(self, 'beta', 'beta.service', '/var/lib/beta', 'beta.slice')]
        self.machine.run('systemd-sysusers')
        self.machine.run('systemd-tmpfiles', '--create', 'virtferryd.conf')
        self.machine.run('systemctl', 'daemon-reload')
        self.machine.run('systemctl', 'enable', '--now', 'virtferryd.socket', 'virtferryd-ro.socket')
        self.control = guest.Control(os.path.join(self.folder, 'control'))

    def log(self, name):
        unit = {'alpha': 'virtferryd.service', 'beta': 'beta.service'}[name]
        return self.machine.journal('--output=short-monotonic', f'--unit={unit}') if self.machine else ''

    def close(self):
        if self.machine is not None:
            self.machine.close()
            self.machine = None
        super().close()


class Systemd(case.LiveCase):
    FILL_MIB = 96
    SPARSE_MIB = 16
    MEMORY_MIB = 384

    @classmethod
    def setUpClass(cls):
        case.Events.register_loop()
        cls.bed = MachineBed(log_level=1)
        cls.addClassCleanup(cls.bed.close)
        cls.control = cls.bed.control
        cls.machine = cls.bed.machine
        cls.alpha, cls.beta = cls.bed.hosts
        cls.beta.start()
        cls.clean = None

    def drop_in(self, unit, text):
        """Changes a unit until the test ends."""
        path = f'/run/systemd/system/{unit}.d/test.conf'
        real = f'/proc/{self.machine.leader}/root{path}'
        os.makedirs(os.path.dirname(real), exist_ok=True)
        with open(real, 'w', encoding='utf-8') as out:
            out.write(text)
        self.machine.run('systemctl', 'daemon-reload')

        def undo():
            shutil.rmtree(os.path.dirname(real))
            self.machine.run('systemctl', 'daemon-reload')
        self.addCleanup(undo)

    def wait_state(self, unit, state, seconds=20):
        hosts.wait_for(f'{unit} being {state}', lambda: self.machine.show(unit, 'ActiveState') == state, seconds, step=0.1)

    def same_guest(self, qemu, place=None):
        place = place or self.alpha
        self.assertEqual(place.qemu(), qemu)
        self.assertEqual(place.state(self.NAME), 'running')
        self.control.wait_beat(10, pid=qemu)
        self.control.verify()

    def alone_in_its_group(self):
        """The daemon's control group holds the daemon; a QEMU that is only asked what it can do is there for a moment."""
        hosts.wait_for('the daemon alone', lambda: list(self.machine.pids('virtferryd.service').values()) == ['virtferryd'], 10)

    def replaced(self, old, place=None):
        """Waits until another daemon than the one with this pid is ready."""
        place = place or self.alpha
        hosts.wait_for('a new daemon', lambda: place.main_pid() not in (0, old) and
                       self.machine.show(place.unit, 'ActiveState') == 'active', 30, step=0.1)
        place.disconnect()

    # what a user sees first

    def test_activation_and_idle_exit(self):
        self.remove_guest()
        self.alpha.stop()
        self.assertEqual(self.machine.show('virtferryd.socket', 'ActiveState'), 'active')
        self.drop_in('virtferryd.service', '[Service]\nExecStart=\nExecStart=/usr/local/sbin/virtferryd --timeout=1\n')
        before = self.machine.show('virtferryd.service', 'NRestarts')
        self.assertIn('Id', self.machine.run('virsh', '-c', 'ferry:///system', 'list'))
        self.assertEqual(self.machine.show('virtferryd.service', 'ActiveState'), 'active')
        self.wait_state('virtferryd.service', 'inactive')
        self.assertEqual(self.machine.show('virtferryd.service', 'Result'), 'success')
        self.assertEqual(self.machine.show('virtferryd.service', 'NRestarts'), before)
        # The read-only socket wakes it as well, and is one.
        self.assertIn('Id', self.machine.run('virsh', '-r', '-c', 'ferry:///system', 'list'))
        refused = self.machine.run('virsh', '-r', '-c', 'ferry:///system', 'net-define', '/etc/fstab', check=False)
        self.assertIn('error:', refused)
        self.assertEqual(self.machine.run('stat', '-c', '%U %G %a', '/run/libvirt/virtferryd-sock'), 'root virtferry 660')

    def test_units(self):
        """systemd has nothing to complain about, and the page says what the restrictions are worth."""
        units = self.machine.run('sh', '-c', 'cd /usr/local/lib/systemd/system && ls').split()
        self.assertEqual(self.machine.run('systemd-analyze', 'verify', '--man=no', *[f'/usr/local/lib/systemd/system/{unit}' for unit in units]), '')
        self.assertNotIn('virtferry', self.machine.run('systemd-analyze', 'verify', '--man=no', '--user',
                                                       '/usr/local/lib/systemd/user/virtferryd.socket', check=False))
        score = re.search(r'exposure level for virtferryd.service: ([0-9.]+)', self.machine.run(
            'systemd-analyze', 'security', '--no-pager', 'virtferryd.service', check=False))[1]
        with open(os.path.join(hosts.HERE, '../../docs/systemd.md'), encoding='utf-8') as page:
            self.assertIn(f'`systemd-analyze security virtferryd.service` says {score} ', page.read())

    def test_bus_activation(self):
        """A call on the system bus starts the unit, and not a second daemon; idle, it ends again."""
        self.remove_guest()
        self.alpha.stop()
        self.drop_in('virtferryd.service', '[Service]\nExecStart=\nExecStart=/usr/local/sbin/virtferryd --timeout=1\n')
        call = ['busctl', 'call', 'org.virtferry', '/org/virtferry', 'org.libvirt.Connect', 'ListDomains', 'u', '0']
        self.assertEqual(self.machine.run(*call), 'ao 0')
        self.alone_in_its_group()
        self.wait_state('virtferryd.service', 'inactive')
        self.assertEqual(self.machine.show('virtferryd.service', 'Result'), 'success')
        self.assertEqual(self.machine.run(*call), 'ao 0')

    def test_scopes(self):
        self.guest_on(self.alpha)
        self.alone_in_its_group()
        (scope, programs), = self.alpha.scopes().items()
        self.assertEqual(list(programs.values()), ['qemu-system-x86_64'])
        self.assertRegex(scope, f'^virtferry-guest-{self.NAME}-[0-9]+.scope$')
        self.assertEqual(self.machine.show(scope, 'Slice'), 'machine.slice')
        self.assertEqual(self.machine.show(scope, 'Description'), f'Virtual machine {self.NAME}')
        self.assertIn('run-libvirt-ferry-ram.mount', self.machine.show(scope, 'After'))
        if shutil.which('machinectl'):
            self.assertRegex(self.machine.run('machinectl', 'list', '--no-legend'), f'ferry-{self.NAME}-[0-9]+ +vm +virtferryd')
        self.assertEqual(self.alpha.status_text(), '1 guest')
        self.alpha.virsh('destroy', self.NAME)
        hosts.wait_for('the scope to go', lambda: self.machine.units('virtferry*') == OUR_UNITS, 10)
        hosts.wait_for('the status', lambda: self.alpha.status_text() == 'no guests', 10)

    def test_reload(self):
        """A client stays connected over a reload; a broken configuration changes nothing."""
        self.guest_on(self.alpha)
        connection, pid = self.alpha.connection(), self.alpha.main_pid()
        path = '/etc/libvirt/virtferryd.conf'
        with open(self.alpha.root + path, encoding='utf-8') as config:
            good = config.read()
        self.addCleanup(self.machine.write_inside, path, good)
        self.machine.write_inside(path, good + 'nonsense = 1\n')
        self.machine.run('systemctl', 'reload', 'virtferryd.service')
        hosts.wait_for('the complaint', lambda: "there is no setting 'nonsense'" in self.bed.log('alpha'), 10)
        self.machine.write_inside(path, good)
        self.machine.run('systemctl', 'reload', 'virtferryd.service')
        hosts.wait_for('the configuration', lambda: 'The configuration was read again' in self.bed.log('alpha'), 10)
        self.assertEqual(self.machine.show('virtferryd.service', 'ActiveState'), 'active')
        self.assertEqual(self.alpha.main_pid(), pid)
        self.assertTrue(connection.isAlive())
        self.assertEqual(connection.lookupByName(self.NAME).state()[0], 1)

    # the daemon goes, guests stay

    def test_restart(self):
        self.guest_on(self.alpha)
        qemu, pid = self.alpha.qemu(), self.alpha.main_pid()
        self.alpha.disconnect()
        self.machine.run('systemctl', 'restart', 'virtferryd.service')
        self.assertNotEqual(self.alpha.main_pid(), pid)
        self.same_guest(qemu)

    def test_killed(self):
        self.guest_on(self.alpha)
        qemu, pid = self.alpha.qemu(), self.alpha.main_pid()
        self.machine.run('systemctl', 'kill', '--signal=KILL', '--kill-who=main', 'virtferryd.service')
        self.replaced(pid)
        self.same_guest(qemu)

    def test_watchdog(self):
        """A daemon whose loop stands still is replaced."""
        self.guest_on(self.alpha)
        self.drop_in('virtferryd.service', '[Service]\nWatchdogSec=2\nTimeoutAbortSec=5\nLimitCORE=0\n')
        self.alpha.disconnect()
        self.machine.run('systemctl', 'restart', 'virtferryd.service')
        qemu, pid = self.alpha.qemu(), self.alpha.main_pid()
        # It is alive for longer than the limit: the loop feeds the watchdog.
        begin = time.monotonic()
        hosts.wait_for('time to pass', lambda: time.monotonic() - begin > 3, 5)
        self.assertEqual(self.alpha.main_pid(), pid)
        self.machine.run('systemctl', 'kill', '--signal=STOP', '--kill-who=main', 'virtferryd.service')
        self.replaced(pid)
        self.assertIn('Watchdog timeout', self.bed.log('alpha'))
        self.same_guest(qemu)

    def test_stop(self):
        """systemctl stop of all there is of the daemon; the guest does not notice."""
        self.guest_on(self.alpha)
        qemu = self.alpha.qemu()
        self.alpha.disconnect()
        self.machine.run('systemctl', 'stop', *OUR_UNITS)
        self.assertEqual(self.machine.show('virtferryd.service', 'Result'), 'success')
        self.assertEqual(self.alpha.pids_of('qemu'), [qemu])
        self.control.wait_beat(10, pid=qemu)
        self.assertFalse(os.path.exists(self.alpha.socket))
        self.machine.run('systemctl', 'start', 'virtferryd.socket', 'virtferryd-ro.socket')
        self.same_guest(qemu)

    # migrations

    def test_migrate(self):
        self.guest_on(self.alpha)
        process = self.migrate_start(self.alpha, self.beta, '--bandwidth', '40')
        hosts.wait_for('the engines\' scopes', lambda: self.alpha.scopes('job-') and self.beta.scopes('job-'), 20)
        hosts.wait_for('the status', lambda: re.match('1 guest, migrating [0-9]+ %$', self.alpha.status_text()), 20)
        self.alone_in_its_group()
        code, output = self.migrate_end(process)
        self.assertEqual(code, 0, output)
        self.assert_settled(self.beta)
        hosts.wait_for('the scopes to go', lambda: not self.alpha.scopes() and not self.beta.scopes('job-'), 10)
        self.migrate(self.beta, self.alpha)
        self.assert_settled(self.alpha)

    def test_journal(self):
        """Messages about guests and jobs can be found by kind, by domain and by job, and the catalog explains them."""
        self.machine.run('journalctl', '--update-catalog')
        with open(os.path.join(hosts.HERE, '../../daemon/systemd/message_ids.h'), encoding='utf-8') as header:
            ids = dict(re.findall(r'#define MESSAGE_(\w+) "(\w+)"', header.read()))
        catalog = self.machine.run('journalctl', '--dump-catalog', *ids.values())
        self.assertEqual(catalog.count('Defined-By: virtferryd'), len(ids))
        self.guest_on(self.alpha)
        self.machine.run('journalctl', '--sync')
        self.machine.run('journalctl', '--rotate', '--vacuum-time=1us')
        self.migrate(self.alpha, self.beta)
        self.beta.virsh('destroy', self.NAME)

        def entries(*matches):
            lines = self.machine.journal('--output=json', *matches).splitlines()
            return [json.loads(line) for line in lines]
        number = entries(f'MESSAGE_ID={ids["MIGRATION_STARTED"]}', '_SYSTEMD_UNIT=virtferryd.service')[0]['FERRY_JOB']
        job = entries(f'FERRY_JOB={number}', '_SYSTEMD_UNIT=virtferryd.service')
        phases = [entry['FERRY_PHASE'] for entry in job]
        self.assertEqual(phases[:2], ['begin', 'precopy'])
        self.assertIn('committing', phases)
        self.assertEqual(job[-1]['MESSAGE_ID'], ids['MIGRATION_COMPLETED'])
        self.assertEqual({(entry['FERRY_DOMAIN'], entry['FERRY_DIRECTION']) for entry in job}, {(self.NAME, 'outgoing')})
        self.assertTrue(all(entry['FERRY_UUID'] == job[0]['FERRY_UUID'] for entry in entries(f'FERRY_DOMAIN={self.NAME}')))
        self.assertRegex(job[-1]['FERRY_PEER'], '^tcp://127.0.0.1:[0-9]+$')
        ended = entries(f'MESSAGE_ID={ids["GUEST_STOPPED"]}', '_SYSTEMD_UNIT=beta.service')
        self.assertEqual([entry['FERRY_REASON'] for entry in ended], ['it was destroyed'])
        self.assertIn('Its QEMU ended without being asked to', catalog)

    def restart_in_precopy(self, *command):
        """The daemon of the source goes in the middle; the guest ends up, sound, on exactly one side."""
        self.guest_on(self.alpha)
        pid = self.alpha.main_pid()
        process = self.migrate_start(self.alpha, self.beta, '--bandwidth', '20')
        hosts.wait_for('progress', lambda: (self.progress(self.alpha) or 0) > 0.2, 30)
        self.alpha.disconnect()
        self.machine.run(*command)
        self.replaced(pid)
        self.migrate_end(process)
        hosts.wait_for('an end', lambda: not any(host.job(self.NAME).get('type') for host in self.bed.hosts), 60, step=0.2)
        self.assert_settled(self.where())
        hosts.wait_for('the engines to end', lambda: not self.alpha.scopes('job-') and not self.beta.scopes('job-'), 30)

    def test_restart_in_precopy(self):
        self.restart_in_precopy('systemctl', 'restart', 'virtferryd.service')

    def test_killed_in_precopy(self):
        self.restart_in_precopy('systemctl', 'kill', '--signal=KILL', '--kill-who=main', 'virtferryd.service')

    def into_postcopy(self):
        """A migration in which the guest runs on beta, and most of its memory is still on alpha."""
        self.guest_on(self.alpha)
        process = self.migrate_start(self.alpha, self.beta, '--postcopy', '--bandwidth', '10', '--postcopy-bandwidth', '3')
        hosts.wait_for('progress', lambda: process.poll() is not None or (self.progress(self.alpha) or 0) > 0.05, 30)
        self.assertIsNone(process.poll(), process.poll() is None or process.stdout.read())
        self.alpha.virsh('migrate-postcopy', self.NAME)
        hosts.wait_for('postcopy', lambda: self.beta.virsh('domstate', '--reason', self.NAME, check=False) in
                       ('running (post-copy)', 'running (migrated)') or process.poll() is not None, 30)
        self.assertIsNone(process.poll(), 'the migration has ended')
        return process

    def restart_in_postcopy(self, *commands):
        process = self.into_postcopy()
        engines = {pid for host in self.bed.hosts for pids in host.scopes('job-').values() for pid in pids}
        self.assertEqual(len(engines), 2)
        pids = [host.main_pid() for host in self.bed.hosts]
        for command in commands:
            self.machine.run(*command)
        for host, pid in zip(self.bed.hosts, pids):
            self.replaced(pid, host)
        still = {pid for host in self.bed.hosts for pids in host.scopes('job-').values() for pid in pids}
        self.assertEqual(still, engines)
        self.alpha.virsh('migrate-setspeed', self.NAME, '1000', '--postcopy')
        self.migrate_end(process)
        self.assert_settled(self.beta, 60)
        hosts.wait_for('the engines to end', lambda: not self.alpha.scopes() and not self.beta.scopes('job-'), 30)

    def test_restart_in_postcopy(self):
        """Both daemons are restarted; the engines go on, and the guest gets all of its memory."""
        self.restart_in_postcopy(('systemctl', 'restart', 'virtferryd.service', 'beta.service'))

    def test_killed_in_postcopy(self):
        self.restart_in_postcopy(*(('systemctl', 'kill', '--signal=KILL', '--kill-who=main', host.unit) for host in self.bed.hosts))

    def test_save(self):
        """A helper that writes an image has a scope as well; the image comes back to life."""
        self.guest_on(self.alpha)
        process = self.machine.start('virsh', '-c', 'ferry:///system', 'managedsave', self.NAME)
        seen = set()

        def ended():
            seen.update(self.alpha.scopes('job-'))
            return process.poll() is not None
        hosts.wait_for('the end of saving', ended, 60, 0.002)
        self.assertEqual(process.communicate()[0].count('error'), 0)
        self.assertTrue(seen)
        self.alpha.virsh('start', self.NAME)
        self.control.wait_beat(30)
        self.control.verify()

    # the user's own daemon

    def test_session(self):
        """The user's service manager keeps the session socket, and starts the daemon."""
        self.machine.run('useradd', '--create-home', '--home-dir=/home/ferry', '--shell=/bin/sh', 'ferry')
        number = self.machine.run('id', '-u', 'ferry')
        self.machine.run('systemctl', '--global', 'enable', 'virtferryd.socket')
        self.machine.run('systemctl', 'start', 'systemd-logind.service', f'user@{number}.service')
        try:
            words = ['runuser', '-u', 'ferry', '--', 'env', f'XDG_RUNTIME_DIR=/run/user/{number}', 'HOME=/home/ferry']
            self.assertEqual(self.machine.run(*words, 'systemctl', '--user', 'is-active', 'virtferryd.service', check=False), 'inactive')
            self.assertIn('Id', self.machine.run(*words, 'virsh', '-c', 'ferry:///session', 'list'))
            self.assertEqual(self.machine.run(*words, 'systemctl', '--user', 'is-active', 'virtferryd.service'), 'active')
            for path in (self.bed.kernel, self.bed.initrd):
                shutil.copy(path, self.bed.folder)
            xml = re.sub('<serial type=.unix.>.*?</serial>', '', self.xml(name='mine'), flags=re.S)
            path = self.bed.write('mine.xml', xml.replace(os.path.dirname(self.bed.kernel), self.bed.folder))
            self.machine.run(*words, 'virsh', '-c', 'ferry:///session', 'create', path)
            self.machine.run(*words, 'systemctl', '--user', 'restart', 'virtferryd.service')
            self.assertIn('running', self.machine.run(*words, 'virsh', '-c', 'ferry:///session', 'domstate', 'mine'))
            self.assertRegex(self.machine.run(*words, 'systemctl', '--user', 'list-units', '--plain', '--no-legend', 'virtferry-*.scope'),
                             r'^virtferry-guest-mine-[0-9]+\.scope')
            self.machine.run(*words, 'virsh', '-c', 'ferry:///session', 'destroy', 'mine')
        finally:
            self.machine.run('systemctl', 'stop', f'user@{number}.service', check=False)

    # the end

    def test_zz_nothing_left(self):
        """After all of the above, nothing but the installed files is left."""
        self.remove_guest()
        self.alpha.disconnect()
        self.beta.stop()
        self.machine.run('systemctl', 'stop', *OUR_UNITS, 'run-libvirt-ferry-ram.mount')
        self.assertEqual(self.machine.run('systemctl', '--failed', '--no-legend', '--plain'), '')
        for host in self.bed.hosts:
            self.assertEqual(host.processes(), {})
            left = [path for path in host.leftovers()['files'] if not path.endswith(('.pid', 'autostarted'))]
            self.assertEqual(left, [])
        with open(f'/proc/{self.machine.leader}/mounts', encoding='utf-8') as mounts:
            self.assertEqual([line for line in mounts if 'libvirt' in line], [])


if __name__ == '__main__':
    reason = case.LIVE or machine.skip_reason()
    if reason:
        print(f'skipped: {reason}')
        sys.exit(77)
    case.main()

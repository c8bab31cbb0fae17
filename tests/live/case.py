# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the live tests have in common: one bed per program, a guest that is booted once and moved back and forth, and the checks that
every test ends with."""

import contextlib
import fcntl
import os
import re
import signal
import sys
import threading
import time
import unittest

import host as hosts  # first: it knows where guest is
import guest

LIVE = hosts.skip_reason()


class Events:
    """Lifecycle, iteration and job events of a host, in order of arrival, as (domain, words...)."""

    _loop = None

    @classmethod
    def register_loop(cls):
        """Starts python-libvirt's event loop; must run before the first connection is opened."""
        import libvirt  # pylint: disable=import-outside-toplevel
        if cls._loop is not None:
            return
        libvirt.virEventRegisterDefaultImpl()

        def spin():
            while True:
                libvirt.virEventRunDefaultImpl()
        cls._loop = threading.Thread(target=spin, daemon=True)
        cls._loop.start()

    def __init__(self, host):
        import libvirt  # pylint: disable=import-outside-toplevel
        self.seen = []
        self.statistics = []
        self._libvirt = libvirt
        self._connection = libvirt.open(host.uri)
        self._connection.setKeepAlive(5, 6)
        add = self._connection.domainEventRegisterAny
        self._ids = [
            add(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._lifecycle, None),
            add(None, libvirt.VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, self._iteration, None),
            add(None, libvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, self._job, None),
            add(None, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, self._reboot, None),
        ]

    def _lifecycle(self, _connection, domain, event, detail, _opaque):
        self.seen.append((domain.name(), 'lifecycle', event, detail))

    def _iteration(self, _connection, domain, iteration, _opaque):
        self.seen.append((domain.name(), 'iteration', iteration))

    def _job(self, _connection, domain, params, _opaque):
        self.statistics.append(params)
        self.seen.append((domain.name(), 'job-completed'))

    def _reboot(self, _connection, domain, _opaque):
        self.seen.append((domain.name(), 'reboot'))

    def clear(self):
        self.seen.clear()
        self.statistics.clear()

    def lifecycle(self):
        return [words[2:] for words in self.seen if words[1] == 'lifecycle']

    def wait(self, *words, seconds=30):
        """Waits for an event whose words after the domain's name begin with these."""
        return hosts.wait_for(f'event {words}', lambda: any(seen[1:1 + len(words)] == words for seen in list(self.seen)), seconds)

    def close(self):
        with contextlib.suppress(self._libvirt.libvirtError):
            for number in self._ids:
                self._connection.domainEventDeregisterAny(number)
            self._connection.close()


@unittest.skipIf(LIVE, LIVE)
class LiveCase(unittest.TestCase):
    """A class of tests on one bed. Subclasses may set the guest's size and how much of it is filled."""

    MEMORY_MIB = 512
    FILL_MIB = 128
    SPARSE_MIB = 32
    NAME = 'guest'
    XML = {}
    SHARED = False      # one bed for all classes of a program that say so; main() closes it
    IDLE_SEC = 4        # the daemons' migration_idle_timeout

    _shared = None

    @classmethod
    def setUpClass(cls):
        Events.register_loop()
        cls.bed = LiveCase._shared if cls.SHARED else None
        if cls.bed is None:
            cls.bed = hosts.Bed(idle_sec=cls.IDLE_SEC)
            if cls.SHARED:
                LiveCase._shared = cls.bed
            else:
                cls.addClassCleanup(cls.bed.close)
        cls.control = cls.bed.control
        for host in cls.bed.hosts:
            if host.daemon is None:
                host.start()
        cls.clean = None

    def setUp(self):
        self.start_time = time.monotonic()
        self.most_remaining = 0

    def tearDown(self):
        if self._outcome and not self._outcome_ok():
            for host in self.bed.hosts:
                text = self.bed.log(host.name)
                print(f'--- end of {host.name}\'s log\n{text[-2500:]}', file=sys.stderr)
        print(f'  {self.id().split(".")[-1]}: {time.monotonic() - self.start_time:.1f} s', file=sys.stderr, flush=True)

    def _outcome_ok(self):
        result = self._outcome.result
        return not any(test is self for test, _ in list(result.failures) + list(result.errors))

    # guests

    def xml(self, **arguments):
        merged = {'name': self.NAME, 'memory_mib': self.MEMORY_MIB, **self.XML, **arguments}
        return self.bed.domain_xml(**merged)

    def where(self):
        """The host on which the guest is active, or None; both is an error at once."""
        found = [host for host in self.bed.hosts if self.NAME in host.running()]
        self.assertLess(len(found), 2, 'the guest is active on both hosts')
        return found[0] if found else None

    def remove_guest(self):
        for host in self.bed.hosts:
            for name in host.virsh('list', '--all', '--name').split():
                host.virsh('destroy', name, check=False)
                host.virsh('undefine', name, check=False)

    def guest_kind(self):
        """What makes a guest fit for the tests of this class."""
        return (self.NAME, self.MEMORY_MIB, self.FILL_MIB, self.SPARSE_MIB, tuple(self.XML.items()))

    def fresh_guest(self, host=None):
        """A newly booted, filled guest on the given host (alpha)."""
        self.remove_guest()
        self.bed.boot(host or self.bed.alpha, self.xml(), self.FILL_MIB, self.SPARSE_MIB)
        self.bed.guest = self.guest_kind()
        return host or self.bed.alpha

    def guest_on(self, host=None):
        """The guest, healthy and on the given host (alpha): what there is if it is sound, moved if it is on the other; a fresh one otherwise."""
        host = host or self.bed.alpha
        place = self.where()
        sound = False
        if (place is not None and self.bed.guest in (None, self.guest_kind()) and place.state(self.NAME) == 'running'
                and not place.job(self.NAME).get('type')):
            try:
                self.control.wait_beat(5)
                self.control.command('stop')
                sound = True
                if place is not host:
                    self.migrate(place, host)
            except (guest.GuestError, hosts.CommandError, hosts.NotInTime):
                sound = False
        if not sound:
            self.fresh_guest(host)
        self.bed.other(host).virsh('undefine', self.NAME, check=False)  # what --persistent may have left there
        self.snapshot()
        return host

    def huge_pages(self, mib):
        """Makes the kernel's pool hold this many free MiB for the rest of the test, which has the pool for itself (the machine has only one),
        and a hugetlbfs. Skips the test if the kernel does not give them."""
        lock = open('/run/lock/ferry-huge-pages', 'w', encoding='ascii')  # pylint: disable=consider-using-with
        self.addCleanup(lock.close)
        fcntl.flock(lock, fcntl.LOCK_EX)
        with open('/proc/meminfo', encoding='ascii') as meminfo:
            total, free = (int(re.search(rf'HugePages_{what}: +(\d+)', text)[1]) for text in [meminfo.read()] for what in ('Total', 'Free'))
        wanted = total - free + mib // 2
        self.addCleanup(self._set_huge_pages, total)
        if self._set_huge_pages(wanted) < wanted:
            self.skipTest(f'the kernel does not give {wanted} huge pages')
        with open('/proc/mounts', encoding='ascii') as mounts:
            if ' hugetlbfs ' not in mounts.read():
                folder = os.path.join(self.bed.folder, 'huge')
                os.makedirs(folder, exist_ok=True)
                hosts.run('mount', '-t', 'hugetlbfs', 'none', folder)
                self.addCleanup(hosts.run, 'umount', '-l', folder)

    @staticmethod
    def _set_huge_pages(number):
        with open('/proc/sys/vm/nr_hugepages', 'r+', encoding='ascii') as pages:
            pages.write(str(number))
            pages.flush()
            pages.seek(0)
            return int(pages.read())

    # migration

    def migrate_arguments(self, source, destination, *options, uri=None):
        words = ['migrate', '--live', *options, self.NAME]
        words += ['--desturi', destination.peer_uri if '--p2p' in options else destination.uri]
        if uri is not False:
            words += ['--migrateuri', uri or f'tcp://{destination.address}']
        return words

    def migrate(self, source, destination, *options, uri=None, seconds=120):
        """Migrates with virsh and checks the end. Returns virsh's output."""
        begin = time.monotonic()
        old = source.qemu()
        output = source.virsh(*self.migrate_arguments(source, destination, *options, uri=uri), seconds=seconds)
        if '--suspend' not in options:
            self.control.wait_beat(20, not_pid=old, after=begin)
        return output

    def migrate_start(self, source, destination, *options):
        """Starts a migration and returns virsh's process."""
        self.most_remaining = 0
        process = source.virsh_start(*self.migrate_arguments(source, destination, *options))
        self.addCleanup(lambda: (process.kill(), process.wait(), process.stdout.close()))
        return process

    def migrate_end(self, process, seconds=60):
        """Waits for it; returns (exit code, what the user reads)."""
        output, _ = process.communicate(timeout=seconds)
        return process.returncode, output

    def progress(self, host):
        """How much of the running migration's first pass is done, 0..1; None: no job. Holes are never sent, so not the guest's size but
        the most that was ever left counts as the whole."""
        job = host.job(self.NAME)
        if not job.get('type') or not job.get('memory_total') or 'memory_remaining' not in job:
            return None
        self.most_remaining = max(self.most_remaining, job['memory_remaining'])
        return 1 - job['memory_remaining'] / self.most_remaining if self.most_remaining else None

    # checks

    def snapshot(self):
        """Remembers what both hosts have now, with a healthy guest on one side, to compare with after a failure."""
        self.clean = {host.name: host.leftovers() for host in self.bed.hosts}

    def assert_settled(self, place, seconds=30):
        """The guest runs on place and nowhere else, its memory is right, and neither host has anything left of the attempt."""
        other = self.bed.other(place)

        def settled():
            return place.state(self.NAME) == 'running' and self.NAME not in other.running() and not place.job(self.NAME).get('type')
        try:
            hosts.wait_for(f'the guest running on {place.name} only', settled, seconds)
        except hosts.NotInTime as error:
            self.fail(f'{error}; alpha: {self.bed.alpha.state(self.NAME)}, beta: {self.bed.beta.state(self.NAME)}, job: {place.job(self.NAME)}')
        qemu = place.qemu()
        try:
            self.control.wait_beat(20, pid=qemu)
        except guest.GuestError as error:
            raise guest.GuestError(f'{error}\n{place.diagnosis(self.NAME)}') from None
        self.control.verify()

    def assert_nothing_left(self, seconds=20):
        """Both hosts have the files, sockets and processes that snapshot() saw."""
        now = {}

        def same():
            now.update({host.name: host.leftovers() for host in self.bed.hosts})
            return now == self.clean
        with contextlib.suppress(hosts.NotInTime):
            hosts.wait_for('leftovers to go', same, seconds)
        self.assertEqual(now, self.clean)

    def assert_reads(self, output, *patterns):
        """The user reads a sentence that matches each pattern, after virsh's `error: `."""
        self.assertIn('error:', output)
        for pattern in patterns:
            self.assertTrue(re.search(pattern, output, re.I), f'no {pattern!r} in what the user reads: {output}')


def main():
    """Entry of every live test program: exit 77 with a reason where it cannot run."""
    if LIVE:
        print(f'skipped: {LIVE}')
        sys.exit(77)
    os.environ['LC_ALL'] = 'C.UTF-8'

    def interrupted(*_):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, interrupted)  # a test runner's way to say that the time is up
    try:
        unittest.main(module='__main__', verbosity=2, failfast=bool(os.environ.get('FERRY_FAILFAST')))
    finally:
        # unittest skips the cleaning of a class when it is interrupted.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        hosts.close_all()

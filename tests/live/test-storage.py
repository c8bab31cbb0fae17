#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Disks that are copied with the guest: the guest writes to its disk while it moves, and then checks each block of it on the other side."""

import contextlib
import os
import signal
import subprocess

import case
import host as hosts

MIB = 1 << 20


class Storage(case.LiveCase):
    """Images of a disk on both hosts."""

    MEMORY_MIB = 256
    FILL_MIB = 32

    def setUp(self):
        super().setUp()
        self.alpha, self.beta = self.bed.alpha, self.bed.beta
        for host in self.bed.hosts:
            os.makedirs(os.path.dirname(self.path(host, 'x')), exist_ok=True)

    def path(self, host, name):
        return os.path.join(self.bed.folder, 'images-' + host.name, name)

    def disk(self, host, name, kind, target, extra=''):
        return (f"<disk type='file' device='disk'><driver name='qemu' type='{kind}' {extra}/><source file='{self.path(host, name)}'/>"
                f"<target dev='{target}' bus='virtio'/></disk>")

    def image(self, host, name, kind, size_mib, *options):
        subprocess.run(['qemu-img', 'create', '-q', '-f', kind, *options, self.path(host, name), f'{size_mib}M'], check=True, timeout=30)

    def boot_with(self, *disks):
        self.remove_guest()
        self.bed.boot(self.alpha, self.xml(devices=''.join(disks)), self.FILL_MIB)
        self.control.command('disk /dev/vda 8 4', 120)
        hosts.wait_for('disk operations', lambda: int(self.control.command('stats')['disk']) > 50, 60)
        self.control.command('write 300 4')
        self.snapshot()

    def destination_xml(self):
        """The guest's XML with beta's images."""
        xml = self.alpha.virsh('dumpxml', '--migratable', self.NAME)
        return self.bed.write('beta.xml', xml.replace('/images-alpha/', '/images-beta/'))

    def start_moving(self, *options):
        return self.migrate_start(self.alpha, self.beta, *options, '--xml', self.destination_xml())

    def check_moved(self, process):
        code, output = self.migrate_end(process, 120)
        self.assertEqual(code, 0, output)
        before = int(self.control.command('stats')['disk'])
        hosts.wait_for('disk operations after it', lambda: int(self.control.command('stats')['disk']) > before + 20, 60)
        self.check_disk()
        self.assert_settled(self.beta)

    def check_disk(self):
        verdict = {key: int(value) for key, value in self.control.command('diskverify', 180).items()}
        self.assertEqual((verdict['bad_slots'], verdict['bad_blocks'], verdict['io_errors']), (0, 0, 0), verdict)


class Copies(Storage):
    """Each with a guest of its own."""

    def test_all(self):
        """Everything of the guest's own is copied into images that are made for it; beta has none of alpha's files."""
        self.image(self.alpha, 'all.img', 'raw', 24)
        self.image(self.alpha, 'more.qcow2', 'qcow2', 16)
        for name in ('all.img', 'more.qcow2'):
            self.addCleanup(os.unlink, self.path(self.beta, name))
        self.boot_with(self.disk(self.alpha, 'all.img', 'raw', 'vda', "cache='none'"), self.disk(self.alpha, 'more.qcow2', 'qcow2', 'vdb'))
        self.check_moved(self.start_moving('--copy-storage-all'))
        job = self.alpha.virsh('domjobinfo', self.NAME, '--completed')
        self.assertRegex(job, r'File total:\s+[2-4]\d\.')
        info = subprocess.run(['qemu-img', 'info', '-U', self.path(self.beta, 'more.qcow2')], check=True, capture_output=True, text=True, timeout=30)
        self.assertIn('file format: qcow2', info.stdout)
        self.assertLess(os.stat(self.path(self.beta, 'all.img')).st_blocks * 512, 16 * MIB)  # what is a hole there is one here

    def test_named_disk_peer_to_peer(self):
        """One disk is copied, the other one is on storage that both see; synchronous writes."""
        self.image(self.alpha, 'own.img', 'raw', 16)
        self.image(self.beta, 'own.img', 'raw', 16)
        shared = os.path.join(self.bed.folder, 'shared.img')
        subprocess.run(['qemu-img', 'create', '-q', '-f', 'raw', shared, '8M'], check=True, timeout=30)
        second = self.disk(self.alpha, 'x', 'raw', 'vdb').replace(self.path(self.alpha, 'x'), shared)
        self.boot_with(self.disk(self.alpha, 'own.img', 'raw', 'vda'), second)
        self.check_moved(self.start_moving('--p2p', '--copy-storage-all', '--migrate-disks', 'vda', '--copy-storage-synchronous-writes',
                                           '--disks-port', '49999'))

    def test_incremental(self):
        """Both hosts have the backing image; only what lies on top is copied."""
        base = os.path.join(self.bed.folder, 'base.img')
        with open(base, 'wb') as image:
            image.write(os.urandom(1 * MIB))
            image.truncate(16 * MIB)
        for host in self.bed.hosts:
            self.image(host, 'top.qcow2', 'qcow2', 16, '-b', base, '-F', 'raw')
        self.boot_with(self.disk(self.alpha, 'top.qcow2', 'qcow2', 'vda'))
        self.check_moved(self.start_moving('--copy-storage-inc'))


class Failures(Storage):
    """One guest that stays where it is, whatever happens. Its disk is large enough to be copied for some seconds."""

    def setUp(self):
        super().setUp()
        if self.where() is self.alpha:
            self.snapshot()
            return
        self.image(self.alpha, 'one.img', 'raw', 64)
        with open(self.path(self.alpha, 'one.img'), 'r+b') as image:
            image.seek(16 * MIB)
            for _ in range(48):
                image.write(os.urandom(MIB))
        self.boot_with(self.disk(self.alpha, 'one.img', 'raw', 'vda'))

    def tearDown(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(self.beta, 'one.img'))
        super().tearDown()

    def check_stayed(self, process, *patterns):
        code, output = self.migrate_end(process)
        self.assertNotEqual(code, 0)
        self.assert_reads(output, *patterns)
        before = int(self.control.command('stats')['disk'])
        hosts.wait_for('disk operations', lambda: int(self.control.command('stats')['disk']) > before + 20, 60)
        self.assert_settled(self.alpha)
        self.assert_nothing_left()
        jobs = self.alpha.virsh('qemu-monitor-command', self.NAME, '{"execute":"query-jobs"}')
        self.assertIn('"return":[]', jobs.replace(' ', ''))

    def test_wrong_size(self):
        self.image(self.beta, 'one.img', 'raw', 12)
        self.check_stayed(self.start_moving('--copy-storage-all'), "disk 'vda' has 67108864 bytes on the source and 12582912")

    def test_incremental_without_image(self):
        self.check_stayed(self.start_moving('--copy-storage-inc'), "no image '.*one.img' for disk 'vda'")

    def test_options(self):
        self.check_stayed(self.start_moving('--copy-storage-all', '--migrate-disks', 'vdz'), "no disk 'vdz'")
        self.check_stayed(self.start_moving('--migrate-disks', 'vda'), 'copy-storage-all')
        self.check_stayed(self.start_moving('--copy-storage-all', '--copy-storage-inc'), 'exclu')

    def slow_copy(self):
        """A copy that takes long enough to disturb it."""
        process = self.start_moving('--copy-storage-all', '--bandwidth', '4')
        hosts.wait_for('the copy to be under way', lambda: self.alpha.job(self.NAME).get('disk_processed', 0) > 2 * MIB, 30)
        self.assertTrue(os.path.exists(self.path(self.beta, 'one.img')))
        return process

    def check_no_copy(self):
        self.assertFalse(os.path.exists(self.path(self.beta, 'one.img')), 'the unfinished copy is left behind')

    def test_abort(self):
        process = self.slow_copy()
        self.alpha.virsh('domjobabort', self.NAME)
        self.check_stayed(process, 'aborted|canceled')
        self.check_no_copy()

    def test_destination_qemu_killed(self):
        process = self.slow_copy()
        os.kill(self.beta.qemu(), 9)
        self.check_stayed(process, "disk 'vda'|ended during the migration|QEMU")
        self.check_no_copy()

    def test_destination_daemon_killed(self):
        """A restarted daemon removes the copy that nobody will finish."""
        process = self.slow_copy()
        self.beta.stop(signal.SIGKILL)
        self.beta.start()
        self.check_stayed(process, '.')
        self.check_no_copy()

    def test_link_cut(self):
        process = self.slow_copy()
        self.addCleanup(self.bed.mend)
        self.bed.cut()
        self.alpha.virsh('domjobabort', self.NAME)
        self.check_stayed(process, 'aborted|canceled')

    def test_verify(self):
        """After all of that the disk's content is what the guest wrote."""
        self.check_disk()
        self.assert_settled(self.alpha)
        self.control.command('disk /dev/vda 8 4', 120)


if __name__ == '__main__':
    case.main()

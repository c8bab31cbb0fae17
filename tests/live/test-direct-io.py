#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Disks with cache='none' on a file system with slow reads. A direct read that is under way while the memory is scanned writes into the guest
where no page table shows it; nothing of it may be lost, in memory or on the disk."""

import os
import re
import subprocess

import case
import host as hosts


class DirectIo(case.LiveCase):
    FILL_MIB = 64
    SPARSE_MIB = 0
    DELAY_MSEC = 150

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.slow = os.path.join(cls.bed.folder, 'slow')
        below = os.path.join(cls.bed.folder, 'below')
        os.makedirs(cls.slow)
        os.makedirs(below)
        for name in ('disk.img', 'qcow.img'):
            with open(os.path.join(below, name), 'wb') as image:
                image.truncate(32 << 20)
        hosts.run('qemu-img', 'create', '-q', '-f', 'qcow2', os.path.join(below, 'qcow.img'), '32M')
        cls.fuse = subprocess.Popen([os.path.join(hosts.BUILD, 'tests/live/slowfs'), below, cls.slow, str(cls.DELAY_MSEC)],
                                    stdin=subprocess.DEVNULL)
        cls.addClassCleanup(cls.unmount)
        hosts.wait_for('the slow file system', lambda: os.path.ismount(cls.slow), 10)

    @classmethod
    def unmount(cls):
        cls.bed.close()
        hosts.run('umount', '-l', cls.slow, check=False)
        cls.fuse.terminate()
        cls.fuse.wait()

    def disk_xml(self, name, kind, extra):
        return (f"<disk type='file' device='disk'><driver name='qemu' type='{kind}' {extra}/><source file='{self.slow}/{name}'/>"
                "<target dev='vda' bus='virtio'/></disk>")

    def move_under_io(self, devices):
        alpha, beta = self.bed.alpha, self.bed.beta
        self.remove_guest()
        self.bed.boot(alpha, self.xml(devices=devices), self.FILL_MIB)
        self.control.command('disk /dev/vda 8 8', 120)
        hosts.wait_for('disk operations', lambda: int(self.control.command('stats')['disk']) > 50, 60)
        self.control.command('write 500 8')
        for source, destination in ((alpha, beta), (beta, alpha)):
            process = self.migrate_start(source, destination, '--bandwidth', '40')
            code, output = self.migrate_end(process, 90)
            self.assertEqual(code, 0, output)
            self.assert_settled(destination)
            before = int(self.control.command('stats')['disk'])
            hosts.wait_for('disk operations after it', lambda before=before: int(self.control.command('stats')['disk']) > before + 20, 60)
        verdict = {key: int(value) for key, value in self.control.command('diskverify', 180).items()}
        self.assertGreater(verdict['slots'], 50)
        self.assertEqual((verdict['bad_slots'], verdict['bad_blocks'], verdict['io_errors']), (0, 0, 0), verdict)
        return alpha

    def cache_direct(self, host):
        """What QEMU says about the disk's cache mode now."""
        reply = host.virsh('qemu-monitor-command', self.NAME, '{"execute":"query-block"}')
        return re.search(r'"direct": ?(true|false)', reply)[1] == 'true'

    def test_cache_none(self):
        host = self.move_under_io(self.disk_xml('disk.img', 'raw', "cache='none'"))
        self.assertTrue(self.cache_direct(host), "the disk is not back to cache='none'")

    def test_native_io(self):
        host = self.move_under_io(self.disk_xml('disk.img', 'raw', "cache='none' io='native'"))
        self.assertTrue(self.cache_direct(host), "the disk is not back to cache='none'")

    def test_directsync_qcow2(self):
        self.move_under_io(self.disk_xml('qcow.img', 'qcow2', "cache='directsync'"))

    def test_back_after_abort(self):
        """An aborted migration puts the disk back to direct I/O."""
        alpha = self.bed.alpha
        self.remove_guest()
        self.bed.boot(alpha, self.xml(devices=self.disk_xml('disk.img', 'raw', "cache='none'")), self.FILL_MIB)
        self.control.command('disk /dev/vda 8 4', 120)
        self.assertTrue(self.cache_direct(alpha))
        process = self.migrate_start(alpha, self.bed.beta, '--bandwidth', '20')
        hosts.wait_for('progress', lambda: (self.progress(alpha) or 0) > 0.1, 30)
        self.assertFalse(self.cache_direct(alpha), 'the disk is direct while memory is tracked')
        alpha.virsh('domjobabort', self.NAME)
        code, output = self.migrate_end(process)
        self.assertNotEqual(code, 0, output)
        self.assert_settled(alpha)
        self.assertTrue(self.cache_direct(alpha))
        verdict = self.control.command('diskverify', 180)
        self.assertEqual((verdict['bad_slots'], verdict['bad_blocks']), ('0', '0'), verdict)


if __name__ == '__main__':
    case.main()

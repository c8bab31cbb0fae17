#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Saving guests into images and restoring them: every flag, both formats, images that are refused, and what is killed or breaks at points over
saving and restoring. Each test ends with the guest's own verification of its memory."""

import contextlib
import os
import re
import shutil
import signal
import time

import case
import host as hosts

LIFECYCLE = {'defined': 0, 'undefined': 1, 'started': 2, 'suspended': 3, 'resumed': 4, 'stopped': 5, 'shutdown': 6}


class Saved(case.LiveCase):
    """A guest on alpha; the other host is not needed."""

    FILL_MIB = 96
    SPARSE_MIB = 16
    MEMORY_MIB = 384

    def setUp(self):
        super().setUp()
        self.alpha = self.bed.alpha
        self.image = os.path.join(self.bed.folder, 'image.save')
        self.addCleanup(self.remove_images)

    def remove_images(self):
        for name in os.listdir(self.bed.folder):
            if name.endswith('.save') or name.endswith('.saving'):
                os.unlink(os.path.join(self.bed.folder, name))

    def prepare(self, load='write 2000 16'):
        self.guest_on(self.alpha)
        if load:
            self.control.command(load)

    def save(self, *options):
        """Saves the guest; it is off afterwards."""
        self.alpha.virsh('save', self.NAME, self.image, *options)
        self.assertEqual(self.alpha.state(self.NAME), 'shut off')

    def restore(self, *options, path=None):
        """Restores it and waits until it runs again."""
        begin = time.monotonic()
        self.alpha.virsh('restore', path or self.image, *options)
        self.control.wait_beat(20, after=begin)

    def check_runs(self):
        self.control.wait_beat(20, pid=self.alpha.qemu())
        self.control.command('stop')
        self.assert_settled(self.alpha)

    def check_saves(self):
        """Whatever happened: it can be saved and restored."""
        self.save()
        self.restore()
        self.check_runs()


class Forms(Saved):
    """What the commands do when nothing goes wrong."""

    def test_save_and_restore(self):
        for options in ((), ('--bypass-cache',)):
            with self.subTest(options=options):
                self.prepare()
                allocated = self.ram_bytes()
                self.save(*options)
                self.assertLess(os.stat(self.image).st_blocks * 512, allocated * 1.05 + (1 << 20))
                self.assertEqual(os.stat(self.image).st_mode & 0o777, 0o600)
                self.restore(*options)
                self.check_runs()
                self.assertLess(self.ram_bytes(), allocated * 1.05 + (4 << 20))

    def ram_bytes(self):
        """What the guest's RAM files hold."""
        total = 0
        for folder, _, names in os.walk(os.path.join(self.alpha.root)):
            for name in names:
                if os.path.basename(os.path.dirname(folder)) == 'ram' or '/ram/' in folder + '/':
                    with contextlib.suppress(OSError):
                        total += os.lstat(os.path.join(folder, name)).st_blocks * 512
        self.assertGreater(total, 0)
        return total

    def test_zstd(self):
        self.prepare()
        domain = self.alpha.connection().lookupByName(self.NAME)
        domain.saveParams({'file': self.image, 'image_format': 'zstd'})
        self.assertEqual(self.alpha.state(self.NAME), 'shut off')
        self.restore()
        self.check_runs()
        self.alpha.disconnect()

    def test_run_state(self):
        self.prepare()
        self.save('--paused')
        self.alpha.virsh('restore', self.image)
        self.assertEqual(self.alpha.state(self.NAME), 'paused')
        self.alpha.virsh('resume', self.NAME)
        self.check_runs()
        self.save()
        self.alpha.virsh('restore', self.image, '--paused')
        self.assertEqual(self.alpha.state(self.NAME), 'paused')
        self.save('--running')
        self.restore()
        self.check_runs()
        self.alpha.virsh('suspend', self.NAME)
        self.save()
        self.restore('--running')
        self.check_runs()
        self.assert_reads(self.alpha.refused('save', self.NAME, self.image, '--running', '--paused'), 'running')

    def test_events(self):
        self.prepare()
        events = case.Events(self.alpha)
        self.addCleanup(events.close)
        self.save()
        events.wait('lifecycle', LIFECYCLE['stopped'], 4)
        self.assertEqual([words[1:] for words in events.seen],
                         [('lifecycle', 3, 0), ('iteration', 1), ('job-completed',), ('lifecycle', 5, 4)])
        self.assertEqual(events.statistics[0]['operation'], 2)
        self.assertGreater(events.statistics[0]['memory_processed'], self.FILL_MIB << 19)
        events.clear()
        self.restore()
        events.wait('lifecycle', LIFECYCLE['resumed'])
        self.assertEqual(events.lifecycle(), [(2, 2), (4, 2)])
        events.clear()
        self.save()
        self.alpha.virsh('restore', self.image, '--paused')
        events.wait('lifecycle', LIFECYCLE['suspended'], 0)
        self.assertEqual(events.lifecycle()[-2:], [(2, 2), (3, 0)])
        self.alpha.virsh('resume', self.NAME)
        self.check_runs()

    def test_managed_save(self):
        self.prepare()
        self.alpha.virsh('managedsave', self.NAME)
        self.assertEqual(self.alpha.state(self.NAME), 'shut off')
        self.assertRegex(self.alpha.virsh('dominfo', self.NAME), r'Managed save:\s+yes')
        self.assertIn('saved', self.alpha.virsh('list', '--all', '--managed-save'))
        self.assertIn(self.NAME, self.alpha.virsh('list', '--all', '--with-managed-save', '--name'))
        self.assertIn('guest', self.alpha.virsh('managedsave-dumpxml', self.NAME))
        self.assert_reads(self.alpha.refused('undefine', self.NAME), 'managed save')
        begin = time.monotonic()
        self.alpha.virsh('start', self.NAME)
        self.control.wait_beat(20, after=begin)
        self.assertRegex(self.alpha.virsh('dominfo', self.NAME), r'Managed save:\s+no')
        self.check_runs()
        # the start of a paused one, and one that is thrown away
        self.alpha.virsh('managedsave', self.NAME, '--bypass-cache', '--paused')
        self.alpha.virsh('start', self.NAME)
        self.assertEqual(self.alpha.state(self.NAME), 'paused')
        self.alpha.virsh('resume', self.NAME)
        self.check_runs()
        self.alpha.virsh('managedsave', self.NAME)
        self.alpha.virsh('managedsave-remove', self.NAME)
        self.assertRegex(self.alpha.virsh('dominfo', self.NAME), r'Managed save:\s+no')

    def test_force_boot(self):
        self.prepare()
        self.alpha.virsh('managedsave', self.NAME)
        path = self.managed_image()
        with open(path, 'r+b') as image:
            image.seek(100)
            image.write(b'damaged')
        self.assert_reads(self.alpha.refused('start', self.NAME), 'damaged', 'force-boot')
        self.assertTrue(os.path.exists(path))
        self.control.forget()
        self.alpha.virsh('start', self.NAME, '--force-boot')
        self.control.wait_ready(90)
        self.assertFalse(os.path.exists(path))
        self.remove_guest()  # its memory is not what the next test expects

    def managed_image(self):
        for folder, _, names in os.walk(self.alpha.root):
            for name in names:
                if name == self.NAME + '.save':
                    return os.path.join(folder, name)
        raise AssertionError('no managed save')

    def test_definition(self):
        self.prepare()
        self.save()
        xml = self.alpha.virsh('save-image-dumpxml', self.image)
        self.assertIn(f'<name>{self.NAME}</name>', xml)
        changed = self.bed.write('changed.xml', xml.replace('<vcpu', '<title>after</title>\n  <vcpu', 1))
        self.alpha.virsh('save-image-define', self.image, changed, '--paused')
        self.assertIn('after', self.alpha.virsh('save-image-dumpxml', self.image))
        wrong = self.bed.write('wrong.xml', re.sub(r"<memory unit='KiB'>\d+", "<memory unit='KiB'>262144", xml))
        self.assert_reads(self.alpha.refused('save-image-define', self.image, wrong), 'memory')
        self.assert_reads(self.alpha.refused('restore', self.image, '--xml', wrong), 'memory')
        self.alpha.virsh('restore', self.image)
        self.assertEqual(self.alpha.state(self.NAME), 'paused')
        self.assertIn('after', self.alpha.virsh('dumpxml', self.NAME))
        self.alpha.virsh('resume', self.NAME)
        self.check_runs()
        other = self.bed.write('other.xml', xml.replace('<vcpu', '<title>third</title>\n  <vcpu', 1))
        self.save('--xml', other)
        self.assertIn('third', self.alpha.virsh('save-image-dumpxml', self.image))
        self.restore('--xml', changed)
        self.assertIn('after', self.alpha.virsh('dumpxml', self.NAME))
        self.check_runs()

    def test_refused(self):
        self.prepare()
        self.assert_reads(self.alpha.refused('save', self.NAME, self.bed.folder), 'regular file')
        self.assert_reads(self.alpha.refused('save', self.NAME, '/nowhere/image.save'), 'nowhere')
        self.check_runs()
        self.save()
        self.restore()
        self.assert_reads(self.alpha.refused('restore', self.image), 'already active')
        self.check_runs()

    def test_older_image(self):
        """A save replaces an older image only when it is complete."""
        self.prepare()
        self.save()
        self.restore()
        with open(self.image, 'rb') as old:
            before = old.read(4096)
        os.mkdir(os.path.join(self.bed.folder, 'full'))
        hosts.run('mount', '-t', 'tmpfs', '-o', 'size=40m', 'full', os.path.join(self.bed.folder, 'full'))
        try:
            small = os.path.join(self.bed.folder, 'full', 'image')
            shutil.copyfile(self.bed.write('old.save', 'an older file'), small)
            self.assert_reads(self.alpha.refused('save', self.NAME, small), 'space')
            self.check_runs()
            self.assertEqual(os.listdir(os.path.dirname(small)), ['image'])
            with open(small, encoding='utf-8') as old:
                self.assertEqual(old.read(), 'an older file')
        finally:
            hosts.run('umount', os.path.join(self.bed.folder, 'full'))
        with open(self.image, 'rb') as old:
            self.assertEqual(old.read(4096), before)


class Hostile(Saved):
    """Images that are not what was written."""

    def refuse(self, change, *patterns):
        """Changes a copy of the image, which must then be refused without any guest or file left."""
        spoiled = os.path.join(self.bed.folder, 'spoiled.save')
        hosts.run('cp', '--sparse=always', self.image, spoiled)
        with open(spoiled, 'r+b') as image:
            change(image)
        self.assert_reads(self.alpha.refused('restore', spoiled), *patterns)
        self.assertEqual(self.alpha.state(self.NAME), 'shut off')
        self.assertEqual(self.alpha.processes(), {})

    @staticmethod
    def flip(image, offset):
        image.seek(offset)
        byte = image.read(1)
        image.seek(offset)
        image.write(bytes([byte[0] ^ 0x55]))

    def test_hostile(self):
        self.prepare()
        self.save()
        size = os.path.getsize(self.image)
        with open(self.image, 'rb') as image:
            header = image.read(512)
        device = int.from_bytes(header[136:144], 'little')
        blocks = int.from_bytes(header[112:120], 'little')
        for name, change, pattern in (
                ('empty', lambda image: image.truncate(0), 'no save image'),
                ('text', lambda image: image.write(b'not an image at all'), 'no save image'),
                ('header cut', lambda image: image.truncate(1000), 'header'),
                ('cut in half', lambda image: image.truncate(size // 2), 'truncated'),
                ('cut by a page', lambda image: image.truncate(size - 4096), 'truncated'),
                ('header', lambda image: self.flip(image, 70), 'header.*damaged'),
                ('definition', lambda image: self.flip(image, 4200), 'definition.*damaged'),
                ('blocks', lambda image: self.flip(image, blocks + 65), 'RAM blocks.*damaged'),
                ('page table', lambda image: self.flip(image, blocks + 4096 + 10), 'page table.*damaged'),
                ('device state', lambda image: self.flip(image, device + 5000), 'device state.*damaged')):
            with self.subTest(name=name):
                self.refuse(change, pattern)
        self.restore()
        self.check_runs()


if __name__ == '__main__':
    case.main()

#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Saving guests into images and restoring them: every flag, both formats, images that are refused, and what is killed or breaks at points over
saving and restoring. Each test ends with the guest's own verification of its memory."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
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
        # A daemon that has just started asks QEMU what it can do, by another process.
        hosts.wait_for('one QEMU', lambda: len(self.alpha.pids_of('qemu-system')) == 1, 20)
        self.control.wait_beat(20, pid=self.alpha.qemu())
        self.control.command('stop')
        self.assert_settled(self.alpha)


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


class Tool(Saved):
    """virt-ferry snapshot."""

    def tool(self, *arguments, check=True):
        return hosts.run(os.path.join(hosts.BUILD, 'tools/virt-ferry/virt-ferry'), 'snapshot', *arguments, check=check)

    def test_tool(self):
        self.prepare(load=None)
        for image_format in ('raw', 'zstd'):
            with self.subTest(image_format=image_format):
                self.alpha.connection().lookupByName(self.NAME).saveParams({'file': self.image, 'image_format': image_format})
                info = self.tool('info', self.image)
                self.assertIn(self.NAME, info)
                self.assertIn(image_format, info)
                self.assertRegex(info, f"RAM block 'ram0': {self.MEMORY_MIB} MiB, [0-9]+ MiB")
                self.assertIn('is whole', self.tool('verify', self.image))
                self.assertIn(f'<name>{self.NAME}</name>', self.tool('extract', self.image, 'xml', '-'))
                memory = os.path.join(self.bed.folder, 'memory.save')
                self.tool('extract', self.image, 'ram0', memory)
                self.assertEqual(os.path.getsize(memory), self.MEMORY_MIB << 20)
                self.assertGreater(os.stat(memory).st_blocks * 512, self.FILL_MIB << 19)
                device = os.path.join(self.bed.folder, 'device.save')
                self.tool('extract', self.image, 'device', device)
                with open(device, 'rb') as stream:
                    self.assertEqual(stream.read(4), b'QEVM')
                self.assertIn('no part', self.tool('extract', self.image, 'ram7', memory, check=False))
                self.restore()
        spoiled = os.path.join(self.bed.folder, 'spoiled.save')
        shutil.copyfile(self.image, spoiled)
        with open(spoiled, 'r+b') as image:
            image.seek(-(1 << 20), os.SEEK_END)
            where = image.tell()
            byte = image.read(1)
            image.seek(where)
            image.write(bytes([byte[0] ^ 1]))
        self.assertIn('damaged', self.tool('verify', spoiled, check=False))
        self.check_runs()


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


class KilledSaving(Saved):
    """Something dies while a guest is being saved: it goes on, an older image stays, and nothing is left behind."""

    def begin(self, point):
        """Starts a slow save (compressed, over an older image) and returns when it has come to a point: bytes in the new file."""
        self.prepare()
        self.bed.write('image.save', 'an older file')
        self.snapshot()
        process = self.alpha.virsh_start('save', self.NAME, self.image)
        self.addCleanup(lambda: (process.kill(), process.wait(), process.stdout.close()))
        saving = os.path.join(self.bed.folder, '.image.save.saving')

        def there():
            if process.poll() is not None:
                return True
            with contextlib.suppress(OSError):
                return os.stat(saving).st_blocks * 512 >= point
            return False
        hosts.wait_for('a point of the save', there, 30, 0.001)
        return process

    def check_goes_on(self, process):
        """It runs on and the old file is there, or the image was complete before; never both, never neither."""
        output, _ = process.communicate(timeout=60)
        if self.alpha.daemon is None:
            self.alpha.start()
            self.alpha.virsh('domcapabilities')  # asks QEMU, by a process of its own

        def settled():
            state = self.alpha.state(self.NAME)
            return state in ('running', 'shut off') and state
        state = hosts.wait_for('the end of the save', settled, 30)
        with open(self.image, 'rb') as image:
            begin = image.read(13)
        if state == 'shut off':
            self.assertTrue(begin.startswith(b'FERRYIMG'), output)
            self.restore()
        else:
            self.assertEqual(begin, b'an older file', output)
        self.check_runs()
        hosts.wait_for('leftovers to go', lambda: not [name for name in os.listdir(self.bed.folder) if name.endswith('.saving')], 20)
        self.assertFalse(self.alpha.pids_of('virt-ferry'))

    def test_engine(self):
        for point in (0, 1 << 20, 30 << 20):
            with self.subTest(point=point):
                process = self.begin(point)
                for pid in self.alpha.pids_of('virt-ferry-engine'):
                    os.kill(pid, signal.SIGKILL)
                self.check_goes_on(process)

    def test_daemon(self):
        for point in (1, 1 << 20, 60 << 20):
            with self.subTest(point=point):
                process = self.begin(point)
                self.alpha.stop(signal.SIGKILL)
                self.check_goes_on(process)

    def test_abort(self):
        process = self.begin(1 << 20)
        self.alpha.virsh('domjobabort', self.NAME, check=False)
        self.check_goes_on(process)

    def test_qemu(self):
        process = self.begin(1 << 20)
        for pid in self.alpha.pids_of('qemu-system'):
            os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=60)
        hosts.wait_for('the end of the guest', lambda: self.alpha.state(self.NAME) == 'shut off', 20)
        hosts.wait_for('leftovers to go', lambda: not self.alpha.processes(), 20)
        with open(self.image, 'rb') as image:
            self.assertIn(image.read(8), (b'an older', b'FERRYIMG'))


class Lazy(Saved):
    """The guest runs before its memory is read, from a file system where each read takes a while; meanwhile things happen."""

    DELAY_MSEC = 4
    FILL_MIB = 64

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        below, cls.slow = os.path.join(cls.bed.folder, 'below'), os.path.join(cls.bed.folder, 'slow')
        os.mkdir(below)
        os.mkdir(cls.slow)
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

    def setUp(self):
        super().setUp()
        self.below = os.path.join(self.bed.folder, 'below', 'image')

    def save_slow(self):
        """An image of the guest; reading it takes seconds."""
        self.prepare()
        self.alpha.virsh('save', self.NAME, self.below)

    def begin(self, point=0.0):
        """Restores it and waits until that share of its memory is there."""
        self.control.forget()  # each time from the same moment on
        begin = time.monotonic()
        self.alpha.virsh('restore', os.path.join(self.slow, 'image'))
        self.control.wait_beat(20, after=begin)

        def there():
            job = self.alpha.job(self.NAME)
            return not job.get('type') or (job.get('memory_total') and job['memory_processed'] >= point * job['memory_total'])
        hosts.wait_for(f'{point} of the memory', there, 60, 0.01)
        self.assertEqual(self.alpha.job(self.NAME).get('operation'), 3, 'it was loaded at once')

    def finish(self):
        hosts.wait_for('all of the memory', lambda: not self.alpha.job(self.NAME).get('type'), 90)
        self.check_runs()
        self.assertFalse(self.alpha.pids_of('virt-ferry'))
        self.assertEqual(self.tables(), [])

    def tables(self):
        found = []
        for _, _, names in os.walk(self.alpha.root):
            found += [name for name in names if name.endswith('.pages')]
        return found

    def test_meanwhile(self):
        """The guest works, its memory verifies while most of it is missing, and the commands behave."""
        self.save_slow()
        self.begin()
        self.control.command('write 3000 16')
        self.assert_reads(self.alpha.refused('domjobabort', self.NAME), 'cannot be aborted')
        self.assert_reads(self.alpha.refused(*self.migrate_arguments(self.alpha, self.bed.beta)), 'still in its save image')
        self.alpha.virsh('suspend', self.NAME)
        self.assertEqual(self.alpha.state(self.NAME), 'paused')
        self.alpha.virsh('dumpxml', self.NAME)
        self.alpha.virsh('resume', self.NAME)
        self.control.wait_beat(20, after=time.monotonic())
        self.control.command('stop')
        self.control.verify()
        self.finish()

    def test_save_again(self):
        """A save waits for the rest; the second restore reads first what was touched first."""
        self.save_slow()
        self.begin()
        self.save()
        self.restore()
        self.check_runs()

    def test_order(self):
        self.save_slow()
        self.begin()
        self.finish()
        with open(self.below, 'rb') as image:
            image.seek(104)
            image.seek(int.from_bytes(image.read(8), 'little'))
            self.assertEqual(image.read(4), b'ORRD')
            self.assertGreater(int.from_bytes(image.read(4), 'little'), 10)
        self.alpha.virsh('destroy', self.NAME)
        self.begin()
        self.finish()

    def kill(self, program):
        pids = self.alpha.pids_of(program)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return pids

    def test_engine_killed(self):
        self.save_slow()
        for point in (0.0, 0.2, 0.4, 0.6, 0.8):
            with self.subTest(point=point):
                self.begin(point)
                self.control.command('write 2000 16')
                old = self.kill('virt-ferry-engine')
                hosts.wait_for('another engine, or the end', lambda: not set(old) & set(self.alpha.pids_of('virt-ferry-engine')), 20)
                self.finish()
                self.alpha.virsh('destroy', self.NAME)

    def test_daemon_killed(self):
        self.save_slow()
        for point in (0.0, 0.3, 0.6):
            for both in (False, True):
                with self.subTest(point=point, both=both):
                    self.begin(point)
                    self.control.command('write 2000 16')
                    self.alpha.stop(signal.SIGKILL)
                    if both:
                        self.kill('virt-ferry-engine')
                    self.alpha.start()
                    self.assertEqual(self.alpha.state(self.NAME), 'running')
                    self.alpha.virsh('domcapabilities')
                    self.finish()
                    self.alpha.virsh('destroy', self.NAME)

    def test_daemon_restarted(self):
        self.save_slow()
        self.begin(0.1)
        self.alpha.stop()
        self.alpha.start()
        self.alpha.virsh('domcapabilities')
        self.finish()

    def test_ends(self):
        """QEMU killed, the guest destroyed, the engine killed before the guest runs: nothing is left, and the image is as it was."""
        self.save_slow()
        for name, end in (('destroyed', lambda: self.alpha.virsh('destroy', self.NAME)),
                          ('killed', lambda: self.kill('qemu-system'))):
            with self.subTest(name=name):
                self.begin(0.1)
                end()
                hosts.wait_for('the end of the guest', lambda: self.alpha.state(self.NAME) == 'shut off', 20)
                hosts.wait_for('processes to end', lambda: not self.alpha.processes(), 30)
                self.assertEqual(self.tables(), [])
        for program in ('virt-ferry-engine', 'qemu-system'):
            with self.subTest(early=program):
                process = self.alpha.virsh_start('restore', os.path.join(self.slow, 'image'))
                self.addCleanup(lambda process=process: (process.kill(), process.wait(), process.stdout.close()))
                hosts.wait_for(program, lambda program=program: self.alpha.pids_of(program), 20, 0.002)
                self.kill(program)
                process.communicate(timeout=60)
                self.assertNotEqual(process.returncode, 0)
                hosts.wait_for('processes to end', lambda: not self.alpha.processes(), 30)
        self.begin()
        self.finish()

    def test_damaged_later(self):
        """A part of the image that is read after the guest runs is wrong: the guest ends, it does not read wrong memory."""
        self.save_slow()
        with open(self.below, 'r+b') as image:
            header = image.read(512)
            blocks = int.from_bytes(header[112:120], 'little')
            image.seek(blocks + 104)
            data = int.from_bytes(image.read(8), 'little')
            holes = os.lseek(image.fileno(), os.path.getsize(self.below) - (40 << 20), os.SEEK_DATA)
            self.assertGreater(holes, data)
            image.seek(holes + 100)
            image.write(b'damaged')
        self.alpha.virsh('restore', os.path.join(self.slow, 'image'))
        hosts.wait_for('the end of the guest', lambda: self.alpha.state(self.NAME) == 'shut off', 60)
        self.assertIn('crashed', self.alpha.virsh('domstate', self.NAME, '--reason'))
        hosts.wait_for('processes to end', lambda: not self.alpha.processes(), 30)


if __name__ == '__main__':
    case.main()

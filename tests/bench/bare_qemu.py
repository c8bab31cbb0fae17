# SPDX-License-Identifier: LGPL-2.1-or-later
"""The test guest in plain QEMU processes, moved by QEMU's own migration over loopback TCP."""

import os
import socket
import subprocess
import time

import guest
import measure
import qmp
import wait


def free_port():
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


class BareQemu:
    """One QEMU process."""

    def __init__(self, folder, name, control, group, options, backend, incoming):
        self.name = name
        kernel, initrd = guest.images()
        size = options.size << 20
        kind = {'anonymous': f'memory-backend-ram,id=ram0,size={size}',
                'memfd': f'memory-backend-memfd,id=ram0,size={size},share=on'}[backend]
        self.monitor_path = os.path.join(folder, name + '.qmp')
        command = [options.qemu, '-name', name, '-accel', options.accel, '-machine', 'q35,memory-backend=ram0', '-object', kind,
                   '-cpu', 'host' if options.accel == 'kvm' else 'qemu64', '-m', str(options.size), '-smp', '1', '-nodefaults',
                   '-display', 'none', '-kernel', kernel, '-initrd', initrd, '-append', guest.KERNEL_ARGS, '-serial', 'null',
                   '-serial', 'unix:' + control.path, '-device', 'virtio-balloon-pci',
                   '-qmp', f'unix:{self.monitor_path},server=on,wait=off'] + (['-incoming', 'defer'] if incoming else [])
        self.group = group
        # The program only inherits the group and the listening sockets it is given: nothing of ours.
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, preexec_fn=group.enter)
        try:
            self.qmp = qmp.Qmp(self.monitor_path, alive=lambda: self.process.poll() is None)
        except qmp.QmpError:
            self.end()
            raise

    @property
    def pid(self):
        return self.process.pid

    def ram(self, options):
        return measure.ram_bytes(self.pid, options.size << 20)

    def end(self):
        self.process.kill()
        self.process.wait()
        if os.path.exists(self.monitor_path):
            os.unlink(self.monitor_path)


def set_up(side, multifd):
    """What libvirt sets: no speed limit, 300 ms of downtime, events; multifd with two channels."""
    side.qmp.command('migrate-set-parameters', **{'max-bandwidth': (1 << 53) - 1, 'downtime-limit': 300})
    side.qmp.command('migrate-set-capabilities', capabilities=[{'capability': 'events', 'state': True}])
    if multifd:
        side.qmp.command('migrate-set-capabilities', capabilities=[{'capability': 'multifd', 'state': True}])
        side.qmp.command('migrate-set-parameters', **{'multifd-channels': 2})


def run(folder, groups, options, backend, multifd):
    """Boots, fills, migrates, verifies. Returns the measured numbers."""
    with guest.Control(os.path.join(folder, 'control')) as control:
        return run_on(folder, control, groups, options, backend, multifd)


def run_on(folder, control, groups, options, backend, multifd):
    source = BareQemu(folder, 'source', control, groups[0], options, backend, False)
    sides = [source]
    try:
        control.wait_ready(120, pid=source.pid, alive=lambda: source.process.poll() is None)
        control.command(f'fill {options.fill} 64', 600)
        options.prepare(control)
        destination = BareQemu(folder, 'destination', control, groups[1], options, backend, True)
        sides.append(destination)
        set_up(source, multifd)
        set_up(destination, multifd)
        uri = f'tcp:127.0.0.1:{free_port()}'
        destination.qmp.command('migrate-incoming', uri=uri)
        ram_source, ram_destination = source.ram(options), destination.ram(options)
        idle = options.baseline(groups)
        cpu = [group.seconds() for group in groups]
        start = time.monotonic()
        source.qmp.command('migrate', uri=uri)
        wait.wait_for('the end of the migration', lambda: source.qmp.command('query-migrate').get('status') in
                      ('completed', 'failed', 'cancelled'), 600, 0.01)
        end = time.monotonic()
        status = source.qmp.command('query-migrate')
        if status['status'] == 'completed':  # the total time is set a moment after the state
            status = wait.wait_for('the total time', lambda: (answer := source.qmp.command('query-migrate'))['total-time'] and answer, 10, 0.01)
        if status['status'] != 'completed':
            raise qmp.QmpError(f'migration {status["status"]}: {status.get("error-desc")}')
        control.wait_beat(30, pid=destination.pid, after=start)
        used = [group.seconds() - before - rate * (time.monotonic() - start)
                for group, before, rate in zip(groups, cpu, idle)]
        result = {
            'total_sec': status['total-time'] / 1e3,
            'command_sec': end - start,
            'downtime_msec': (control.switch_gap(start) - control.period(start - 2, start)) * 1e3,
            'bytes': status['ram']['transferred'],
            'cpu_sec': sum(max(seconds, 0.0) for seconds in used),
            'ram_source_before': ram_source, 'ram_source': source.ram(options),
            'ram_destination_before': ram_destination, 'ram_destination': destination.ram(options),
        }
        control.verify(600)
        return result
    finally:
        for side in sides:
            side.end()

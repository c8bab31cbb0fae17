# SPDX-License-Identifier: LGPL-2.1-or-later
"""The test guest under two Ferry daemons on the loopback interface, moved by stock virsh."""

import time

import libvirt

import host as hosts
import measure


def run(options, size):
    """Boots a guest of size MiB, fills, migrates, verifies. Returns the measured numbers."""
    bed = hosts.Bed(network=False, log_level=2)
    try:
        return run_on(bed, options, size)
    finally:
        bed.close()


def run_on(bed, options, size):
    control = bed.control
    for host in bed.hosts:
        host.start()
    alpha, beta = bed.hosts
    name = bed.boot(alpha, bed.domain_xml('bench', size, devices=f'<emulator>{options.qemu}</emulator>',
                                          domain_type='kvm' if options.accel == 'kvm' else 'qemu'))
    control.command(f'fill {options.fill} 64', 600)
    options.prepare(control)
    source_ram = measure.Ram(alpha.qemu(), size << 20)
    before = source_ram.bytes()
    groups = [host.group for host in bed.hosts]
    idle = options.baseline(groups)
    cpu = [group.seconds() for group in groups]
    start = time.monotonic()
    alpha.virsh('migrate', '--live', *(['--p2p'] if options.p2p else []), name, '--desturi', beta.peer_uri if options.p2p else beta.uri,
                '--migrateuri', 'tcp://127.0.0.1', seconds=900)
    end = time.monotonic()
    control.wait_beat(30, pid=beta.qemu(), after=start)
    used = [group.seconds() - seconds - rate * (time.monotonic() - start) for group, seconds, rate in zip(groups, cpu, idle)]
    job = alpha.connection().lookupByName(name).jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
    destination_ram = measure.ram_bytes(beta.qemu(), size << 20)
    result = {
        'total_sec': job['time_elapsed'] / 1e3,
        'command_sec': end - start,
        'downtime_msec': (control.switch_gap(start) - control.period(start - 2, start)) * 1e3,
        'bytes': job['memory_processed'],
        'cpu_sec': sum(max(seconds, 0.0) for seconds in used),
        'ram_source_before': before, 'ram_source': source_ram.bytes(),
        'ram_destination_before': 0, 'ram_destination': destination_ram,
        'job': job,
    }
    source_ram.close()
    control.verify(600)
    return result

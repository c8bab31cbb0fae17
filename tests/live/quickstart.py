# SPDX-License-Identifier: LGPL-2.1-or-later
"""The part of tools/quickstart that runs after the build: two hosts, a guest, one live migration, what it cost."""

import argparse
import os
import signal
import subprocess
import sys
import time

import host as hosts  # first: it knows where the others are
import guest
import measure

NAME = 'demo'


def step(text):
    """Says what comes next; the outcome follows on the same line."""
    print(f'{text:<28}', end='', flush=True)


def line(title, text):
    print(f'  {title:<16}{text}')


def mib(size):
    return f'{size / hosts.MIB:.0f} MiB'


def parse_args():
    parser = argparse.ArgumentParser(prog='tools/quickstart')
    parser.add_argument('--memory', type=int, default=2048)
    parser.add_argument('--fill', type=int, default=768)
    return parser.parse_args()


def start(bed, options):
    """Daemons, guest, load."""
    for host in bed.hosts:
        step(f'host {host.name}')
        host.start()
        print(f'{host.address}, daemon at {host.socket}')
    alpha = bed.alpha
    step(f'guest {NAME} on alpha')
    began = time.monotonic()
    bed.boot(alpha, bed.domain_xml(NAME, options.memory), options.fill, 64)
    bed.control.command('write 1000 32')
    print(f'{options.memory} MiB, {"KVM" if bed.kvm else "TCG (no usable KVM here)"}, up and {options.fill} MiB filled in '
          f'{time.monotonic() - began:.1f} s; it writes 1000 pages/s')


def migrate(bed):
    """The move itself, with virsh's own progress on the terminal. Returns (wall seconds, moment of the start)."""
    alpha, beta = bed.hosts
    words = ['virsh', '-c', alpha.uri, 'migrate', '--live', '--verbose', NAME, '--desturi', beta.uri,
             '--migrateuri', f'tcp://{beta.address}']
    print('\n$ ' + ' '.join(f"'{word}'" if '?' in word else word for word in words), flush=True)
    began = time.monotonic()
    with open(os.devnull, encoding='ascii') as nothing:
        code = subprocess.call(words, stdin=nothing)
    if code:
        print(f'\nThe migration failed; the daemons said:\n{bed.log("alpha")[-3000:]}\n{bed.log("beta")[-3000:]}', file=sys.stderr)
        sys.exit(1)
    return time.monotonic() - began, began


def report(bed, source_ram, before, wall, began):
    """What it cost. Returns the process's exit code."""
    import libvirt  # pylint: disable=import-outside-toplevel
    alpha, beta = bed.hosts
    bed.control.wait_beat(20, pid=beta.qemu(), after=began)
    job = alpha.connection().lookupByName(NAME).jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
    after = measure.ram_bytes(beta.qemu(), source_ram.size)
    period = bed.control.period(began - 2, began)
    gap = bed.control.switch_gap(began) - period
    print()
    line('total time', f'{job["time_elapsed"] / 1e3:.2f} s (virsh took {wall:.2f} s), {job.get("memory_iteration", 0)} rounds')
    line('downtime', f'{gap * 1e3:.0f} ms as the guest\'s heartbeat shows it (one beat each {period * 1e3:.0f} ms); '
                     f'{job.get("downtime", 0)} ms by the daemon\'s clock')
    line('sent', mib(job['memory_processed']))
    line('RAM on alpha', f'{mib(before)} before, {mib(source_ram.bytes())} at the end')
    line('RAM on beta', f'0 MiB before, {mib(after)} at the end')
    try:
        verdict = bed.control.verify(600)
    except guest.GuestError as error:
        line('memory check', f'FAILED: {error}')
        return 1
    line('memory check', f'all {verdict["pages"]} pages are right: {verdict["data"]} of data, {verdict["zero"]} of zeros, '
                         f'{verdict["writes"]} page writes on the way')
    line('running on', ' '.join(host.name for host in bed.hosts if NAME in host.running()))
    return 0


def run(options):
    bed = hosts.Bed(log_level=2)
    try:
        start(bed, options)
        source_ram = measure.Ram(bed.alpha.qemu(), options.memory * hosts.MIB)
        before = source_ram.bytes()
        wall, began = migrate(bed)
        return report(bed, source_ram, before, wall, began)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not stop the cleaning
        bed.close()
        print('cleaned up')


def main():
    reason = hosts.skip_reason()
    if reason:
        print(f'tools/quickstart: {reason}', file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ['LC_ALL'] = 'C.UTF-8'
    try:
        return run(parse_args())
    except KeyboardInterrupt:
        print('interrupted')
        return 130
    except (hosts.BedError, hosts.CommandError, hosts.NotInTime, guest.GuestError) as error:
        print(f'\ntools/quickstart: {error}', file=sys.stderr)
        return 1


if __name__ == '__main__':
    sys.exit(main())

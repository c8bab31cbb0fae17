#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Postcopy back and forth, with random cuts and kills: soak-postcopy.py --count 200. By hand; docs/testing.md has what came out."""

import argparse
import collections
import random
import sys
import time

import case
import host as hosts
import postcopy_case


class Soak(postcopy_case.Postcopy):
    """One guest that is never booted again."""

    MEMORY_MIB = 256
    FILL_MIB = 64
    options = argparse.Namespace(count=10, cuts=2, seed=1)

    def actions(self):
        return {
            'link': lambda: self.bed.cut(random.choice(self.bed.hosts)),
            'abort': lambda: self.alpha.virsh('domjobabort', '--postcopy', self.NAME, check=False),
            'source engine': lambda: self.kill(self.alpha, 'virt-ferry-engine'),
            'destination engine': lambda: self.kill(self.beta, 'virt-ferry-engine'),
            'source, all': lambda: self.restart(self.alpha, engines=[self.alpha]),
            'destination, all': lambda: self.restart(self.beta, engines=[self.beta]),
            'everything': lambda: self.restart(self.alpha, self.beta, engines=self.bed.hosts),
        }

    def resumed(self):
        """Resumes until it goes on or is at its end."""
        for _ in range(5):
            process = self.resume(*random.choice(((), ('--p2p',))))
            hosts.wait_for('the resumption', lambda process=process: process.poll() is not None or
                           self.reason(self.alpha) == 'paused (post-copy)', 40, 0.01)
            if not process.poll():
                return process
        self.fail(f'no resumption succeeds: {self.migrate_end(process)[1]}')

    def once(self, counts):
        process, self.most_stale = self.switch(*random.choice(((), ('--p2p',)))), 0
        for _ in range(random.randint(0, self.options.cuts)):
            self.reach(random.random(), process)
            name, action = random.choice(list(self.actions().items()))
            if self.interrupt(process, action) is None:
                break
            counts[name] += 1
            process = self.resumed()
        code, output = self.migrate_end(process)
        if code != 0 and self.reason(self.beta) != 'running (migrated)':
            self.fail(output)
        self.settled_on_beta()
        self.alpha, self.beta = self.beta, self.alpha

    def test_soak(self):
        counts, start = collections.Counter(), time.monotonic()
        random.seed(self.options.seed)
        for number in range(self.options.count):
            self.PUSH = ('--postcopy-bandwidth', str(random.choice((24, 48, 96))))
            self.control.command('write 1500 16')
            self.once(counts)
            self.control.command('stop')
            print(f'{number + 1} of {self.options.count}: {time.monotonic() - start:.0f} s, interruptions: {dict(counts)}', flush=True)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--count', type=int, default=200, help='migrations (default 200)')
    parser.add_argument('--cuts', type=int, default=3, help='at most so many interruptions in each (default 3)')
    parser.add_argument('--seed', type=int, default=int(time.time()), help='of the random choices')
    Soak.options = parser.parse_args()
    print(f'seed {Soak.options.seed}', flush=True)
    sys.argv[1:] = []
    case.main()

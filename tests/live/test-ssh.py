#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""ferry+ssh:// with a real sshd on beta: keys, configuration and the folder of libvirt's sockets are the bed's own, so that nothing of the
machine's ssh is touched, and the other side is virt-ssh-helper, as on two ordinary hosts."""

import os
import shlex
import shutil
import subprocess
import unittest

import case
import host as hosts

SSHD = shutil.which('sshd', path='/usr/sbin:/usr/bin:/sbin')
PORT = 2222


def missing():
    """What this test lacks, or None."""
    if not SSHD:
        return 'sshd'
    return next((tool for tool in ('ssh', 'ssh-keygen', 'virt-ssh-helper', 'unshare') if not shutil.which(tool)), None)


@unittest.skipIf(missing(), f'needs {missing()}')
class Ssh(case.LiveCase):
    MEMORY_MIB = 256
    FILL_MIB = 48
    SPARSE_MIB = 8

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = os.path.join(cls.bed.folder, 'ssh')
        os.makedirs(cls.folder, mode=0o700)
        for key in ('host', 'client', 'stranger'):
            hosts.run('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', cls.path(key))
        with open(cls.path('host.pub'), encoding='ascii') as key:
            cls.write('known_hosts', f'[{cls.bed.beta.address}]:{PORT} {key.read()}')
        shutil.copy(cls.path('client.pub'), cls.path('authorized_keys'))
        cls.write('sshd_config', f"""ListenAddress {cls.bed.beta.address}
Port {PORT}
HostKey {cls.path('host')}
AuthorizedKeysFile {cls.path('authorized_keys')}
AuthenticationMethods publickey
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile none
""")
        cls.command = cls.ssh_command('client')
        # virt-ssh-helper looks for the socket where it always is: that place is beta's for this sshd and what it starts.
        script = (f'mount -t tmpfs none /run && mkdir /run/sshd /run/libvirt && '
                  f'mount --bind {shlex.quote(os.path.dirname(cls.bed.beta.socket))} /run/libvirt && '
                  f'exec {SSHD} -D -e -f {cls.path("sshd_config")}')
        with open(cls.path('sshd.log'), 'wb') as log:
            cls.sshd = subprocess.Popen(['nsenter', '--net=/run/netns/' + cls.bed.beta.namespace, 'unshare', '--mount', 'sh', '-c', script],
                                        stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        cls.addClassCleanup(cls.end_sshd)
        hosts.wait_for('sshd', cls.listens, 20)

    @classmethod
    def end_sshd(cls):
        cls.sshd.terminate()
        cls.sshd.wait(20)

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder, name)

    @classmethod
    def write(cls, name, text, mode=0o600):
        with open(cls.path(name), 'w', encoding='utf-8') as out:
            out.write(text)
        os.chmod(cls.path(name), mode)
        return cls.path(name)

    @classmethod
    def ssh_command(cls, key):
        """A program that is ssh with the bed's configuration, for the URI's `command`."""
        config = cls.write('config-' + key, f"""IdentityFile {cls.path(key)}
IdentitiesOnly yes
UserKnownHostsFile {cls.path('known_hosts')}
GlobalKnownHostsFile /dev/null
StrictHostKeyChecking yes
BatchMode yes
""")
        return cls.write('ssh-' + key, f'#!/bin/sh\nexec ssh -F {config} "$@"\n', 0o700)

    @classmethod
    def listens(cls):
        if cls.sshd.poll() is not None:
            with open(cls.path('sshd.log'), encoding='utf-8', errors='replace') as log:
                raise hosts.BedError(f'sshd ended: {log.read()}')
        return f':{PORT} ' in hosts.run('nsenter', '--net=/run/netns/' + cls.bed.beta.namespace, 'ss', '-Hltn')

    def uri(self, command=None):
        return f'ferry+ssh://root@{self.bed.beta.address}:{PORT}/system?command={command or self.command}'

    def at_alpha(self, *arguments, check=True):
        """virsh on alpha's side of the network."""
        return hosts.run('nsenter', '--net=/run/netns/' + self.bed.alpha.namespace, 'virsh', *arguments, check=check)

    def test_there_and_back(self):
        """Direct migration there, the way back over the local sockets, and peer-to-peer migration there again."""
        alpha, beta = self.bed.alpha, self.bed.beta
        self.assertIn('beta', self.at_alpha('-c', self.uri(), 'hostname'))
        self.guest_on(alpha)
        self.control.command('write 1000 4')
        self.at_alpha('-c', alpha.uri, 'migrate', '--live', self.NAME, self.uri())
        self.assert_settled(beta)
        self.assertIn(self.NAME, self.at_alpha('-c', self.uri(), 'list', '--name'))
        self.migrate(beta, alpha)
        self.at_alpha('-c', alpha.uri, 'migrate', '--live', '--p2p', self.NAME, self.uri())
        self.assert_settled(beta)
        self.assertEqual(alpha.processes(), {})

    def test_stranger(self):
        """A key that beta does not know: refused, the guest stays, and the user reads why."""
        alpha = self.bed.alpha
        self.guest_on(alpha)
        uri = self.uri(self.ssh_command('stranger'))
        for options in ((), ('--p2p',)):
            with self.subTest(options=options):
                output = self.at_alpha('-c', alpha.uri, 'migrate', '--live', *options, self.NAME, uri, check=False)
                self.assert_reads(output, 'permission denied|publickey|end of file|cannot recv')
                self.assert_settled(alpha)
                self.assert_nothing_left()


if __name__ == '__main__':
    case.main()

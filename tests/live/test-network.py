#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Interfaces of type network: each host's own libvirtd has a network of the same name on another bridge, and the guest moves between them."""

import os
import re
import shutil
import signal
import subprocess
import sys
import uuid

import case
import host as hosts

LIBVIRTD = '/usr/sbin/libvirtd'
MODULES = '/usr/lib/x86_64-linux-gnu/libvirt/connection-driver'
NETWORK = """<network><name>lan</name><forward mode='bridge'/><bridge name='{bridge}'/></network>"""

# libvirtd keeps its state in fixed places: it gets its own, in a mount namespace. Of its drivers it loads the network's only.
START = """
for folder in /run/libvirt /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt; do mkdir -p $folder && mount -t tmpfs none $folder || exit 1; done
exec {libvirtd} -f {folder}/libvirtd.conf -p {folder}/pid
"""


class NetworkDaemon:
    """A host's libvirtd, with the network 'lan' on the given bridge."""

    def __init__(self, bed, host, bridge):
        self.bridge = bridge
        self.folder = os.path.join(bed.folder, host.name + '-libvirtd')
        drivers = os.path.join(self.folder, 'drivers')
        os.makedirs(drivers)
        os.symlink(os.path.join(MODULES, 'libvirt_driver_network.so'), os.path.join(drivers, 'libvirt_driver_network.so'))
        with open(os.path.join(self.folder, 'libvirtd.conf'), 'w', encoding='utf-8') as config:
            config.write(f'unix_sock_dir = "{self.folder}"\nauth_unix_rw = "none"\nauth_unix_ro = "none"\nhost_uuid = "{uuid.uuid4()}"\n')
        self.uri = f'network:///system?socket={self.folder}/libvirt-sock'
        with open(os.path.join(host.root, 'etc/libvirt/virtferryd.conf'), 'a', encoding='utf-8') as config:
            config.write(f'network_uri = "{self.uri}"\n')
        hosts.run('ip', '-n', host.namespace, 'link', 'add', bridge, 'type', 'bridge')
        hosts.run('ip', '-n', host.namespace, 'link', 'set', bridge, 'up')
        script = START.format(libvirtd=LIBVIRTD, folder=self.folder)
        with open(os.path.join(self.folder, 'log'), 'ab') as log:
            self.process = subprocess.Popen(['nsenter', '--net=/run/netns/' + host.namespace, 'unshare', '--mount', 'sh', '-c', script],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=dict(os.environ, LIBVIRT_DRIVER_DIR=drivers))
        try:
            hosts.wait_for(f'libvirtd of {host.name}', self.answers, 30)
            self.virsh('net-define', bed.write('lan.xml', NETWORK.format(bridge=bridge)))
            self.virsh('net-start', 'lan')
        except BaseException:
            self.close()
            raise

    def virsh(self, *arguments):
        return hosts.run('virsh', '-c', self.uri, *arguments, seconds=20)

    def answers(self):
        if self.process.poll() is not None:
            with open(os.path.join(self.folder, 'log'), encoding='utf-8') as log:
                raise hosts.BedError('libvirtd ended: ' + log.read()[-2000:])
        try:
            return self.virsh('uri')
        except hosts.CommandError:
            return None

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Networks(case.LiveCase):
    MEMORY_MIB = 256
    FILL_MIB = 32
    XML = {'devices': "<interface type='network'><source network='lan'/><model type='virtio'/></interface>"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemons = {}
        for host, bridge in ((cls.bed.alpha, 'lanbr0'), (cls.bed.beta, 'otherbr0')):
            cls.daemons[host] = NetworkDaemon(cls.bed, host, bridge)
            cls.addClassCleanup(cls.daemons[host].close)
            host.stop()
            host.start()

    def setUp(self):
        super().setUp()
        self.alpha, self.beta = self.bed.alpha, self.bed.beta

    def source(self, host, *options):
        return re.search(r"<interface type='network'>.*?(<source .*?/>)", host.virsh('dumpxml', *options, self.NAME), re.S)[1]

    def ports(self, host):
        return hosts.run('ip', '-n', host.namespace, '-o', 'link', 'show', 'master', self.daemons[host].bridge)

    def test_moves_to_the_bridge_of_the_same_network(self):
        self.guest_on(self.alpha)
        self.assertEqual(self.source(self.alpha), "<source network='lan' bridge='lanbr0'/>")
        self.assertEqual(self.source(self.alpha, '--inactive'), "<source network='lan'/>")
        self.assertIn('lan', self.alpha.virsh('domiflist', self.NAME))
        self.assertIn('vnet', self.ports(self.alpha))
        self.migrate(self.alpha, self.beta)
        self.assert_settled(self.beta)
        self.assertEqual(self.source(self.beta), "<source network='lan' bridge='otherbr0'/>")
        self.assertIn('vnet', self.ports(self.beta))
        self.assertEqual(self.ports(self.alpha).strip(), '')

    def test_xml_of_a_running_libvirt_guest(self):
        """What libvirt's own dumpxml writes is accepted; what it keeps for itself is not kept."""
        live = "<interface type='network'><source network='lan' portid='0d4e9b2c-91e9-4a3c-8e0c-0d4b5e6f7a80' bridge='virbr0'/></interface>"
        self.remove_guest()
        self.alpha.virsh('define', self.bed.write('live.xml', self.xml(devices=live)))
        self.assertEqual(self.source(self.alpha), "<source network='lan'/>")
        self.alpha.virsh('undefine', self.NAME)

    def refused(self, *patterns):
        self.assert_reads(self.alpha.refused('create', self.bed.write('bad.xml', self.xml(name='bad'))), *patterns)
        self.assertEqual(self.alpha.virsh('list', '--all', '--name'), '')

    def test_not_active(self):
        self.remove_guest()
        daemon = self.daemons[self.alpha]
        daemon.virsh('net-destroy', 'lan')
        self.addCleanup(daemon.virsh, 'net-start', 'lan')
        self.refused("network 'lan' is not active", 'net-start lan')

    def test_missing(self):
        self.remove_guest()
        devices = self.XML['devices'].replace('lan', 'moon')
        output = self.alpha.refused('create', self.bed.write('bad.xml', self.xml(name='bad', devices=devices)))
        self.assert_reads(output, "no network 'moon' on this host")

    def test_nobody_answers(self):
        self.guest_on(self.alpha)
        self.daemons[self.beta].close()
        try:
            code, output = self.migrate_end(self.migrate_start(self.alpha, self.beta))
            self.assertNotEqual(code, 0)
            self.assert_reads(output, "network 'lan' cannot be looked up", 'does not answer')
            self.assert_settled(self.alpha)
        finally:
            shutil.rmtree(self.daemons[self.beta].folder)
            hosts.run('ip', '-n', self.beta.namespace, 'link', 'del', self.daemons[self.beta].bridge)
            self.daemons[self.beta] = NetworkDaemon(self.bed, self.beta, 'otherbr0')
            type(self).addClassCleanup(self.daemons[self.beta].close)


if __name__ == '__main__':
    if not os.path.exists(LIBVIRTD):
        print(f'skipped: needs {LIBVIRTD} (package libvirt-daemon)')
        sys.exit(77)
    case.main()

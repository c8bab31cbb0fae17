#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The D-Bus front end, with real buses: python's dbus module, busctl, gdbus, and virsh that watches the same."""

import contextlib
import json
import os
import pty
import pwd
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest
import xml.etree.ElementTree as ElementTree

import case
import host as hosts

try:
    import dbus
    import dbus.mainloop.glib
    from gi.repository import GLib
except ImportError as error:
    print(f'skipped: {error}')
    sys.exit(77)

NAME = 'org.virtferry'
ROOT = '/org/virtferry'
CONNECT = 'org.libvirt.Connect'
DOMAIN = 'org.libvirt.Domain'
FERRY = 'org.virtferry.Domain1'
MIGRATION = 'org.virtferry.Migration1'
PROPERTIES = 'org.freedesktop.DBus.Properties'
MANAGER = 'org.freedesktop.DBus.ObjectManager'
DENIED = 'org.freedesktop.DBus.Error.AccessDenied'
SOURCE = os.path.join(hosts.HERE, '../..')
USEC_PER_MSEC = 1000

BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.PolicyKit1"/>
  </policy>
  <policy user="polkitd">
    <allow own="org.freedesktop.PolicyKit1"/>
  </policy>
  <policy user="root">
    <allow own="org.freedesktop.PolicyKit1"/>
    <allow send_destination="org.freedesktop.PolicyKit1"/>
  </policy>
  <include>{policy}</include>
</busconfig>
"""


class MessageBus:
    """A dbus-daemon of our own, with a connection to it."""

    def __init__(self, folder, name, system=False):
        self.path = os.path.join(folder, name + '.bus')
        self.address = 'unix:path=' + self.path
        self.system = system
        self.process = None
        self._connection = None
        self.config = os.path.join(folder, name + '.conf')
        if system:
            with open(self.config, 'w', encoding='utf-8') as out:
                out.write(BUS_CONFIG.format(path=self.path, policy=os.path.join(SOURCE, 'daemon/dbus/org.virtferry.conf')))
        self.start()

    def start(self):
        how = ['--config-file=' + self.config] if self.system else ['--session', '--address=' + self.address]
        self.process = subprocess.Popen(['dbus-daemon', '--nofork', '--nopidfile', '--nosyslog', *how], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        hosts.wait_for('the bus', self._answers, 10)

    def _answers(self):
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.connect(self.path)
            return True
        return False

    def stop(self):
        if self._connection is not None:
            with contextlib.suppress(dbus.DBusException):
                self._connection.close()
            self._connection = None
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    @property
    def environment(self):
        return {'DBUS_SYSTEM_BUS_ADDRESS' if self.system else 'DBUS_SESSION_BUS_ADDRESS': self.address}

    def connection(self):
        if self._connection is None:
            self._connection = self.connect()
        return self._connection

    def connect(self):
        connection = dbus.bus.BusConnection(self.address)
        connection.set_exit_on_disconnect(False)
        return connection

    def wait_name(self):
        hosts.wait_for('the name on the bus', lambda: self.connection().name_has_owner(NAME), 20)

    def call(self, path, interface, method, *arguments, connection=None, **options):
        proxy = (connection or self.connection()).get_object(NAME, path, introspect=False)
        return getattr(proxy, method)(*arguments, dbus_interface=interface, **options)

    def get(self, path, interface, name):
        return self.call(path, PROPERTIES, 'Get', interface, name)

    def all(self, path, interface):
        return self.call(path, PROPERTIES, 'GetAll', interface)

    def busctl(self, *arguments):
        """Runs busctl; returns what it writes."""
        return hosts.run('busctl', '--address=' + self.address, *arguments, seconds=30)


class DeafClient:
    """A connection that reads only when it is told to, which no library does."""

    def __init__(self, path):
        self.serial = 0
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(path)
        self.socket.sendall(b'\0AUTH EXTERNAL ' + str(os.getuid()).encode().hex().encode() + b'\r\n')
        self.socket.recv(4096)
        self.socket.sendall(b'BEGIN\r\n')

    def __enter__(self):
        return self

    def __exit__(self, *arguments):
        self.socket.close()

    @staticmethod
    def _field(code, signature, text):
        data = struct.pack('<BB2sI', code, 1, signature + b'\0', len(text)) + text.encode() + b'\0'
        return data + b'\0' * (-len(data) % 8)

    def call(self, destination, path, interface, member, times=1):
        """Sends calls without arguments, little-endian."""
        last = self._field(6, b's', destination)
        fields = self._field(1, b'o', path) + self._field(2, b's', interface) + self._field(3, b's', member) + last
        used = len(fields) - len(last) + len(last.rstrip(b'\0')) + 1  # padding after the last one does not count
        for _ in range(times):
            self.serial += 1
            self.socket.sendall(struct.pack('<BBBBIII', ord('l'), 1, 0, 1, 0, self.serial, used) + fields)

    def hello(self):
        """Returns the connection's unique name."""
        self.call('org.freedesktop.DBus', '/org/freedesktop/DBus', 'org.freedesktop.DBus', 'Hello')
        data = b''
        while (name := re.search(rb'(:1\.\d+)\0.*NameAcquired', data, re.DOTALL)) is None:
            data += self.socket.recv(4096)
        return name[1].decode()

    def drain(self):
        """Reads until nothing comes any more."""
        self.socket.settimeout(2)
        with contextlib.suppress(TimeoutError):
            while self.socket.recv(1 << 20):
                pass
        self.socket.settimeout(20)

    def answered(self, *what):
        self.call(*what)
        data = b''
        while b'</capabilities>' not in data:
            data += self.socket.recv(1 << 20)
        return True


class Signals:
    """Collects signals of the daemon on a connection of its own."""

    _loop = None

    def __init__(self, bus):
        if Signals._loop is None:
            dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
            Signals._loop = GLib.MainLoop()
            threading.Thread(target=Signals._loop.run, daemon=True).start()
        self.seen = []
        self._connection = dbus.bus.BusConnection(bus.address, mainloop=dbus.mainloop.glib.DBusGMainLoop())
        self._connection.set_exit_on_disconnect(False)
        self._connection.add_signal_receiver(self._on_signal, bus_name=NAME, path_keyword='path', interface_keyword='interface',
                                             member_keyword='member')
        # On a system bus signals go to those who have shown that they may look.
        self._connection.get_object(NAME, ROOT, introspect=False).ListDomains(dbus.UInt32(0), dbus_interface=CONNECT)

    def _on_signal(self, *arguments, path, interface, member):
        self.seen.append((str(path), str(interface), str(member), arguments))

    def of(self, member, path=None):
        return [arguments for where, _, what, arguments in list(self.seen) if what == member and path in (None, where)]

    def wait(self, member, path=None, seconds=30, check=lambda *arguments: True):
        return hosts.wait_for(f'signal {member}', lambda: [a for a in self.of(member, path) if check(*a)], seconds)[0]

    def close(self):
        self._connection.close()


def domain_path(identity):
    return f'{ROOT}/domain/_{identity.replace("-", "_")}'


class DbusCase(case.LiveCase):
    """Both hosts on buses of their own, as sessions."""

    @classmethod
    def setUpClass(cls):
        case.Events.register_loop()
        cls.bed = hosts.Bed()
        cls.addClassCleanup(cls.bed.close)
        cls.control = cls.bed.control
        cls.buses = {}
        for host in cls.bed.hosts:
            bus = MessageBus(cls.bed.folder, host.name)
            cls.addClassCleanup(bus.stop)
            cls.buses[host.name] = bus
            with open(os.path.join(host.root, 'etc/libvirt/virtferryd.conf'), 'a', encoding='utf-8') as config:
                config.write('dbus = "session"\n')
            host.start(environment=bus.environment)
            bus.wait_name()
        cls.clean = None

    def bus(self, host):
        return self.buses[host.name]

    def domain(self, host):
        return self.bus(host).call(ROOT, CONNECT, 'DomainLookupByName', self.NAME)

    def signals(self, host):
        signals = Signals(self.bus(host))
        self.addCleanup(signals.close)
        return signals

    def refused(self, name, pattern, function, *arguments, **options):
        with self.assertRaises(dbus.DBusException) as caught:
            function(*arguments, **options)
        self.assertEqual(caught.exception.get_dbus_name(), name, caught.exception)
        self.assertRegex(caught.exception.get_dbus_message(), pattern)


class Objects(DbusCase):
    """What is there, and what it says."""

    FILL_MIB = 64
    SPARSE_MIB = 0

    def test_connect(self):
        host, bus = self.bed.alpha, self.bus(self.bed.alpha)
        self.assertEqual(bus.get(ROOT, CONNECT, 'Hostname'), 'alpha')
        self.assertIn(str(bus.get(ROOT, CONNECT, 'Version') // 1000000), host.virsh('version'))
        self.assertEqual(bus.get(ROOT, CONNECT, 'Encrypted'), False)
        self.assertEqual(bus.call(ROOT, CONNECT, 'GetCapabilities').strip(), host.virsh('capabilities'))
        self.assertIn('<domainCapabilities>', bus.call(ROOT, CONNECT, 'GetDomainCapabilities', '', '', '', '', dbus.UInt32(0)))
        self.assertIn('qemu64', bus.call(ROOT, CONNECT, 'GetCPUModelNames', 'x86_64', dbus.UInt32(0)))
        self.assertEqual(len(bus.call(ROOT, CONNECT, 'NodeGetCPUMap', dbus.UInt32(0))), os.cpu_count())
        self.assertGreater(bus.call(ROOT, CONNECT, 'NodeGetFreeMemory'), 0)
        self.assertIn('total', bus.call(ROOT, CONNECT, 'NodeGetMemoryStats', -1, dbus.UInt32(0)))

    def test_life(self):
        """A domain from its definition to its end, over D-Bus; virsh and the signals agree."""
        host, bus = self.bed.alpha, self.bus(self.bed.alpha)
        signals = self.signals(host)
        self.remove_guest()
        path = bus.call(ROOT, CONNECT, 'DomainDefineXML', self.xml(name='other', memory_mib=128))
        self.assertEqual(host.state('other'), 'shut off')
        self.assertEqual(path, domain_path(host.virsh('domuuid', 'other')))
        added, interfaces = signals.wait('InterfacesAdded')
        self.assertEqual((added, interfaces[DOMAIN]['Name'], interfaces[DOMAIN]['Active']), (path, 'other', False))
        self.assertEqual(bus.call(ROOT, CONNECT, 'ListDomains', dbus.UInt32(0)), [path])
        bus.call(path, DOMAIN, 'Create', dbus.UInt32(1))  # paused
        self.assertEqual(host.state('other'), 'paused')
        bus.call(path, DOMAIN, 'Resume')
        self.assertEqual(bus.call(path, DOMAIN, 'GetState', dbus.UInt32(0))[0], 1)
        self.assertEqual(bus.get(path, DOMAIN, 'Active'), True)
        self.assertEqual(bus.call(ROOT, CONNECT, 'DomainLookupByID', dbus.Int32(int(bus.get(path, DOMAIN, 'Id')))), path)
        self.assertEqual(bus.call(ROOT, CONNECT, 'DomainLookupByUUID', str(bus.get(path, DOMAIN, 'UUID'))), path)
        # Whole definitions differ only where virsh formats.
        ours = bus.call(path, DOMAIN, 'GetXMLDesc', dbus.UInt32(0))
        self.assertEqual(ours.strip(), host.virsh('dumpxml', 'other'))
        bus.call(path, PROPERTIES, 'Set', DOMAIN, 'Autostart', dbus.Boolean(True, variant_level=1))
        self.assertRegex(host.virsh('dominfo', 'other'), 'Autostart: +enable')
        # As in libvirt-dbus values stand in two variants.
        stats = bus.call(path, DOMAIN, 'GetStats', dbus.UInt32(0), dbus.UInt32(0))
        self.assertEqual((stats['state.state'], stats['state.state'].variant_level), (1, 2))
        records = bus.call(ROOT, CONNECT, 'GetAllDomainStats', dbus.UInt32(0), dbus.UInt32(0))
        self.assertEqual(records[0][0], 'other')
        self.assertEqual(bus.call(path, DOMAIN, 'GetVcpus', dbus.UInt32(0)), 1)
        self.assertEqual(len(bus.call(path, DOMAIN, 'GetVcpuPinInfo', dbus.UInt32(0))[0]), os.cpu_count())
        self.assertGreater(bus.call(path, DOMAIN, 'MemoryStats', dbus.UInt32(0))[7], 0)  # VIR_DOMAIN_MEMORY_STAT_RSS
        self.assertEqual(bus.call(path, DOMAIN, 'GetJobInfo')[0], 0)
        bus.call(path, DOMAIN, 'Suspend')
        bus.call(path, DOMAIN, 'ManagedSave', dbus.UInt32(0), timeout=60)
        self.assertEqual((host.state('other'), bus.call(path, DOMAIN, 'HasManagedSaveImage', dbus.UInt32(0))), ('shut off', True))
        bus.call(path, DOMAIN, 'ManagedSaveRemove', dbus.UInt32(0))
        bus.call(path, DOMAIN, 'Create', dbus.UInt32(0))
        image = os.path.join(self.bed.folder, 'image')
        bus.call(path, DOMAIN, 'Save', image, '', dbus.UInt32(0), timeout=60)
        self.assertIn('<name>other</name>', bus.call(ROOT, CONNECT, 'DomainSaveImageGetXMLDesc', image, dbus.UInt32(0)))
        bus.call(ROOT, CONNECT, 'DomainRestore', image, '', dbus.UInt32(0), timeout=60)
        self.assertEqual(host.state('other'), 'running')
        bus.call(path, DOMAIN, 'Destroy', dbus.UInt32(0))
        bus.call(path, DOMAIN, 'Undefine', dbus.UInt32(0))
        self.assertEqual(signals.wait('InterfacesRemoved')[0], path)
        events = [tuple(map(int, arguments[1:])) for arguments in signals.of('DomainEvent')]
        for event in ((0, 0), (2, 0), (4, 0), (3, 0), (5, 1), (1, 0)):  # defined, started, resumed, suspended, stopped, undefined
            self.assertIn(event, events)
        self.refused('org.libvirt.Error', '^Domain not found: no domain with matching uuid', bus.get, path, DOMAIN, 'Name')

    def test_errors(self):
        bus = self.bus(self.bed.alpha)
        unknown = 'org.freedesktop.DBus.Error.Unknown'
        self.refused('org.libvirt.Error', "Domain not found: .*'nothing'", bus.call, ROOT, CONNECT, 'DomainLookupByName', 'nothing')
        self.refused('org.libvirt.Error', 'XML error', bus.call, ROOT, CONNECT, 'DomainDefineXML', '<domain/>')
        self.refused('org.libvirt.Error', 'unsupported flags', bus.call, ROOT, CONNECT, 'ListDomains', dbus.UInt32(1 << 30))
        self.refused('org.freedesktop.DBus.Error.InvalidArgs', "'u', not 's'", bus.call, ROOT, CONNECT, 'ListDomains', 'x')
        self.refused(unknown + 'Method', 'Nothing', bus.call, ROOT, CONNECT, 'Nothing')
        self.refused(unknown + 'Interface', 'org.none', bus.call, ROOT, 'org.none', 'Nothing')
        self.refused(unknown + 'Object', '/x', bus.call, ROOT + '/x', CONNECT, 'Nothing')
        self.refused(unknown + 'Property', 'Nothing', bus.get, ROOT, CONNECT, 'Nothing')
        self.refused('org.freedesktop.DBus.Error.PropertyReadOnly', 'Hostname', bus.call, ROOT, PROPERTIES, 'Set', CONNECT, 'Hostname',
                     dbus.String('x', variant_level=1))
        self.refused('org.libvirt.Error', 'no migration job 77', bus.get, ROOT + '/job/77', MIGRATION, 'Phase')

    def test_introspection(self):
        """What runs is what is shipped, and what other clients make of it."""
        host, bus = self.bed.alpha, self.bus(self.bed.alpha)
        self.remove_guest()
        path = bus.call(ROOT, CONNECT, 'DomainDefineXML', self.xml(name='other'))
        for place, names in ((ROOT, [CONNECT]), (path, [DOMAIN, FERRY])):
            served = ElementTree.fromstring(bus.call(place, 'org.freedesktop.DBus.Introspectable', 'Introspect'))
            for name in names:
                shipped = ElementTree.parse(os.path.join(SOURCE, f'daemon/dbus/interfaces/{name}.xml')).getroot()
                ours = served.find(f"interface[@name='{name}']")
                self.assertEqual(ElementTree.tostring(ours).strip(), ElementTree.tostring(shipped.find('interface')).strip())
        self.assertIn(path, bus.busctl('--list', 'tree', NAME).split())
        self.assertIn('.GetXMLDesc', bus.busctl('introspect', NAME, path))
        output = hosts.run('gdbus', 'introspect', '--address', bus.address, '--dest', NAME, '--object-path', ROOT, '--recurse')
        self.assertIn('DomainLookupByName', output)
        self.assertIn("Name = 'other'", output)
        objects = bus.call(ROOT, MANAGER, 'GetManagedObjects')
        self.assertEqual(objects[path][DOMAIN]['Name'], 'other')
        host.virsh('undefine', 'other')

    def test_many_calls(self):
        """A caller that asks without waiting is served up to its quota, and does not keep others waiting."""
        bus = self.bus(self.bed.alpha)
        greedy = bus.connect()
        self.addCleanup(greedy.close)
        for _ in range(500):
            message = dbus.lowlevel.MethodCallMessage(NAME, ROOT, CONNECT, 'GetCapabilities')
            greedy.send_message(message)
        greedy.flush()
        for _ in range(20):
            self.assertEqual(bus.get(ROOT, CONNECT, 'Hostname'), 'alpha')

    def unread(self, name):
        """Bytes that wait in the bus for a connection."""
        server = self.bus(self.bed.alpha).connection().get_object('org.freedesktop.DBus', '/org/freedesktop/DBus', introspect=False)
        return int(server.GetConnectionStats(name, dbus_interface='org.freedesktop.DBus.Debug.Stats')['OutgoingBytes'])

    def test_deaf(self):
        """A caller that never reads is not answered without end, keeps nobody waiting, and is served again once it reads."""
        bus = self.bus(self.bed.alpha)
        with DeafClient(bus.path) as deaf:
            name = deaf.hello()
            deadline = time.monotonic() + 60
            while self.unread(name) < 4 << 20:
                self.assertLess(time.monotonic(), deadline, f'only {self.unread(name)} bytes wait')
                deaf.call(NAME, ROOT, 'org.freedesktop.DBus.Introspectable', 'Introspect', 20)
                bus.get(ROOT, CONNECT, 'Hostname')
            for _ in range(100):
                deaf.call(NAME, ROOT, 'org.freedesktop.DBus.Introspectable', 'Introspect', 20)
                self.assertEqual(bus.get(ROOT, CONNECT, 'Hostname'), 'alpha')
            self.assertLess(self.unread(name), 8 << 20)
            self.assertIn(f'D-Bus client {name} does not read', self.bed.log('alpha'))
            deaf.drain()
            self.assertTrue(deaf.answered(NAME, ROOT, CONNECT, 'GetCapabilities'))
        self.assertEqual(bus.get(ROOT, CONNECT, 'Hostname'), 'alpha')

    def test_without_bus(self):
        """The daemon goes on without its bus, and is there when one comes."""
        host, bus = self.bed.alpha, self.bus(self.bed.alpha)
        bus.stop()
        self.assertEqual(host.virsh('hostname'), 'alpha')
        bus.start()
        bus.wait_name()
        self.assertEqual(bus.get(ROOT, CONNECT, 'Hostname'), 'alpha')


class Migrations(DbusCase):
    """Two hosts, and nothing but D-Bus that moves the guest; virsh watches."""

    def start(self, host, options=None, path=None):
        """Starts a migration to the other host; returns the job's path."""
        other = self.bed.other(host)
        values = {'migrate_uri': f'tcp://{other.address}', **(options or {})}
        return self.bus(host).call(path or self.domain(host), FERRY, 'Migrate', other.peer_uri, dbus.Dictionary(values, signature='sv'))

    def wait_phase(self, host, job, *phases, seconds=30):
        return hosts.wait_for(f'phase {phases}', lambda: self.bus(host).get(job, MIGRATION, 'Phase') in phases, seconds)

    def test_steered(self):
        """Slowly at first; looked at, paused, resumed, tuned; then it ends well on both buses."""
        alpha, beta = self.bed.alpha, self.bed.beta
        self.guest_on(alpha)
        signals, arriving = self.signals(alpha), self.signals(beta)
        bus = self.bus(alpha)
        job = self.start(alpha, {'bandwidth': dbus.UInt64(8)})
        self.assertEqual(bus.get(job, MIGRATION, 'Direction'), 'out')
        self.assertEqual(bus.get(job, MIGRATION, 'Domain'), self.domain(alpha))
        self.wait_phase(alpha, job, 'precopy')
        hosts.wait_for('data', lambda: bus.get(job, MIGRATION, 'TransferredBytes') > 0, 20)
        self.assertEqual(alpha.job(self.NAME).get('operation'), 5)
        self.assertIn('Unbounded', alpha.virsh('domjobinfo', self.NAME))
        self.assertEqual(bus.get(job, MIGRATION, 'BandwidthLimit'), 8 << 20)
        properties = bus.all(job, MIGRATION)
        self.assertEqual((properties['Outcome'], properties['Peer']), ('running', beta.peer_uri))
        self.assertGreater(properties['Pending']['total'], 0)
        bus.call(job, MIGRATION, 'Pause')
        self.assertTrue(bus.get(job, MIGRATION, 'Paused'))
        self.refused('org.libvirt.Error', 'paused already', bus.call, job, MIGRATION, 'Pause')
        signals.wait('PropertiesChanged', job, check=lambda _, changed, __: changed['Paused'])
        bus.call(job, MIGRATION, 'SetMaxDowntime', dbus.UInt64(500))
        self.assertEqual(alpha.virsh('migrate-getmaxdowntime', self.NAME), '500')
        bus.call(job, MIGRATION, 'Resume')
        self.refused('org.libvirt.Error', 'nonsense', bus.call, job, MIGRATION, 'SetPolicy', 'nonsense')
        bus.call(job, MIGRATION, 'SetPolicy', 'never-throttle')
        self.assertEqual(bus.get(job, MIGRATION, 'Policy'), 'never-throttle')
        self.refused('org.libvirt.Error', 'migrating already', self.start, alpha)
        bus.call(job, MIGRATION, 'SetBandwidth', dbus.UInt64(0))
        completed = signals.wait('Completed', job, 60)
        self.assertEqual((completed[0], completed[1]), (True, ''))
        self.assert_settled(beta)
        self.assertTrue(signals.of('Iteration', job))
        self.assertEqual(signals.of('Decision', job)[-1][0], 'stop-and-copy')
        changed = [arguments[1] for arguments in signals.of('PropertiesChanged', job)]
        self.assertEqual(changed[-1]['Outcome'], 'completed')
        final = bus.all(job, MIGRATION)
        self.assertEqual((final['Phase'], final['Pending']['total'], final['Error']), ('completed', 0, ''))
        self.assertGreater(final['Blackout'], USEC_PER_MSEC)
        self.assertLess(final['Blackout'], 5000 * USEC_PER_MSEC)
        self.assertTrue(arriving.wait('Completed')[0])
        self.refused('org.libvirt.Error', 'has ended', bus.call, job, MIGRATION, 'Cancel')
        self.assertEqual(bus.call(ROOT, MANAGER, 'GetManagedObjects')[job][MIGRATION]['Outcome'], 'completed')
        incoming = [path for path in self.bus(beta).call(ROOT, MANAGER, 'GetManagedObjects') if '/job/' in path]
        self.assertEqual(self.bus(beta).get(incoming[-1], MIGRATION, 'Direction'), 'in')

    def watch(self, host, *options, **arguments):
        """Starts virt-ferry watch."""
        process = subprocess.Popen([os.path.join(hosts.BUILD, 'tools/virt-ferry/virt-ferry'), 'watch', '--session', '--wait', *options],
                                   stdin=subprocess.DEVNULL, env={**os.environ, **self.bus(host).environment}, **arguments)
        self.addCleanup(lambda: (process.kill(), process.wait()))
        return process

    def test_postcopy(self):
        """The guest is switched over while most of its memory is still here, by a call; virsh and virt-ferry watch the same job."""
        alpha, beta = self.bed.alpha, self.bed.beta
        self.guest_on(alpha)
        bus, signals, arriving = self.bus(alpha), self.signals(alpha), self.signals(beta)
        master, slave = pty.openpty()
        lines, objects = (self.watch(alpha, *options, stdout=subprocess.PIPE, text=True) for options in ((), ('--json',)))
        screen = self.watch(alpha, stdout=slave)
        os.close(slave)
        for process in (lines, objects):
            self.addCleanup(process.stdout.close)
        # 8 MiB/s for more than 128 MiB: precopy cannot be over before the call comes.
        job = self.start(alpha, {'bandwidth': dbus.UInt64(8), 'postcopy': True})
        hosts.wait_for('data', lambda: bus.get(job, MIGRATION, 'TransferredBytes') > 0, 20)
        self.assertIn('Unbounded', alpha.virsh('domjobinfo', self.NAME))
        self.assertGreater(bus.get(job, MIGRATION, 'Pending')['total'], 64 << 20)
        bus.call(job, MIGRATION, 'StartPostcopy')
        self.assertEqual(signals.wait('Decision', job, check=lambda decision, *_: decision == 'postcopy')[0], 'postcopy')
        completed = signals.wait('Completed', job, 60)
        self.assertEqual((completed[0], completed[1]), (True, ''))
        self.assertTrue(arriving.wait('Completed')[0])
        self.assert_settled(beta)
        incoming = [path for path in self.bus(beta).call(ROOT, MANAGER, 'GetManagedObjects') if '/job/' in path][-1]
        final = self.bus(beta).all(incoming, MIGRATION)
        self.assertGreater(final['Faults'], 0)
        self.assertEqual(final['PageStates']['stale'] + final['PageStates']['inflight'], 0)
        self.assertGreater(sum(final['FaultHistogram']), 0)
        printed = lines.communicate(timeout=20)[0].splitlines()
        self.assertRegex(printed[-1], 'guest out: completed after .* the guest stood still for')
        self.assertTrue([line for line in printed if 'precopy' in line and '%' in line], printed)
        last = json.loads(objects.communicate(timeout=20)[0].splitlines()[-1])
        self.assertEqual((last['Outcome'], last['Percent'], last['DomainName']), ('completed', 100, self.NAME))
        screen.wait(20)
        shown = os.read(master, 1 << 20).decode(errors='replace')
        os.close(master)
        self.assertIn('1 migration running.', shown)
        self.assertRegex(shown, r'guest +out precopy +\[')

    def test_cancel(self):
        alpha = self.guest_on(self.bed.alpha)
        signals, bus = self.signals(alpha), self.bus(alpha)
        job = self.start(alpha, {'bandwidth': dbus.UInt64(4)})
        self.wait_phase(alpha, job, 'precopy')
        bus.call(job, MIGRATION, 'Cancel')
        completed = signals.wait('Completed', job)
        self.assertFalse(completed[0])
        self.assertIn('aborted', completed[1])
        self.assert_settled(alpha)
        self.assert_nothing_left()
        self.assertEqual(bus.get(job, MIGRATION, 'ErrorCode'), 78)

    def test_unreachable(self):
        """A destination that is not there: the job fails by itself, before anything has begun."""
        alpha = self.guest_on(self.bed.alpha)
        bus, signals = self.bus(alpha), self.signals(alpha)
        options = dbus.Dictionary({}, signature='sv')
        job = bus.call(self.domain(alpha), FERRY, 'Migrate', 'ferry+unix:///system?socket=/nonexistent', options)
        completed = signals.wait('Completed', job)
        self.assertFalse(completed[0])
        self.assertIn('/nonexistent', completed[1])
        for name, value, words in (('nothing', 'x', 'nothing'), ('bandwidth', dbus.ObjectPath('/'), 'type'), ('flags', dbus.UInt32(1 << 31), 'flag')):
            options = dbus.Dictionary({name: value}, signature='sv')
            self.refused('org.libvirt.Error', words, bus.call, self.domain(alpha), FERRY, 'Migrate', 'ferry:///', options)
        self.assert_settled(alpha)

    def test_vanished(self):
        """MigrateToURI3 waits, and its caller takes it along; what Domain1.Migrate has begun goes on."""
        alpha, beta = self.bed.alpha, self.bed.beta
        self.guest_on(alpha)
        bus, path = self.bus(alpha), self.domain(alpha)
        caller = subprocess.Popen(['busctl', '--address=' + bus.address, '--timeout=100', 'call', NAME, path, DOMAIN, 'MigrateToURI3', 'sa{sv}u',
                                   beta.peer_uri, '2', 'bandwidth', 't', '4', 'migrate_uri', 's', f'tcp://{beta.address}', '3'])
        hosts.wait_for('precopy', lambda: alpha.job(self.NAME).get('memory_processed', 0) > 0, 30)
        self.assertEqual(bus.get(path, DOMAIN, 'Active'), True)  # a call that waits keeps nobody waiting
        caller.send_signal(signal.SIGKILL)
        caller.wait()
        self.assert_settled(alpha)
        self.assert_nothing_left()
        output = bus.busctl('call', NAME, path, FERRY, 'Migrate', 'sa{sv}', beta.peer_uri, '1', 'migrate_uri', 's', f'tcp://{beta.address}')
        job = re.search('"(.*)"', output)[1]
        self.wait_phase(alpha, job, 'completed', seconds=60)
        self.assert_settled(beta)


POLKIT_RULES = """
polkit.addRule(function(action, subject) {
    var granted = { "games": ["monitor"], "mail": ["monitor", "migrate"], "backup": ["monitor", "migrate", "manage"] };
    if (action.id.indexOf("org.virtferry.") == 0 && subject.user in granted)
        return granted[subject.user].indexOf(action.id.slice(14)) >= 0 ? polkit.Result.YES : polkit.Result.NO;
});
"""


def as_user(name):
    """The beginning of a command that runs as another user."""
    user = pwd.getpwnam(name)
    return ['setpriv', '--reuid', str(user.pw_uid), '--regid', str(user.pw_gid), '--clear-groups', '--']


POLKITD = '/usr/lib/polkit-1/polkitd'


@unittest.skipUnless(os.path.exists(POLKITD), f'needs {POLKITD}')
class Rights(unittest.TestCase):
    """A system bus with a real polkitd: root, users with rights, and one without."""

    @classmethod
    def setUpClass(cls):
        cls.bed = hosts.Bed()
        cls.addClassCleanup(cls.bed.close)
        cls.bus = MessageBus(cls.bed.folder, 'system', system=True)
        cls.addClassCleanup(cls.bus.stop)
        cls.rules = os.path.join(cls.bed.folder, 'rules.d')
        actions = os.path.join(cls.bed.folder, 'actions')
        for folder in (cls.rules, actions):
            os.mkdir(folder)
            os.chmod(folder, 0o755)
        shutil.copy(os.path.join(SOURCE, 'daemon/dbus/org.virtferry.policy'), actions)
        cls.write_rules(POLKIT_RULES)
        script = (f'mount --bind {actions} /usr/share/polkit-1/actions && mount --bind {cls.rules} /etc/polkit-1/rules.d && '
                  f'exec {POLKITD} --no-debug')
        # In a mount namespace of its own it sees our actions and rules only.
        cls.polkitd = subprocess.Popen(['unshare', '--mount', 'sh', '-c', script], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL, env={**os.environ, **cls.bus.environment})
        cls.addClassCleanup(lambda: (cls.polkitd.kill(), cls.polkitd.wait()))
        hosts.wait_for('polkitd', lambda: cls.bus.connection().name_has_owner('org.freedesktop.PolicyKit1'), 20)
        host = cls.bed.alpha
        with open(os.path.join(host.root, 'etc/libvirt/virtferryd.conf'), 'a', encoding='utf-8') as config:
            config.write('dbus = "system"\n')
        host.start(environment=cls.bus.environment)
        cls.bus.wait_name()
        host.virsh('define', cls.bed.write('secret.xml', cls.bed.domain_xml(name='secret')))
        cls.path = domain_path(host.virsh('domuuid', 'secret'))

    @classmethod
    def write_rules(cls, text):
        with open(os.path.join(cls.rules, '10-ferry.rules'), 'w', encoding='utf-8') as out:
            out.write(text)
        os.chmod(os.path.join(cls.rules, '10-ferry.rules'), 0o644)

    def call(self, user, path, interface, method, *arguments):
        """What a user reads, with the exit code's verdict: (allowed, output)."""
        command = [*as_user(user), 'gdbus', 'call', '--address', self.bus.address,
                   '--dest', NAME, '--object-path', path, '--method', f'{interface}.{method}', *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30, check=False)
        return 'AccessDenied' not in done.stdout, done.stdout

    def assert_denied(self, user, path, interface, method, *arguments):
        allowed, output = self.call(user, path, interface, method, *arguments)
        self.assertFalse(allowed, output)
        self.assertNotIn('secret', output)
        self.assertNotIn(self.path[-12:], output)
        return output

    def assert_allowed(self, user, path, interface, method, *arguments):
        allowed, output = self.call(user, path, interface, method, *arguments)
        self.assertTrue(allowed, output)
        return output

    def test_nobody(self):
        """Without a right one reads the same of what exists and of what does not."""
        introspect = ('org.freedesktop.DBus.Introspectable', 'Introspect')
        answers = {self.assert_denied('nobody', path, *call) for path, call in (
            (ROOT, (CONNECT, 'ListDomains', '0')), (ROOT, (CONNECT, 'DomainLookupByName', 'secret')), (ROOT, (CONNECT, 'NoSuchMethod')),
            (ROOT, (MANAGER, 'GetManagedObjects')), (ROOT, introspect), (ROOT + '/domain', introspect), (ROOT + '/job', introspect),
            (self.path, introspect), (self.path, (PROPERTIES, 'GetAll', DOMAIN)), (ROOT + '/nothing', introspect),
            (self.path[:-1] + 'x', (PROPERTIES, 'Get', DOMAIN, 'Name')), (self.path, ('no.such.Interface', 'Method')))}
        self.assertEqual(len(answers), 1, answers)
        for method, arguments in (('Destroy', ['0']), ('Undefine', ['0']), ('Create', ['0'])):
            self.assert_denied('nobody', self.path, DOMAIN, method, *arguments)
        self.assert_denied('nobody', self.path, FERRY, 'Migrate', 'ferry:///system', '{}')
        self.assertEqual(self.bed.alpha.state('secret'), 'shut off')

    def test_monitor(self):
        self.assertIn(self.path, self.assert_allowed('games', ROOT, CONNECT, 'ListDomains', '0'))
        self.assertIn('secret', self.assert_allowed('games', self.path, PROPERTIES, 'Get', DOMAIN, 'Name'))
        self.assertIn('secret', self.assert_allowed('games', self.path, DOMAIN, 'GetXMLDesc', '0'))
        for method, arguments in (('GetXMLDesc', ['1']), ('Create', ['0']), ('AbortJob', []), ('MigrateSetMaxSpeed', ['1', '0'])):
            self.assert_denied('games', self.path, DOMAIN, method, *arguments)
        self.assert_denied('games', self.path, PROPERTIES, 'Set', DOMAIN, 'Autostart', '<true>')
        self.assert_denied('games', ROOT, CONNECT, 'DomainDefineXML', '<domain/>')

    def test_migrate_and_manage(self):
        self.assertIn('not running', self.assert_allowed('mail', self.path, DOMAIN, 'AbortJob'))
        self.assertIn('not running', self.assert_allowed('mail', self.path, FERRY, 'Migrate', 'ferry:///system', '{}'))
        self.assert_denied('mail', self.path, DOMAIN, 'Create', '0')
        self.assert_denied('mail', ROOT, CONNECT, 'DomainDefineXML', '<domain/>')
        self.assert_allowed('backup', self.path, PROPERTIES, 'Set', DOMAIN, 'Autostart', '<true>')
        self.assertIn('XML error', self.assert_allowed('backup', ROOT, CONNECT, 'DomainDefineXML', '<domain/>'))

    def listen(self, user):
        """A process of a user that prints the signals that it gets, after a first call."""
        code = ('import dbus, dbus.mainloop.glib, sys\nfrom gi.repository import GLib\n'
                'dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)\nbus = dbus.bus.BusConnection(sys.argv[1])\n'
                'bus.add_signal_receiver(lambda *a, **k: print(k["member"], a, flush=True), bus_name="org.virtferry", member_keyword="member")\n'
                'try:\n    bus.get_object("org.virtferry", "/org/virtferry", introspect=False).ListDomains(dbus.UInt32(0), '
                'dbus_interface="org.libvirt.Connect")\nexcept dbus.DBusException as error:\n    pass\nprint("ready", flush=True)\n'
                'GLib.MainLoop().run()\n')
        command = [*as_user(user), '/usr/bin/python3', '-c', code, self.bus.address]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.addCleanup(lambda: (process.kill(), process.wait(), process.stdout.close()))
        self.assertEqual(process.stdout.readline(), 'ready\n')
        return process

    def test_signals(self):
        """Signals go to those who may look, also when the rules change, and to nobody else."""
        host = self.bed.alpha
        allowed, denied = self.listen('games'), self.listen('nobody')
        host.virsh('define', self.bed.write('second.xml', self.bed.domain_xml(name='second')))
        self.assertIn('DomainEvent', allowed.stdout.readline())
        self.assertIn('second', allowed.stdout.readline())  # InterfacesAdded
        host.virsh('undefine', 'second')
        self.assertIn('DomainEvent', allowed.stdout.readline())
        self.assertIn('InterfacesRemoved', allowed.stdout.readline())
        self.write_rules(POLKIT_RULES.replace('"games"', '"sync"'))
        self.addCleanup(self.write_rules, POLKIT_RULES)
        hosts.wait_for('the new rules', lambda: not self.call('games', ROOT, CONNECT, 'ListDomains', '0')[0], 20)
        host.virsh('define', self.bed.write('second.xml', self.bed.domain_xml(name='second')))
        host.virsh('undefine', 'second')
        # What a connection gets comes in order: a caller that may look hears of it, so whatever was sent has been sent.
        self.assertEqual(select.select([denied.stdout], [], [], 0)[0], [])
        self.assertEqual(select.select([allowed.stdout], [], [], 1)[0], [])

    def test_root(self):
        """Root is not asked for."""
        self.bus.busctl('call', NAME, ROOT, CONNECT, 'ListDomains', 'u', '0')
        self.assertIn('secret', self.bus.busctl('get-property', NAME, self.path, DOMAIN, 'Name'))


if __name__ == '__main__':
    case.main()

#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The whole daemon with its driver and a real QEMU, through python3-libvirt: test-python.py VIRTFERRYD

The guest has no system in it: firmware that looks for a disk is guest enough for what the daemon does. It runs under
TCG, as any user.
"""

import contextlib
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import unittest
import unittest.mock

SKIP = 77
SECONDS = 20

try:
    import libvirt
except ImportError:
    print('python3-libvirt is not installed')
    sys.exit(SKIP)
if not shutil.which('qemu-system-x86_64'):
    print('qemu-system-x86_64 is not installed')
    sys.exit(SKIP)

GUEST = '''<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices><serial type='pty'/><memballoon model='virtio'/></devices>
</domain>'''
STARTED = [(libvirt.VIR_DOMAIN_EVENT_RESUMED, 0), (libvirt.VIR_DOMAIN_EVENT_STARTED, 0)]
DESTROYED = [(libvirt.VIR_DOMAIN_EVENT_SHUTDOWN, 2), (libvirt.VIR_DOMAIN_EVENT_STOPPED, 1)]


class Daemon:
    """virtferryd in a root of its own, in the background."""

    def __init__(self, config='', options=()):
        self.root = tempfile.mkdtemp(prefix='ferry-python-')
        self.socket = f'{self.root}/run/libvirt/virtferryd-sock'
        self.config = f'{self.root}/virtferryd.conf'
        self.options = options
        self.configure(config)
        self.start()

    def configure(self, text):
        with open(self.config, 'w', encoding='utf-8') as file:
            file.write('hostname = "here"\n' + text)

    def start(self):
        with open(f'{self.root}/log', 'ab') as log:
            subprocess.run([sys.argv[1], '--root', self.root, '--config', self.config, '--daemon', *self.options],
                           stderr=log, timeout=SECONDS, check=True)
        with open(f'{self.root}/run/libvirt/virtferryd.pid', encoding='ascii') as file:
            self.pid = int(file.read())
        self.pidfd = os.pidfd_open(self.pid)

    def wait(self, seconds=SECONDS):
        """Until it has ended."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        if not poll.poll(seconds * 1000):
            raise TimeoutError('the daemon runs on')
        os.close(self.pidfd)
        self.pidfd = -1

    def stop(self, number=signal.SIGTERM):
        signal.pidfd_send_signal(self.pidfd, number)
        self.wait()

    def open(self, uri='ferry:///system'):
        return libvirt.open(f'{uri}?socket={self.socket}')

    def open_read_only(self):
        return libvirt.openReadOnly(f'ferry:///system?socket={self.socket}-ro')

    def raw(self):
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(SECONDS)
        peer.connect(self.socket)
        return peer

    def log(self):
        with open(f'{self.root}/log', encoding='utf-8') as file:
            return file.read()

    def close(self):
        if self.pidfd >= 0:
            self.stop()
        subprocess.run(['umount', f'{self.root}/run/libvirt/ferry/ram'], stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(self.root, ignore_errors=True)


class Events:
    """What a connection hears, with waiting for it."""

    def __init__(self, connection):
        self.heard = []
        self.changed = threading.Condition()
        connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self.lifecycle, None)
        connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, self.reboot, None)

    def add(self, item):
        with self.changed:
            self.heard.append(item)
            self.changed.notify_all()

    def lifecycle(self, _connection, _domain, event, detail, _opaque):
        self.add((event, detail))

    def reboot(self, _connection, _domain, _opaque):
        self.add('reboot')

    def expect(self, items):
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.heard) >= len(items), SECONDS):
                raise TimeoutError(f'heard only {self.heard}')
            if self.heard[:len(items)] != items:
                raise AssertionError(f'{self.heard} instead of {items}')
            del self.heard[:len(items)]


class Python(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=cls.loop, daemon=True).start()

    @staticmethod
    def loop():
        while True:
            libvirt.virEventRunDefaultImpl()

    def daemon(self, *arguments, **options):
        daemon = Daemon(*arguments, **options)
        self.addCleanup(daemon.close)
        self.addCleanup(self.clean, daemon)
        return daemon

    @staticmethod
    def clean(daemon):
        if daemon.pidfd < 0:
            return
        connection = daemon.open()
        for domain in connection.listAllDomains():
            with contextlib.suppress(libvirt.libvirtError):
                domain.destroy()
            with contextlib.suppress(libvirt.libvirtError):
                domain.undefine()
        connection.close()

    def refused(self, code, domain, call, *arguments):
        with self.assertRaises(libvirt.libvirtError) as caught:
            call(*arguments)
        self.assertEqual((caught.exception.get_error_code(), caught.exception.get_error_domain()), (code, domain))
        return str(caught.exception)

    def test_connection(self):
        daemon = self.daemon()
        for uri in ('ferry:///system', 'ferry:///session', 'qemu:///system', 'qemu:///session'):
            connection = daemon.open(uri)
            self.assertEqual(connection.getURI(), f'{uri}?socket={daemon.socket}')
            self.assertEqual(connection.getType(), 'QEMU')
            self.assertEqual(connection.getHostname(), 'here')
            self.assertTrue(connection.isAlive() and connection.isSecure())
            self.assertEqual(connection.close(), 0)
        self.assertIn('ferry:///system and', self.refused(libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_FROM_QEMU,
                                                          daemon.open, 'ferry:///elsewhere'))

    def test_events(self):
        daemon = self.daemon()
        connection = daemon.open()
        events = Events(connection)
        domain = connection.defineXML(GUEST.format(name='vm1'))
        events.expect([(libvirt.VIR_DOMAIN_EVENT_DEFINED, 0)])
        domain.create()
        events.expect(STARTED)
        self.assertEqual(domain.state(), [libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED])
        domain.suspend()
        events.expect([(libvirt.VIR_DOMAIN_EVENT_SUSPENDED, 0)])
        domain.resume()
        events.expect([(libvirt.VIR_DOMAIN_EVENT_RESUMED, 0)])
        domain.reset()
        events.expect(['reboot'])
        domain.destroy()
        events.expect(DESTROYED)
        domain.undefine()
        events.expect([(libvirt.VIR_DOMAIN_EVENT_UNDEFINED, 0)])

    def test_old_and_new_lists(self):
        connection = self.daemon().open()
        connection.defineXML(GUEST.format(name='off'))
        running = connection.createXML(GUEST.format(name='on'))
        self.assertEqual(connection.listDomainsID(), [running.ID()])
        self.assertEqual(connection.listDefinedDomains(), ['off'])
        self.assertEqual((connection.numOfDomains(), connection.numOfDefinedDomains()), (1, 1))
        self.assertEqual(sorted(domain.name() for domain in connection.listAllDomains()), ['off', 'on'])
        self.assertEqual(connection.lookupByID(running.ID()).UUIDString(), running.UUIDString())

    def test_nothing_of_other_daemons(self):
        connection = self.daemon().open()
        for call in ('listAllNetworks', 'listAllStoragePools', 'listAllInterfaces', 'listAllSecrets',
                     'listAllNWFilters', 'listAllDevices', 'listNetworks', 'listDefinedNetworks', 'listStoragePools',
                     'listDefinedStoragePools', 'listInterfaces', 'listSecrets', 'listNWFilters'):
            self.assertEqual(getattr(connection, call)(), [], call)
        self.refused(libvirt.VIR_ERR_NO_NETWORK, libvirt.VIR_FROM_NETWORK, connection.networkLookupByName, 'default')
        self.refused(libvirt.VIR_ERR_NO_STORAGE_POOL, libvirt.VIR_FROM_STORAGE, connection.storagePoolLookupByName, 'x')
        self.refused(libvirt.VIR_ERR_NO_STORAGE_VOL, libvirt.VIR_FROM_STORAGE, connection.storageVolLookupByPath, '/x')
        self.refused(libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_FROM_RPC, connection.networkCreateXML, '<network/>')

    def test_errors(self):
        connection = self.daemon().open()
        text = self.refused(libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_FROM_QEMU, connection.lookupByName, 'nope')
        self.assertEqual(text, "Domain not found: no domain with matching name 'nope'")
        domain = connection.defineXML(GUEST.format(name='vm1'))
        text = self.refused(libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_FROM_QEMU, domain.suspend)
        self.assertTrue(text.startswith('Requested operation is not valid: '), text)
        self.refused(libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_FROM_RPC, domain.snapshotCreateXML, '<domainsnapshot/>')

    def test_read_only(self):
        daemon = self.daemon()
        domain = daemon.open().createXML(GUEST.format(name='vm1'))
        for connection in (daemon.open_read_only(), libvirt.open(f'ferry:///system?socket={daemon.socket}-ro')):
            seen = connection.lookupByName('vm1')
            self.assertEqual(seen.state(), domain.state())
            for call in (seen.destroy, seen.suspend, seen.reset, lambda: connection.defineXML(GUEST.format(name='x'))):
                # The library refuses by itself where it knows; else the daemon does.
                self.refused(libvirt.VIR_ERR_OPERATION_DENIED, unittest.mock.ANY, call)
        self.assertTrue(domain.isActive())

    def test_calls_overlap(self):
        daemon = self.daemon()
        connection = daemon.open()
        domain = connection.createXML(GUEST.format(name='vm1'))
        failures = []

        def work():
            try:
                for _ in range(25):
                    domain.info()
                    domain.state()
                    domain.XMLDesc()
                    domain.memoryStats()
            except libvirt.libvirtError as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])

    def test_many_connections(self):
        daemon = self.daemon()
        connections = [daemon.open() for _ in range(100)]
        self.assertEqual({connection.getHostname() for connection in connections}, {'here'})
        for connection in connections:
            connection.close()

    def test_console_has_one_user(self):
        daemon = self.daemon()
        first, second = daemon.open(), daemon.open()
        first.createXML(GUEST.format(name='vm1'))
        streams = [first.newStream(), second.newStream(), second.newStream()]
        first.lookupByName('vm1').openConsole(None, streams[0])
        self.refused(libvirt.VIR_ERR_OPERATION_FAILED, libvirt.VIR_FROM_QEMU,
                     second.lookupByName('vm1').openConsole, None, streams[1])
        second.lookupByName('vm1').openConsole(None, streams[2], libvirt.VIR_DOMAIN_CONSOLE_FORCE)
        self.refused(libvirt.VIR_ERR_OPERATION_ABORTED, libvirt.VIR_FROM_QEMU, streams[0].recv, 1)
        streams[2].finish()
        again = first.newStream()
        first.lookupByName('vm1').openConsole(None, again)
        again.abort()

    def test_hostile_bytes(self):
        daemon = self.daemon()
        for data in (b'GET / HTTP/1.0\r\n\r\n', b'\0\0\0\1', struct.pack('>I', 0x7fffffff), b'\xff' * 4096):
            with daemon.raw() as peer:
                peer.sendall(data)
                with contextlib.suppress(ConnectionResetError):
                    self.assertEqual(peer.recv(1), b'')
        silent = [daemon.raw() for _ in range(15)]
        self.assertEqual(daemon.open().getHostname(), 'here')
        for peer in silent:
            peer.close()

    def restart(self, number):
        daemon = self.daemon()
        connection = daemon.open()
        connection.defineXML(GUEST.format(name='vm1')).create()
        domain = connection.lookupByName('vm1')
        domain.suspend()
        before = (domain.ID(), domain.state(), domain.XMLDesc())
        daemon.stop(number)
        daemon.start()
        connection = daemon.open()
        events = Events(connection)
        domain = connection.lookupByName('vm1')
        self.assertEqual((domain.ID(), domain.state(), domain.XMLDesc()), before)
        domain.resume()
        events.expect([(libvirt.VIR_DOMAIN_EVENT_RESUMED, 0)])
        domain.destroy()
        events.expect(DESTROYED)

    def test_restart(self):
        self.restart(signal.SIGTERM)

    def test_crash(self):
        self.restart(signal.SIGKILL)

    def test_shutdown_tells_clients(self):
        daemon = self.daemon()
        connection = daemon.open()
        told = threading.Event()
        connection.registerCloseCallback(lambda _connection, _reason, _opaque: told.set(), None)
        daemon.stop()
        self.assertTrue(told.wait(SECONDS))
        self.assertFalse(os.path.exists(daemon.socket))

    def test_timeout(self):
        daemon = self.daemon(options=('--timeout=1',))
        connection = daemon.open()
        domain = connection.createXML(GUEST.format(name='vm1'))
        connection.close()
        with self.assertRaises(TimeoutError):
            daemon.wait(3)  # a guest runs
        del domain
        daemon.open().lookupByName('vm1').destroy()
        daemon.wait()

    def test_session(self):
        """An ordinary user's client finds no daemon and starts ours."""
        home = tempfile.mkdtemp(prefix='ferry-session-')
        self.addCleanup(shutil.rmtree, home, ignore_errors=True)
        words = ['virsh', '-c', 'ferry:///session?mode=direct']
        if os.geteuid() == 0:
            os.chown(home, 65534, 65534)
            user = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']
            if subprocess.run([*user, 'test', '-x', os.path.abspath(sys.argv[1])], check=False).returncode != 0:
                self.skipTest('other users cannot get at the build tree')
            words = user + words
        environment = {'PATH': os.environ['PATH'], 'HOME': home, 'XDG_RUNTIME_DIR': home, 'XDG_CONFIG_HOME': home,
                       'XDG_CACHE_HOME': home, 'VIRTD_PATH': os.path.dirname(os.path.abspath(sys.argv[1]))}

        def virsh(*arguments):
            return subprocess.run([*words, *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=True,
                                  timeout=SECONDS, cwd='/').stdout

        self.assertIn('ferry:///session', virsh('uri'))
        with open(f'{home}/libvirt/virtferryd.pid', encoding='ascii') as file:
            pidfd = os.pidfd_open(int(file.read()))
        self.addCleanup(os.close, pidfd)
        self.addCleanup(signal.pidfd_send_signal, pidfd, signal.SIGTERM)
        guest = f'{home}/guest.xml'
        with open(guest, 'w', encoding='utf-8') as file:
            file.write(GUEST.format(name='mine'))
        os.chmod(guest, 0o644)
        virsh('create', guest)
        self.assertEqual(virsh('list', '--name').split(), ['mine'])
        virsh('destroy', 'mine')

    def test_one_per_root(self):
        daemon = self.daemon()
        second = subprocess.run([sys.argv[1], '--root', daemon.root], capture_output=True, text=True, timeout=SECONDS,
                                check=False)
        self.assertEqual(second.returncode, 1)
        self.assertIn('another virtferryd holds', second.stderr)
        self.assertEqual(daemon.open().getHostname(), 'here')

    def test_configuration(self):
        daemon = self.daemon()
        daemon.stop()
        daemon.configure('max_clienst = 5\n')
        with self.assertRaises(subprocess.CalledProcessError):
            daemon.start()
        self.assertIn(":2: there is no setting 'max_clienst'", daemon.log())

    def test_reload(self):
        daemon = self.daemon('max_clients = 1\n')
        first = daemon.open()
        waiting = daemon.raw()  # in the backlog: there is room for one
        waiting.sendall(struct.pack('>IIIiIII', 28, 0x20008086, 1, 66, 0, 0, 0))
        waiting.setblocking(False)
        with self.assertRaises(BlockingIOError):
            first.getHostname()
            waiting.recv(4)
        daemon.configure('max_clients = 10\n')
        signal.pidfd_send_signal(daemon.pidfd, signal.SIGHUP)
        waiting.settimeout(SECONDS)
        self.assertEqual(len(waiting.recv(4)), 4)
        waiting.close()


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1] + sys.argv[2:], verbosity=2)

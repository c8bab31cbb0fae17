# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two hosts on one machine: network namespaces alpha and beta joined by a veth pair, each with a Ferry daemon that has its own root.

Names carry this process's pid, so several beds can exist side by side, and everything goes away in Bed.close(), whatever happened."""

import contextlib
import os
import re
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '../guest'))

import guest    # noqa: E402
import measure  # noqa: E402
from wait import NotInTime, wait_for  # noqa: E402

BUILD = os.environ.get('FERRY_BUILD_DIR', os.path.join(HERE, '../../build'))
DAEMON = os.environ.get('FERRY_DAEMON', os.path.join(BUILD, 'daemon/virtferryd'))
MIB = 1 << 20


class CommandError(Exception):
    """A command failed; output holds all it wrote."""

    def __init__(self, arguments, code, output):
        super().__init__(f'{" ".join(arguments)}: exit code {code}\n{output}')
        self.output = output


class BedError(Exception):
    """The bed itself cannot be set up, or is not as a test needs it."""


def run(*arguments, check=True, seconds=120):
    """Runs a command without input; returns what it wrote, both streams."""
    done = subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=seconds, check=False, errors='replace')
    if check and done.returncode != 0:
        raise CommandError(arguments, done.returncode, done.stdout)
    return done.stdout


def skip_reason():
    """Why the live tests cannot run here, or None."""
    if os.geteuid() != 0:
        return 'needs root (network namespaces)'
    for tool in ('ip', 'nsenter', 'virsh', 'qemu-system-x86_64'):
        if not shutil.which(tool):
            return f'needs {tool}'
    if not os.path.exists(DAEMON):
        return f'{DAEMON} is not built'
    return None


class Host:
    """One host: a network namespace with a daemon."""

    def __init__(self, bed, name, address):
        self.bed = bed
        self.name = name
        self.address = address
        self.namespace = f'fry{bed.tag}{name[0]}'  # empty network: it does not exist
        self.link = f'fry{bed.tag}{name[0]}0'
        self.root = os.path.join(bed.folder, name)
        self.group = measure.CpuGroup(self.namespace)
        self.daemon = None
        self.socket = None
        self._connection = None
        # Both share the machine's name and id; migration needs two hosts.
        folder = os.path.join(self.root, 'etc/libvirt')
        os.makedirs(folder)
        with open(os.path.join(folder, 'virtferryd.conf'), 'w', encoding='utf-8') as config:
            config.write(f'hostname = "{name}"\nhost_uuid = "{uuid.uuid4()}"\nmigration_host = "{address}"\n'
                         f'migration_idle_timeout = {bed.idle_sec}\nlog_level = {bed.log_level}\n')

    # the daemon

    def start(self, *arguments, environment=None):
        """Starts the daemon and waits for its socket."""
        # Not `ip netns exec`: that makes a new mount namespace each time, where the next daemon would not see this one's mounts.
        command = ['nsenter', '--net=/run/netns/' + self.namespace] if self.bed.network else []
        command += [DAEMON, '--root', self.root, *arguments]
        variables = dict(os.environ, **(environment or {}))
        with open(os.path.join(self.bed.folder, self.name + '.log'), 'ab') as log:
            self.daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=variables,
                                           preexec_fn=self.group.enter, start_new_session=True)
        self.socket = wait_for(f"the daemon's socket of {self.name}", self._find_socket, 20)

    def _find_socket(self):
        if self.daemon.poll() is not None:
            raise BedError(f'the daemon of {self.name} ended with {self.daemon.returncode}:\n{self.bed.log(self.name)[-3000:]}')
        for folder, _, files in os.walk(self.root):
            if 'virtferryd-sock' in files:
                path = os.path.join(folder, 'virtferryd-sock')
                with socket.socket(socket.AF_UNIX) as probe:
                    with contextlib.suppress(OSError):
                        probe.connect(path)
                        return path
        return None

    def stop(self, how=signal.SIGTERM, seconds=20):
        """Ends the daemon; guests go on. Returns its exit code."""
        self.disconnect()
        if self.daemon is None:
            return None
        self.daemon.send_signal(how)
        try:
            code = self.daemon.wait(seconds)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()
            raise BedError(f'the daemon of {self.name} did not end within {seconds} s') from None
        self.daemon = None
        return code

    @property
    def uri(self):
        return f'ferry:///system?socket={self.socket}'

    @property
    def peer_uri(self):
        """The URI that a daemon uses for this host in a peer-to-peer migration."""
        return f'ferry+unix:///system?socket={self.socket}'

    # clients

    def virsh(self, *arguments, check=True, seconds=120):
        """Runs one virsh command; returns its output, errors included."""
        return run('virsh', '-c', self.uri, *arguments, check=check, seconds=seconds).strip()

    def refused(self, *arguments):
        """Runs a virsh command that must fail; returns what the user reads."""
        try:
            output = self.virsh(*arguments)
        except CommandError as error:
            return error.output.strip()
        raise AssertionError(f'virsh {" ".join(arguments)} succeeded: {output}')

    def virsh_start(self, *arguments):
        """Starts a virsh command and returns its process."""
        return subprocess.Popen(['virsh', '-c', self.uri, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, errors='replace')

    def connection(self):
        """A python-libvirt connection, kept for the bed's life."""
        import libvirt  # pylint: disable=import-outside-toplevel
        if self._connection is None or not self._connection.isAlive():
            self._connection = libvirt.open(self.uri)
        return self._connection

    def disconnect(self):
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.close()
            self._connection = None

    def state(self, name):
        """domstate of a domain, or None if the host does not know it."""
        output = self.virsh('domstate', name, check=False)
        return None if output.startswith('error:') else output.splitlines()[0]

    def running(self):
        """Names of the active domains."""
        return self.virsh('list', '--name').split()

    def job(self, name):
        """Statistics of the job that runs, {} if none does."""
        import libvirt  # pylint: disable=import-outside-toplevel
        try:
            return self.connection().lookupByName(name).jobStats()
        except libvirt.libvirtError:
            return {}

    def diagnosis(self, name):
        """Where a guest that does not answer is: its state, its processors, what its console says."""
        words = ['qemu-monitor-command', name]
        text = [self.virsh(*words, '{"execute":"query-status"}', check=False)]
        text += [self.virsh(*words, '--hmp', command, check=False) for command in ('info registers', 'info registers', 'info pic')]
        with contextlib.suppress(OSError):
            terminal = os.open(self.virsh('ttyconsole', name, check=False), os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY)
            try:
                os.write(terminal, b'd0 stats\r')
                wait_for('console output', lambda: select.select([terminal], [], [], 0)[0], 3)
                text.append(os.read(terminal, 65536).decode(errors='replace'))
            except NotInTime:
                text.append('nothing on the console')
            finally:
                os.close(terminal)
        return '\n'.join(text)

    # what is left

    def processes(self):
        """pid -> program of everything that runs on this host, except the daemon and emulators that it asks what they can do."""
        found = {}
        for pid in self.group.pids():
            if self.daemon and pid == self.daemon.pid:
                continue
            with contextlib.suppress(OSError):
                with open(f'/proc/{pid}/cmdline', 'rb') as cmdline:
                    arguments = cmdline.read().split(b'\0')
                if arguments[0] and not any(word.startswith(b'none,accel=') for word in arguments):
                    found[pid] = os.path.basename(arguments[0].decode(errors='replace'))
        return found

    def pids_of(self, program):
        """pids of a program's processes, by the start of its name."""
        return [pid for pid, name in self.processes().items() if name.startswith(program)]

    def qemu(self):
        """pid of the only QEMU."""
        pids = self.pids_of('qemu-system')
        if len(pids) != 1:
            raise BedError(f'{self.name} has {len(pids)} QEMU processes')
        return pids[0]

    def leftovers(self):
        """What a host has on disk and in the kernel, in a form to compare before and after: files (logs excepted), descriptors."""
        files = []
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = os.path.join(folder, name)
                with contextlib.suppress(OSError):
                    mode = os.lstat(path).st_mode
                    if not path.endswith('.log'):
                        kind = 'socket' if stat.S_ISSOCK(mode) else 'file'
                        files.append(f'{kind} {re.sub("[0-9]+", "#", os.path.relpath(path, self.root))}')
        programs = sorted(self.processes().values())
        return {'files': sorted(files), 'programs': programs}

    def descriptors(self):
        """Number of file descriptors the daemon has open."""
        return len(os.listdir(f'/proc/{self.daemon.pid}/fd'))

    def close(self):
        self.disconnect()
        for pid in self.group.pids():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if self.daemon is not None:
            self.daemon.wait()
        with contextlib.suppress(NotInTime):
            wait_for('processes to end', lambda: not self.group.pids(), 10)
        self.group.close()
        with open('/proc/mounts', encoding='utf-8', errors='replace') as mounts:
            points = [line.split()[1] for line in mounts]
        for point in reversed(points):
            if point.startswith(self.root + '/'):
                run('umount', '-l', point, check=False)
        if self.bed.network:
            run('ip', 'netns', 'del', self.namespace, check=False)


BEDS = []


def close_all():
    """Closes every bed that is still open."""
    while BEDS:
        BEDS[-1].close()


class Bed:
    """Both hosts, the link between them, a folder that both see (disks, the guest's control line).

    log_level is the daemons' (1: everything). Without network both are on the machine's own loopback interface (for the benchmark, so
    that the veth pair costs nothing)."""

    def __init__(self, network=True, log_level=1, idle_sec=4):
        BEDS.append(self)
        self.idle_sec = idle_sec
        self.guest = None  # what the tests know about the guest that is there
        self.network = network
        self.log_level = log_level
        self.folder = None
        self.hosts = []
        self.control = None
        self.tag = f'{os.getpid() % 0x100000:05x}'
        self.folder = tempfile.mkdtemp(prefix='ferry-live-', dir='/var/tmp')
        os.chmod(self.folder, 0o755)
        self.kernel, self.initrd = guest.images()
        self.kvm = guest.kvm_boots()
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise

    def _set_up(self):
        octet = os.getpid() % 250 + 1
        if not self.network:
            self.hosts += [Host(self, name, '127.0.0.1') for name in ('alpha', 'beta')]
            self.control = guest.Control(os.path.join(self.folder, 'control'))
            return
        addresses = [f'10.199.{octet}.1', f'10.199.{octet}.2']
        for name, address in zip(('alpha', 'beta'), addresses):
            host = Host(self, name, address)
            self.hosts.append(host)
            run('ip', 'netns', 'add', host.namespace)
        alpha, beta = self.hosts
        run('ip', 'link', 'add', alpha.link, 'netns', alpha.namespace, 'type', 'veth', 'peer', 'name', beta.link, 'netns', beta.namespace)
        for host in self.hosts:
            run('ip', '-n', host.namespace, 'address', 'add', f'{host.address}/24', 'dev', host.link)
            run('ip', '-n', host.namespace, 'link', 'set', host.link, 'up')
            run('ip', '-n', host.namespace, 'link', 'set', 'lo', 'up')
        self.control = guest.Control(os.path.join(self.folder, 'control'))

    @property
    def alpha(self):
        return self.hosts[0]

    @property
    def beta(self):
        return self.hosts[1]

    def other(self, host):
        return self.beta if host is self.alpha else self.alpha

    def cut(self, host=None):
        """Takes the link between the hosts down, at alpha's end or at the given host's: nothing arrives any more, and nobody is told."""
        host = host or self.alpha
        run('ip', '-n', host.namespace, 'link', 'set', host.link, 'down')

    def mend(self):
        for host in self.hosts:
            run('ip', '-n', host.namespace, 'link', 'set', host.link, 'up')

    def log(self, name):
        """What a host's daemon has logged."""
        with contextlib.suppress(OSError):
            with open(os.path.join(self.folder, name + '.log'), encoding='utf-8', errors='replace') as log:
                return log.read()
        return ''

    def domain_xml(self, name='guest', memory_mib=512, identity=None, backing='', devices='', vcpus=1, current_mib=None, top='',
                   domain_type=None):
        """XML of a test guest: console on a pty, control line to this bed. The other arguments go in as they are."""
        current = f"<currentMemory unit='MiB'>{current_mib}</currentMemory>" if current_mib else ''
        domain_type = domain_type or ('kvm' if self.kvm else 'qemu')
        cpu = "<cpu mode='host-passthrough'/>" if domain_type == 'kvm' else ''
        return f"""<domain type='{domain_type}'>
  <name>{name}</name>
  <uuid>{identity or uuid.uuid4()}</uuid>
  <memory unit='MiB'>{memory_mib}</memory>
  {current}
  {backing}
  <vcpu>{vcpus}</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{self.kernel}</kernel>
    <initrd>{self.initrd}</initrd>
    <cmdline>{guest.KERNEL_ARGS}</cmdline>
  </os>
  <features><acpi/><apic/></features>
  {cpu}
  {top}
  <devices>
    <serial type='pty'><target port='0'/></serial>
    <console type='pty'><target type='serial' port='0'/></console>
    <serial type='unix'><source mode='connect' path='{self.control.path}'/><target port='1'/></serial>
    <memballoon model='virtio'/>
    {devices}
  </devices>
</domain>
"""

    def write(self, name, text):
        """Writes a file into the shared folder and returns its path."""
        path = os.path.join(self.folder, name)
        with open(path, 'w', encoding='utf-8') as out:
            out.write(text)
        return path

    def boot(self, host, xml, fill_mib=0, sparse_mib=0, define=True):
        """Defines (or only creates) and starts a guest, waits until it runs, fills its memory."""
        path = self.write('boot.xml', xml)
        self.guest = None
        name = re.search('<name>(.*?)</name>', xml)[1]
        self.control.forget()
        if define:
            host.virsh('define', path)
            host.virsh('start', name)
        else:
            host.virsh('create', path)
        try:
            self.control.wait_ready(90)
        except guest.GuestError as error:
            raise guest.GuestError(f'{error}\n{host.diagnosis(name)}') from None
        if fill_mib:
            self.control.command(f'fill {fill_mib} {sparse_mib}', 300)
        return name

    def close(self):
        """Ends and removes everything. Doing it twice is no harm."""
        if self in BEDS:
            BEDS.remove(self)
        while self.hosts:
            self.hosts.pop().close()
        if self.control is not None:
            self.control.close()
            self.control = None
        if self.folder is None:
            return
        if os.environ.get('FERRY_KEEP'):
            print(f'kept: {self.folder}', file=sys.stderr)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

# SPDX-License-Identifier: LGPL-2.1-or-later
"""A machine whose PID 1 is systemd: this host's own root file system under an overlay, booted by systemd-nspawn, with an installed Ferry.

Why not a virtual machine: the guest would then run emulated inside an emulator, many times slower, and the overlay needs no image. What a
container shares with the host, its kernel, is no part of what is tested. Only root is needed, neither a systemd as the host's PID 1 nor a bus;
control groups may be version 2 or the hybrid layout. Nothing of it is seen in the host's file system: writes go to a tmpfs."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import uuid

import host as hosts

# What an installed Debian starts by itself is of no use here, and may do anything.
TARGET = """[Unit]
Description=What the tests need
Requires=sysinit.target sockets.target dbus.service
After=sysinit.target sockets.target dbus.service
AllowIsolate=yes
"""
SHARED_DEVICES = ('/dev/userfaultfd', '/dev/net/tun', '/dev/kvm')


def skip_reason():
    """Why no machine can be booted here, or None."""
    for tool in ('systemd-nspawn', 'nsenter', 'busctl', 'dbus-daemon'):
        if not shutil.which(tool):
            return f'needs {tool}'
    if not os.path.exists('/lib/systemd/systemd'):
        return 'needs systemd'
    return None


class Groups:
    """A control group in each hierarchy that systemd manages: the machine's systemd takes what it finds itself in for its root."""

    def __init__(self, name):
        tops = ['/sys/fs/cgroup/systemd', '/sys/fs/cgroup/unified', '/sys/fs/cgroup']
        self.paths = [os.path.join(top, name) for top in tops if os.path.exists(os.path.join(top, 'cgroup.procs'))]
        for path in self.paths:
            os.makedirs(path, exist_ok=True)

    def enter(self):
        for path in self.paths:
            with open(os.path.join(path, 'cgroup.procs'), 'w', encoding='ascii') as procs:
                procs.write(str(os.getpid()))

    def close(self):
        for path in self.paths:
            for folder, _, _ in os.walk(path, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)


class Machine:
    """Boots in the constructor; close() leaves nothing behind. share: a folder that is the same inside and outside."""

    def __init__(self, build, share, more_binds=()):
        self.process = None
        self.leader = None
        self.mounted = []
        self.group_roots = []
        self.name = f'ferry-test-{os.getpid()}'
        self.folder = tempfile.mkdtemp(prefix='ferry-machine-', dir='/var/tmp')
        self.root = os.path.join(self.folder, 'root')
        self.groups = Groups(self.name)
        try:
            self._mount()
            self._prepare(build)
            self._boot([share, *more_binds])
        except BaseException:
            self.close()
            raise

    def _mount(self):
        store = os.path.join(self.folder, 'store')
        os.makedirs(store)
        os.makedirs(self.root)
        hosts.run('mount', '-t', 'tmpfs', '-o', 'mode=0755', 'ferry-machine', store)
        self.mounted.append(store)
        for name in ('upper', 'work'):
            os.makedirs(os.path.join(store, name))
        hosts.run('mount', '-t', 'overlay', '-o', f'lowerdir=/,upperdir={store}/upper,workdir={store}/work', 'ferry-machine', self.root)
        self.mounted.append(self.root)

    def write(self, path, text):
        """A file inside, before or after the boot."""
        path = self.root + path
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w', encoding='utf-8') as out:
            out.write(text)

    def _prepare(self, build):
        self.write('/etc/fstab', '')
        self.write('/etc/machine-id', uuid.uuid4().hex + '\n')
        self.write('/etc/hostname', 'alpha\n')
        self.write('/etc/hosts', '127.0.0.1 localhost alpha beta\n')
        self.write('/etc/systemd/journald.conf.d/test.conf', '[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n')
        self.write('/etc/systemd/system/ferry-test.target', TARGET)
        hosts.run('meson', 'install', '-C', build, '--no-rebuild', '--quiet', '--destdir', self.root)
        # dbus-daemon looks for services below /usr/local, but not for policies.
        policy = f'{self.root}/usr/local/share/dbus-1/system.d/org.virtferry.conf'
        if os.path.exists(policy):
            shutil.copy(policy, f'{self.root}/etc/dbus-1/system.d/')

    def _boot(self, binds):
        command = ['systemd-nspawn', '--boot', '--quiet', f'--directory={self.root}', '--register=no', '--keep-unit', f'--machine={self.name}',
                   '--console=pipe', '--private-network', '--link-journal=no', '--capability=all', '--notify-ready=yes',
                   *[f'--bind={path}' for path in binds], *[f'--bind={path}' for path in SHARED_DEVICES if os.path.exists(path)],
                   '--', '--unit=ferry-test.target']
        # nspawn's own filter of system calls knows no userfaultfd().
        environment = dict(os.environ, SYSTEMD_SECCOMP='0')
        with open(os.path.join(self.folder, 'console.log'), 'wb') as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                                            preexec_fn=self.groups.enter, start_new_session=True)
        self.leader = hosts.wait_for('the machine\'s PID 1', self._find_leader, 20)
        hosts.wait_for('the machine to be up', self._is_up, 60, step=0.1)
        self.group_roots = self._find_group_roots()

    def _find_leader(self):
        if self.process.poll() is not None:
            raise hosts.BedError(f'systemd-nspawn ended with {self.process.returncode}:\n{self.console()[-3000:]}')
        with open(f'/proc/{self.process.pid}/task/{self.process.pid}/children', encoding='ascii') as children:
            for pid in children.read().split():
                with contextlib.suppress(OSError):
                    if os.readlink(f'/proc/{pid}/ns/pid') != os.readlink('/proc/self/ns/pid') and 'systemd' in os.readlink(f'/proc/{pid}/exe'):
                        return int(pid)
        return None

    def _find_group_roots(self):
        """Where the machine's own root group is in the host's hierarchies."""
        roots = []
        with open(f'/proc/{self.leader}/cgroup', encoding='ascii') as lines:
            for line in lines:
                _, names, path = line.strip().split(':', 2)
                top = {'name=systemd': '/sys/fs/cgroup/systemd', '': '/sys/fs/cgroup/unified'}.get(names)
                if top is not None and path.endswith('/init.scope'):
                    path = path.removesuffix('/init.scope')
                    roots += [candidate + path for candidate in (top, '/sys/fs/cgroup') if os.path.isdir(candidate + path)][:1]
        return roots

    def _is_up(self):
        return self.run('systemctl', 'is-active', 'ferry-test.target', 'dbus.service', check=False).split() == ['active', 'active']

    def console(self):
        with open(os.path.join(self.folder, 'console.log'), encoding='utf-8', errors='replace') as log:
            return log.read()

    # inside

    def command(self, *arguments):
        """The words that run a command inside. It is no part of any unit there."""
        return ['nsenter', f'--target={self.leader}', '--mount', '--uts', '--ipc', '--net', '--pid', '--wdns=/', *arguments]

    def run(self, *arguments, check=True, seconds=60):
        return hosts.run(*self.command(*arguments), check=check, seconds=seconds).strip()

    def start(self, *arguments):
        """Starts a command inside and returns its process."""
        return subprocess.Popen(self.command(*arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                text=True, errors='replace')

    def show(self, unit, prop):
        """One property of a unit."""
        return self.run('systemctl', 'show', '--value', f'--property={prop}', unit)

    def journal(self, *arguments):
        return self.run('journalctl', '--no-pager', '--quiet', *arguments, check=False)

    def units(self, pattern):
        """Names of loaded units."""
        return sorted(line.split()[0] for line in self.run('systemctl', 'list-units', '--all', '--plain', '--no-legend', pattern).splitlines())

    def write_inside(self, path, text):
        """A file of the running machine, /run included."""
        with open(f'/proc/{self.leader}/root{path}', 'w', encoding='utf-8') as out:
            out.write(text)

    def pids_in(self, path):
        """Processes of a control group, path as systemd says it, as the host counts them: {pid: name of the program}."""
        found = {}
        for top in self.group_roots:
            with contextlib.suppress(OSError):
                with open(f'{top}{path}/cgroup.procs', encoding='ascii') as procs:
                    for pid in procs.read().split():
                        with contextlib.suppress(OSError), open(f'/proc/{pid}/cmdline', 'rb') as cmdline:
                            found[int(pid)] = os.path.basename(cmdline.read().split(b'\0')[0].decode(errors='replace'))
        return found

    def pids(self, unit):
        """Processes of a unit."""
        return self.pids_in(self.show(unit, 'ControlGroup'))

    def close(self):
        """Ends it at once, and removes everything."""
        if self.leader is not None:
            with contextlib.suppress(OSError):
                os.kill(self.leader, signal.SIGKILL)
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
            self.process.kill()
            self.process.wait()
            self.process = None
        for path in reversed(self.mounted):
            hosts.run('umount', '-l', path, check=False)
        self.mounted = []
        self.groups.close()
        if os.environ.get('FERRY_KEEP'):
            print(f'kept: {self.folder}')
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

# SPDX-License-Identifier: LGPL-2.1-or-later
"""A QMP client as small as can be, for QEMUs that the benchmark runs without Ferry."""

import json
import socket
import time

import wait


class QmpError(Exception):
    """QEMU refused a command, or has gone."""


class Qmp:
    """One connection to a QMP socket; events are kept in order of arrival."""

    def __init__(self, path, seconds=20, alive=None):
        self.socket = wait.wait_for(f'QMP socket {path}', lambda: self._connect(path, alive), seconds, 0.01)
        self.socket.settimeout(120)
        self.stream = self.socket.makefile('rw', encoding='utf-8')
        self.events = []
        self._read()
        self.command('qmp_capabilities')

    @staticmethod
    def _connect(path, alive):
        if alive and not alive():
            raise QmpError(f'{path}: QEMU has ended')
        candidate = socket.socket(socket.AF_UNIX)
        try:
            candidate.connect(path)
        except OSError:
            candidate.close()
            return None
        return candidate

    def _read(self):
        line = self.stream.readline()
        if not line:
            raise QmpError('QEMU has closed its monitor')
        return json.loads(line)

    def command(self, name, **arguments):
        """Runs a command and returns what it returns."""
        request = {'execute': name}
        if arguments:
            request['arguments'] = arguments
        self.stream.write(json.dumps(request) + '\n')
        self.stream.flush()
        while True:
            message = self._read()
            if 'event' in message:
                message['arrival'] = time.monotonic()
                self.events.append(message)
            elif 'error' in message:
                raise QmpError(f'{name}: {message["error"]["desc"]}')
            elif 'return' in message:
                return message['return']

    def close(self):
        self.socket.close()

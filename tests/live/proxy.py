# SPDX-License-Identifier: LGPL-2.1-or-later
"""A man in the middle of the data connection (docs/wire.md): knows the frames, and holds, changes or cuts at a chosen one.

It listens on the loopback address of the source's namespace and connects on to the destination, at the same port: `uri` is what
--migrateuri gets. All traffic is the engines' own; nothing is made up here."""

import collections
import ctypes
import os
import selectors
import socket
import struct
import threading

from wait import wait_for

HELLO_BYTES = 64
HEADER = struct.Struct('<HHIQ')
BLOCK_BYTES = 128
CLONE_NEWNET = 0x40000000
BUFFER_BYTES = 8 << 20

(PROOF, RAM_TABLE, ACCEPT, ERROR, PAGES, DEVICE, END, READY, COMMIT, COMMIT_ACK, RUNNING, KEEPALIVE, ABORT, BYE, ABANDON, MARK,
 MARK_ACK, RAM_FINAL) = range(1, 19)



class Stream:
    """One direction: bytes in, frames out."""

    def __init__(self, proxy, name, source, sink):
        self.proxy, self.name, self.source, self.sink = proxy, name, source, sink
        self.input = bytearray()
        self.output = bytearray()
        self.greeted = False
        self.ended = False
        self.waiting = collections.deque()  # frames behind a held one, the held one first
        self.forwarded = 0

    def feed(self, data):
        self.input += data
        while True:
            if not self.greeted:
                if len(self.input) < HELLO_BYTES:
                    return
                size, kind = HELLO_BYTES, None
                self.greeted = True
            else:
                if len(self.input) < HEADER.size:
                    return
                kind, _, _, length = HEADER.unpack_from(self.input)
                size = HEADER.size + length
                if len(self.input) < size:
                    return
            frame = bytes(self.input[:size])
            del self.input[:size]
            self.take(kind, frame)

    def take(self, kind, frame):
        if kind in self.proxy.changes:
            frame = self.proxy.changes[kind](frame)
        if kind is not None:
            self.proxy.seen[kind] += 1
        if kind == KEEPALIVE and not self.proxy.silent:
            self.output += frame
        elif self.waiting or kind in self.proxy.held:
            self.waiting.append((kind, frame))
        elif not self.proxy.silent:
            self.output += frame

    def flow(self):
        """Frames that nobody holds any more go on."""
        while self.waiting and self.waiting[0][0] not in self.proxy.held:
            _, frame = self.waiting.popleft()
            if not self.proxy.silent:
                self.output += frame


class Proxy:
    """Takes one connection after the other. All methods are for the test's thread; a thread of its own does the work."""

    _ports = iter(range(49300, 65000))

    def __init__(self, source, destination):
        self.port = next(self._ports)
        self.uri = f'tcp://127.0.0.1:{self.port}'
        self.namespace = source.namespace
        self.target = (destination.address, self.port)
        self.held = set()
        self.changes = {}
        self.seen = collections.Counter()
        self.silent = False
        self.cut_after = None
        self._streams = []
        self._cut = self._closed = False
        self._problem = None
        self._lock = threading.Condition()
        self._wake_read, self._wake_write = os.pipe()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()
        self._ready.wait(10)
        if self._problem:
            raise self._problem

    # what tests do

    def hold(self, *kinds):
        """Frames of these types, and what follows them in their direction, wait here. Keepalives pass."""
        with self._lock:
            self.held.update(kinds)

    def change(self, kind, function):
        """Frames of this type are replaced by function(frame)."""
        with self._lock:
            self.changes[kind] = function

    def wait_for(self, kind, seconds=30, alive=None):
        """Waits until a frame of this type has arrived here (held or not)."""
        def there():
            if alive and alive.poll() is not None:
                raise AssertionError(f'the migration ended before frame {kind} came: {alive.stdout.read()}')
            return self.seen[kind] > 0
        wait_for(f'frame {kind} on the data connection', there, seconds, 0.002)

    def release(self, *kinds):
        """Lets held frames go on; all of them if none is named."""
        with self._lock:
            self.held.difference_update(kinds or set(self.held))
        self._wake()

    def cut(self):
        """Closes both connections at once; both ends notice at once. What is held here is lost."""
        with self._lock:
            self._cut = True
        self._wake()

    def silence(self):
        """From now on nothing gets through, and nobody is told."""
        with self._lock:
            self.silent = True

    @property
    def sent(self):
        """Bytes from the source that have gone on."""
        with self._lock:
            return sum(stream.forwarded for stream in self._streams if stream.name == 'source')

    def close(self):
        """Ends it. Doing it twice is no harm."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._wake()
        self._thread.join()

    def _wake(self):
        os.write(self._wake_write, b'x')

    # the thread

    def _main(self):
        try:
            # A socket belongs to the namespace of the thread that makes it.
            with open('/run/netns/' + self.namespace, 'rb') as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) < 0:
                    raise OSError(ctypes.get_errno(), 'setns')
            listener = socket.create_server(('127.0.0.1', self.port))
        except OSError as error:
            self._problem = error
            self._ready.set()
            return
        self._selector.register(listener, selectors.EVENT_READ)
        self._ready.set()
        while not self._closed:
            for key, events in self._selector.select():
                if key.fileobj is listener:
                    self._accept(listener)
                elif key.fileobj == self._wake_read:
                    os.read(self._wake_read, 4096)
                elif events & selectors.EVENT_READ:
                    self._read(key.data)
            with self._lock:
                if self._cut:
                    self._cut = False
                    self._drop()
                for stream in list(self._streams):
                    stream.flow()
                    self._write(stream)
                self._watch()
        self._drop()
        listener.close()
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _accept(self, listener):
        near, _ = listener.accept()
        far = socket.socket()
        try:
            far.settimeout(5)
            far.connect(self.target)
        except OSError:
            near.close()
            far.close()
            return
        for end in (near, far):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._streams += [Stream(self, 'source', near, far), Stream(self, 'destination', far, near)]

    def _stream_from(self, end):
        return next((stream for stream in self._streams if stream.source is end), None)

    def _read(self, end):
        with self._lock:
            stream = self._stream_from(end)
            if stream is None:
                return
            try:
                data = end.recv(1 << 20)
            except BlockingIOError:
                return
            except OSError:
                data = b''
            if data:
                stream.feed(data)
            else:
                stream.ended = True

    def _write(self, stream):
        if stream not in self._streams:
            return
        try:
            while stream.output:
                chunk = stream.output[:1 << 20]
                if stream.name == 'source' and self.cut_after is not None:
                    chunk = chunk[:max(self.cut_after - stream.forwarded, 0)]
                    if not chunk:
                        self._drop()
                        return
                count = stream.sink.send(chunk)
                stream.forwarded += count
                del stream.output[:count]
        except BlockingIOError:
            return
        except OSError:
            self._drop()
            return
        # The end of a direction travels behind everything that was sent before it, held frames included.
        if stream.ended and not stream.waiting and not self.silent:
            self._drop()

    def _watch(self):
        wanted = {}
        for stream in self._streams:
            if not stream.ended and len(stream.output) < BUFFER_BYTES:
                wanted[stream.source] = wanted.get(stream.source, 0) | selectors.EVENT_READ
            if stream.output:
                wanted[stream.sink] = wanted.get(stream.sink, 0) | selectors.EVENT_WRITE
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, socket.socket) and key.fileobj not in wanted:
                self._selector.unregister(key.fileobj)
        for end, events in wanted.items():
            if end.fileno() in self._selector.get_map():
                self._selector.modify(end, events, end)
            else:
                self._selector.register(end, events, end)

    def _drop(self):
        """Ends the connections. Only when closed by both ends or by order."""
        for stream in self._streams:
            if stream.source.fileno() in self._selector.get_map():
                self._selector.unregister(stream.source)
        for stream in self._streams:
            stream.source.close()
        self._streams.clear()

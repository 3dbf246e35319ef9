"""A FUSE mount in memory without locks, or with locks and a quota.

python faulty_fuse.py FOLDER          answers every flock with an error; served until it is unmounted; root only
python faulty_fuse.py FOLDER BYTES    has locks, and refuses to hold more bytes than these
"""

import ctypes
import errno
import os
import stat
import struct
import sys

LOOKUP, FORGET, GETATTR, SETATTR, MKDIR, UNLINK, RMDIR = 1, 2, 3, 4, 9, 10, 11
RENAME, OPEN, READ, WRITE, RELEASE, FSYNC, FLUSH, INIT, OPENDIR = 12, 14, 15, 16, 18, 20, 25, 26, 27
READDIR, RELEASEDIR, SETLK, SETLKW, CREATE, BATCH_FORGET = 28, 29, 32, 33, 35, 42
FLOCK_LOCKS = 1 << 10  # the kernel passes flock on instead of keeping it to this machine


class Memory:
    """Folders and files by node, and what each request of the kernel gets."""

    def __init__(self, quota):
        self.quota = quota
        self.content = {1: None}  # a file's bytes; None for a folder
        self.names = {}  # (folder, name) -> node

    def attributes(self, node):
        content = self.content[node]
        size, mode = (0, stat.S_IFDIR | 0o755) if content is None else (len(content), stat.S_IFREG | 0o644)
        return struct.pack('<6Q10I', node, size, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def entry(self, node):
        return struct.pack('<4Q2I', node, 0, 0, 0, 0, 0) + self.attributes(node)

    def make(self, folder, name, content):
        node = len(self.content) + 1
        self.content[node], self.names[folder, name] = content, node
        return self.entry(node)

    def held(self):
        return sum(len(self.content[node] or b'') for node in set(self.names.values()))

    def answer(self, opcode, node, body):
        """The body of the answer, or an error number; None where the kernel waits for none."""
        if opcode in (FORGET, BATCH_FORGET):
            return None
        if opcode == INIT:
            return struct.pack('<4I2H2I2H8I', 7, 31, 0, 0 if self.quota else FLOCK_LOCKS, 8, 8, 4096, 1, 1, 0, *[0] * 8)
        if opcode in (SETLK, SETLKW):
            return errno.ENOLCK
        if opcode == LOOKUP:
            found = self.names.get((node, body.rstrip(b'\0')))
            return errno.ENOENT if found is None else self.entry(found)
        if opcode in (GETATTR, SETATTR):
            return struct.pack('<Q2I', 0, 0, 0) + self.attributes(node)
        if opcode == MKDIR:
            return self.make(node, body[8:].rstrip(b'\0'), None)
        if opcode == CREATE:
            return self.make(node, body[16:].rstrip(b'\0'), b'') + struct.pack('<Q2I', 0, 0, 0)
        if opcode in (UNLINK, RMDIR):
            return b'' if self.names.pop((node, body.rstrip(b'\0')), None) else errno.ENOENT
        if opcode in (OPEN, OPENDIR):
            return struct.pack('<Q2I', 0, 0, 0)
        if opcode == READ:
            offset, size = struct.unpack_from('<QI', body, 8)
            return self.content[node][offset : offset + size]
        if opcode == WRITE:
            offset, size = struct.unpack_from('<QI', body, 8)
            if self.quota and self.held() + size > self.quota:
                return errno.EDQUOT
            self.content[node] = self.content[node][:offset].ljust(offset, b'\0') + body[-size:]
            return struct.pack('<2I', size, 0)
        if opcode == RENAME:
            folder = struct.unpack_from('<Q', body)[0]
            old, new = body[8:].rstrip(b'\0').split(b'\0')
            self.names[folder, new] = self.names.pop((node, old))
            return b''
        return b'' if opcode in (RELEASE, RELEASEDIR, FLUSH, FSYNC, READDIR) else errno.ENOSYS


def serve(folder, quota=0):
    device = os.open('/dev/fuse', os.O_RDWR)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f'fd={device},rootmode=40000,user_id=0,group_id=0'
    if libc.mount(b'o2f', os.fsencode(folder), b'fuse.o2f', 0, options.encode()):
        sys.exit(f'cannot mount: {os.strerror(ctypes.get_errno())}')
    print('mounted', flush=True)
    memory = Memory(quota)
    while True:
        try:
            request = os.read(device, 1 << 17)
        except OSError as error:
            if error.errno == errno.ENODEV:  # unmounted
                return
            raise
        _, opcode, unique, node = struct.unpack_from('<2I2Q', request)
        found = memory.answer(opcode, node, request[40:])
        if found is not None:
            error, body = (-found, b'') if isinstance(found, int) else (0, found)
            os.write(device, struct.pack('<IiQ', 16 + len(body), error, unique) + body)


if __name__ == '__main__':
    serve(sys.argv[1], *map(int, sys.argv[2:]))

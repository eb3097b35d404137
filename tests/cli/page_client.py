#!/usr/bin/env python3
"""A sender and a receiver on shm://, written from PROTOCOL.md alone, for Linux on x86-64. The words are those of that page.

A word in shared memory is an item of a memoryview cast to "Q" or "I": one plain load or store, which on x86 is one with
acquire or release. The struct module goes byte by byte, and is for packets. What is left out: a name that was deleted is
not made again (nor `moved` said); and a sender waits for a receiver that has no room for its hello, instead of going on."""
import argparse, bisect, fcntl, hashlib, mmap, os, re, secrets, select, signal, socket, struct, sys, threading, time

VERSION, PAGE, MESSAGE, END, CONTINUED, LEAVING, WAKE = 3, 4096, 1, 2, 3, 2, 3
HELLO, WAITING, RING, ANSWER, NOTICE = (int.from_bytes(b"ipc" + s, "little")
                                        for s in (b"hello", b"waits", b"wring", b"sanwr", b"noice"))
BODY = {HELLO: "<7QIiIIQ32Q", WAITING: "<QiI", RING: "<QQQ", ANSWER: "<QII256s", NOTICE: "<II"}
DELIVERED, RELEASED, WANTS = 64 // 8, 72 // 8, 128 // 8  # a link's words of 8 bytes, and of 4:
ASLEEP, ACCEPTED = 0, 88 // 4  # both `unfenced` stay 0: Python can't call membarrier
FIXED = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
FUTURE_WRITE, SO_PEERPIDFD = 0x10, 77  # not in Python's modules yet


class Broken(Exception): pass
def check(good, what):
    if not good: raise Broken(what)
def up(n, to): return -(-n // to) * to
def bits_size(capacity): return up(capacity // 128, PAGE)
def ring_of(rings, position): return [r for r in rings if r.base <= position][-1]
def new_socket(kind): return socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK)
def close_all(*fds):
    for fd in fds:
        if fd is not None: os.close(fd)
def fence(lock=threading.Lock()):
    with lock: pass  # a locked instruction
def readable(fd):
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def new_memory(size, seals):
    fd = os.memfd_create("page_client", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.posix_fallocate(fd, 0, size)
    memory = memoryview(mmap.mmap(fd, size))
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)  # behind the mapping: FUTURE_WRITE forbids another like it
    return fd, memory


def map_memory(fd, size, seals, prot):
    try: check(fcntl.fcntl(fd, fcntl.F_GET_SEALS) & seals == seals and os.fstat(fd).st_size == size, "a memory")
    except OSError: raise Broken("what should be a memory")
    return memoryview(mmap.mmap(fd, size, prot=prot))


def take_bell(fd):
    check(os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:[eventfd]" and not os.get_blocking(fd), "a bell")
    return os.dup(fd)


def say(sock, magic, *fields, fds=()):
    body = struct.pack(BODY[magic], *fields)
    try: return socket.send_fds(sock, [struct.pack("<QII", magic, VERSION, 16 + len(body)) + body], fds)
    except ConnectionError: return -1  # which is heard, too
    except OSError: return 0  # no room, or too many descriptors on their way


def hear(sock):
    """The next packet: magic, fields, descriptors. None: there is none now. EOFError: the other has hung up."""
    size = 4096, socket.CMSG_SPACE(4 * 20), socket.MSG_PEEK | socket.MSG_CMSG_CLOEXEC
    try: data, control, flags, _ = sock.recvmsg(*size)
    except BlockingIOError: return None
    except ConnectionResetError: data, control, flags, _ = sock.recvmsg(*size)  # it comes once, before what is queued
    fds = [fd for _, _, part in control for fd in struct.unpack(f"{len(part) // 4}i", part)]
    if flags & socket.MSG_CTRUNC:  # for want of descriptors: it stays in the socket for later
        close_all(*fds)
        return time.sleep(0.1)
    if not data: raise EOFError
    sock.recv(1)
    if len(data) >= 16:
        magic, version, size = struct.unpack_from("<QII", data)
        if magic in BODY and version == VERSION and size == len(data) == 16 + struct.calcsize(BODY[magic]):
            return magic, struct.unpack_from(BODY[magic], data, 16), fds
    close_all(*fds)
    raise Broken("a packet")


class Ring:
    def __init__(self, base, capacity, memory):
        self.base, self.capacity, self.memory, self.words = base, capacity, memory, memory.cast("Q")

    def at(self, position): return position % self.capacity // 8
    def bit(self, position): return divmod(position % self.capacity // 16, 64)

    def parts(self, position, size):
        """Two, as it may go on at the ring's beginning, and Python can't map it twice in a row."""
        at = position % self.capacity
        return self.memory[at:at + size], self.memory[:max(0, at + size - self.capacity)]


class Handle:
    """What both have: a bell, and a socket with a name in the channel's folder."""

    def __init__(self, letter, channel):
        self.bell, self.pidfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC), os.pidfd_open(os.getpid())
        self.epoll = select.epoll()
        self.epoll.register(self.bell, select.EPOLLIN | select.EPOLLET)
        self.identity = secrets.randbelow(2**64 - 1) + 1
        self.name = f"{letter}{VERSION}-{self.identity:016x}.0"
        self.path = f"{os.environ.get('IPC_DIR') or f'/dev/shm/ipc-{os.getuid()}'}/{channel}"
        while True:
            try:
                for path in os.path.dirname(self.path), self.path: os.makedirs(path, 0o700, exist_ok=True)
                self.folder = os.open(self.path, os.O_DIRECTORY | os.O_NOFOLLOW)
                stat = os.fstat(self.folder)
                if (stat.st_uid, stat.st_mode & 0o777) != (os.getuid(), 0o700): sys.exit(f"{self.path} is not ours alone")
                self.socket = new_socket(socket.SOCK_DGRAM if letter == "s" else socket.SOCK_SEQPACKET)
                bound = self.name if letter == "s" else f".new-{secrets.token_hex(8)}"
                self.socket.bind(self.reach(bound))
                if letter == "r":
                    self.socket.listen(128)
                    os.rename(bound, self.name, src_dir_fd=self.folder, dst_dir_fd=self.folder)
                break
            except FileNotFoundError: pass  # somebody closed, and the folder was empty before our name was in it
        self.watch(self.socket)

    def reach(self, name): return f"/proc/self/fd/{self.folder}/{name}"

    def watch(self, *fds):
        for fd in fds:
            if fd is not None: self.epoll.register(fd, select.EPOLLIN)

    def names(self, letter):
        for name in os.listdir(self.folder):
            if m := re.fullmatch(r"([rs])(\d+)-([0-9a-f]{16})\.\d+", name):
                if int(m[2]) != VERSION: sys.exit(f"{name} is of layout version {m[2]}, and this program of {VERSION}")
                if m[1] == letter: yield int(m[3], 16), name

    def connect(self, name, kind):
        """A socket; None: its owner is gone. BlockingIOError: there is no room now."""
        sock = new_socket(kind)
        try: sock.connect(self.reach(name))
        except FileNotFoundError: return None
        except ConnectionRefusedError: return self.unlink(name)  # that of a dead process for ever
        return sock

    def unlink(self, name):
        try: os.unlink(name, dir_fd=self.folder)
        except FileNotFoundError: pass

    def close(self):
        """The name first: who finds it gone, knows why the links hang up. The links go with this process."""
        self.unlink(self.name)
        try: os.rmdir(self.path)
        except OSError: pass


class Link:
    def __init__(self, sock, owner):
        self.sock, self.owner, self.words, self.bell, self.pidfd = sock, owner, None, None, None
        pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        check(uid == os.getuid(), "another user")
        try: self.pidfd = sock.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD)
        except OSError:
            try: self.pidfd = os.pidfd_open(pid)
            except ProcessLookupError: pass
        self.hung_up = self.pidfd is None
        owner.watch(sock, self.pidfd)

    def hear(self):
        try:
            while said := hear(self.sock):
                try: self.heard(*said)
                finally: close_all(*said[2])
        except EOFError: self.hung_up = True
        if self.pidfd is not None and readable(self.pidfd): self.hung_up = True

    def close(self):
        self.sock.close()
        close_all(self.pidfd, self.bell)


class Incoming(Link):
    """A link as its receiver has it; its `bell` is the space bell."""
    sender, rings, ended = 0, (), False

    def heard(self, magic, fields, fds):
        if magic == WAITING: self.sender = fields[0]
        elif magic == HELLO and not self.words: self.begin(fields, fds)
        elif magic == RING and self.words and len(fds) == 2: self.another(*fields, *fds)

    def begin(self, hello, fds):
        self.sender, start, self.sequence, oldest, _, self.redelivered_until, committed, _, _, with_pid, _, rings, *places = hello
        places = list(zip(places[0:2 * rings:2], places[1:2 * rings:2]))
        check(1 <= rings <= 16 and len(fds) == 2 + rings + (with_pid == 1) and places[0][0] <= oldest <= start <= committed <= 2**62
              and self.redelivered_until <= committed and start % 16 == 0, "a hello")
        self.bell, at = take_bell(fds[1]), PAGE
        memory = map_memory(fds[0], PAGE + sum(bits_size(c) for _, c in places), FIXED, mmap.PROT_READ | mmap.PROT_WRITE)
        for (base, capacity), fd in zip(places, fds[2:]):
            self.add(base, capacity, fd, memory[at:at + bits_size(capacity)])
            at += bits_size(capacity)
        self.position, self.released, self.ring = start, start, ring_of(self.rings, start)
        self.words, self.flags = memory[:PAGE].cast("Q"), memory[:PAGE].cast("I")
        self.words[DELIVERED] = start
        self.flags[ACCEPTED] = 1
        self.words[RELEASED] = start
        answer = ANSWER, self.owner.identity, 0, 0, b""
        if not say(self.sock, *answer, fds=[self.owner.bell] + [self.owner.pidfd] * (with_pid == 1)): say(self.sock, *answer)

    def add(self, base, capacity, fd, bits):
        check(capacity % PAGE == 0 and 2**16 <= capacity <= 2**36 and base % 16 == 0, "a ring's place")
        ring = Ring(base, capacity, map_memory(fd, capacity, FIXED | FUTURE_WRITE, mmap.PROT_READ))
        ring.bits = bits.cast("Q")
        self.rings = [*self.rings, ring]

    def another(self, after, base, capacity, fd, bits):
        self.rings = [r for r in self.rings if r.base <= after]  # one sent after the same ring is taken back
        check(self.rings and self.rings[-1].base == after and len(self.rings) <= 16, "a ring after none")
        self.add(base, capacity, fd, map_memory(bits, bits_size(capacity), FIXED, mmap.PROT_READ | mmap.PROT_WRITE))

    def word(self): return self.ring.words[self.ring.at(self.position)]

    def read(self, most):
        """Reads so many frames at most, and tells how many there were."""
        for n in range(most):
            p, ring, word = self.position, self.ring, self.word()  # the word once: it may change while it is looked at
            if not word or self.owner.count == 0: return n
            kind, begin, size = word & 15, (word >> 4 & 15) * 16, word >> 16
            end = up(p + begin + size, 16)
            check(not word >> 8 & 255 and 16 <= begin <= 64 and size <= ring.capacity // 2 and not self.ended
                  and (kind == MESSAGE or kind in (END, CONTINUED) and (begin, size) == (16, 0))
                  and end <= max(self.released, ring.base) + ring.capacity, "a frame")
            self.position = self.words[DELIVERED] = end
            if kind == MESSAGE:
                at, bit = ring.bit(p)
                was_released = p < self.redelivered_until and ring.bits[at] >> bit & 1
                if not was_released: self.owner.give_out(self, ring.words[ring.at(p + 8)], size, ring.parts(p + begin, size))
                self.sequence += 1
            elif kind == CONTINUED:
                self.hear()
                self.rings = [r for r in self.rings if r.base >= end]
                check(self.rings and self.rings[0].base == end, "continued in a ring that was not sent")
                self.ring = self.rings[0]
            else: self.ended = True
            self.release(end)
            if kind == MESSAGE and was_released: ring.bits[at] &= ~(1 << bit)  # only behind `released`
        return most

    def release(self, position):
        self.words[RELEASED] = self.released = position
        fence()
        if 0 < self.words[WANTS] <= position:
            self.words[WANTS] = 0  # no exchange is needed: whatever the sender stores in between, the bell comes behind it
            os.eventfd_write(self.bell, 1)


class Receiver(Handle):
    def __init__(self, channel, count):
        super().__init__("r", channel)
        self.count, self.links = count, []
        for _, name in self.names("s"):
            try: (sock := self.connect(name, socket.SOCK_DGRAM)) and sock.send(b"k")
            except OSError: pass  # a knock lies there already, or it has just gone

    def give_out(self, link, tag, size, parts):
        sha = hashlib.sha256(parts[0])
        sha.update(parts[1])
        print(f"{link.sender:016x}", link.sequence, tag, size, sha.hexdigest(), flush=True)
        if self.count: self.count -= 1

    def accept(self):
        while readable(self.socket):
            sock, _ = self.socket.accept()
            sock.setblocking(False)
            try: self.links.append(Incoming(sock, self))
            except Broken: sock.close()
        for link in [l for l in self.links if not l.sender][:-32]: self.drop(link)

    def drop(self, link):
        self.links.remove(link)
        link.close()

    def run(self):
        """Until the first end or death; or, with a count, until so many messages."""
        while self.count != 0:
            self.accept()
            read = 0
            for link in list(self.links):
                try:
                    link.hear()  # before it reads: what is committed outlives its sender
                    n = link.read(64) if link.words else 0
                except Broken as e:
                    print(f"sender {link.sender:016x}: broken: {e}", file=sys.stderr)
                    link.hung_up, n = True, 0
                read += n
                if link.ended or (link.hung_up and not n):
                    self.drop(link)
                    if link.sender: print("end" if link.ended else "died", f"{link.sender:016x}", flush=True)
                    if link.sender and self.count is None: return
            if not read: self.sleep()

    def sleep(self):
        linked = [l for l in self.links if l.words]
        for link in linked: link.flags[ASLEEP] = 1
        fence()
        if not any(link.word() for link in linked): self.epoll.poll()
        for link in linked: link.flags[ASLEEP] = 0


class Outgoing(Link):
    """A link as its sender has it; its `bell` is the data bell."""
    answered = leaving = False

    def begin(self, oldest, start, redelivered_until, had):
        """Says the hello; False if there is no room for it now."""
        sender, at, places, self.bits, self.start, self.redelivered_until = self.owner, PAGE, [], {}, start, redelivered_until
        fd, memory = new_memory(PAGE + sum(bits_size(r.capacity) for r in sender.rings), FIXED)
        self.words, self.flags, self.last = memory[:PAGE].cast("Q"), memory[:PAGE].cast("I"), (oldest, oldest)
        self.words[RELEASED] = self.words[DELIVERED] = oldest
        for ring in sender.rings:
            self.bits[ring.base] = memory[at:at + bits_size(ring.capacity)].cast("Q")
            at += bits_size(ring.capacity)
            places += ring.base, ring.capacity
        for p in had:
            at, bit = (ring := ring_of(sender.rings, p)).bit(p)
            self.bits[ring.base][at] |= 1 << bit
        hello = (sender.identity, start, sender.sequence(start), oldest, sender.sequence(oldest), redelivered_until, sender.position,
                 0, os.getpid(), 1, 0, len(sender.rings), *places, *[0] * (32 - len(places)))
        said = say(self.sock, HELLO, *hello, fds=[fd, sender.bell, *(ring.fd for ring in sender.rings), sender.pidfd])
        os.close(fd)
        return said != 0

    def place(self):
        """What may be handed on: `released`, `delivered`, and the messages between them that were released."""
        released, delivered = self.last
        if not self.flags[ACCEPTED]: released = max(self.start, released)
        delivered, had, messages = max(delivered, released, self.redelivered_until), set(), self.owner.messages
        for p in messages[bisect.bisect_left(messages, released):bisect.bisect_left(messages, delivered)]:
            at, bit = (ring := ring_of(self.owner.rings, p)).bit(p)
            if self.bits[ring.base][at] >> bit & 1: had.add(p)
        return released, delivered, had

    def heard(self, magic, fields, fds):
        if magic == ANSWER and not self.answered:
            self.answered = True
            check(fields[1] == 0, "it refused: " + fields[3].split(b"\0")[0].decode(errors="replace"))
            self.bell = take_bell(fds[0]) if fds else None
        elif (magic, fields[0]) == (NOTICE, LEAVING): self.leaving, self.owner.vacant = True, self.place()

    def hear(self):
        super().hear()
        now = self.words[RELEASED], self.words[DELIVERED]
        check(all(a <= b <= self.owner.position and b % 16 == 0 for a, b in zip(self.last, now)), "a place")
        self.last = now

    def ring_data_bell(self):
        if self.flags[ASLEEP]:
            self.flags[ASLEEP] = 0
            if self.bell is None: say(self.sock, NOTICE, WAKE, 0)
            else: os.eventfd_write(self.bell, 1)


class Sender(Handle):
    def __init__(self, channel):
        super().__init__("s", channel)
        self.position, self.join_at, self.messages, self.links, self.vacant, self.knocked = 0, 0, [], {}, (0, 0, set()), True
        self.rings = [self.new_ring(0, 2**16)]

    def new_ring(self, base, capacity):
        fd, memory = new_memory(capacity, FIXED | FUTURE_WRITE)
        ring = Ring(base, capacity, memory)
        ring.fd = fd
        return ring

    def alive(self): return any(not l.leaving for l in self.links.values())
    def gate(self): return min([l.words[RELEASED] for l in self.links.values()] + ([] if self.alive() else [self.vacant[0]]))
    def sequence(self, position): return bisect.bisect_left(self.messages, position) + 1

    def hear(self):
        for link in self.links.values():
            try: link.hear()
            except Broken as e:
                print(f"receiver {link.identity:016x}: let go: {e}", file=sys.stderr)
                link.hung_up = link.answered = True

    def tend(self):
        """Whatever has come: knocks, packets, deaths."""
        while readable(self.socket):  # taken out before the folder is read
            self.socket.recv(16)
            self.knocked = True
        self.hear()
        if self.knocked or any(l.hung_up for l in self.links.values()): self.look()
        while len(self.rings) > 1 and self.gate() >= self.rings[1].base: os.close(self.rings.pop(0).fd)

    def look(self):
        names, kept, self.knocked = dict(self.names("r")), {}, False
        self.hear()  # after the folder was read: who had gone before a newcomer opened, is known to have gone then
        gone = [link for link in self.links.values() if link.hung_up]
        oldest = min(self.gate(), self.join_at)
        for link in gone: del self.links[link.identity]
        for link in gone:
            if not link.answered and link.identity in names: kept[link.identity] = link.place()  # it had no room
        places = [link.place() for link in gone if not link.leaving]
        if places and not self.alive():
            released, _, had = min(places, key=lambda place: place[0])
            self.vacant = released, max(delivered for _, delivered, _ in places), had
        for link in gone: link.close()
        for identity, name in names.items():
            while identity not in self.links:  # nothing is committed meanwhile, so it need not gate yet
                try:
                    if not (sock := self.connect(name, socket.SOCK_SEQPACKET)): break
                    link, place = Outgoing(sock, self), (self.join_at, self.join_at, set()) if self.alive() else self.vacant
                    link.identity = identity
                    if link.begin(oldest, *kept.get(identity, place)): self.links[identity] = link
                    else:
                        link.close()
                        time.sleep(0.05)
                except Broken: break
                except BlockingIOError: time.sleep(0.05)

    def wait_released(self, position, and_linked=False):
        """Sleeps on the space bell until all have released up to there."""
        def is_so(): return self.gate() >= position and (self.links or not and_linked)
        self.tend()
        while not is_so():
            for link in self.links.values(): link.words[WANTS] = position
            fence()
            if not is_so(): self.epoll.poll()
            for link in self.links.values(): link.words[WANTS] = 0
            self.tend()

    def commit(self, kind, tag=0, data=b"", begin=16):
        ring, p = self.rings[-1], self.position
        end = up(p + begin + len(data), 16)
        first, second = ring.parts(p + begin, len(data))
        first[:], second[:] = data[:len(first)], data[len(first):]
        ring.words[ring.at(p + 8)] = tag
        ring.words[ring.at(end)] = 0
        ring.words[ring.at(p)] = kind | begin // 16 << 4 | len(data) << 16
        if kind == MESSAGE: self.messages.append(p)
        self.position = end
        if kind != END: self.join_at = end  # who joins behind the last message is told of the end
        fence()
        for link in self.links.values(): link.ring_data_bell()

    def send(self, tag, data):
        if 2 * len(data) > self.rings[-1].capacity: self.another_ring(1 << (2 * len(data) - 1).bit_length())
        ring, begin = self.rings[-1], 16 if len(data) < 256 else up(self.position + 16, 64) - self.position
        gate = up(self.position + begin + len(data), 16) + 32 - ring.capacity
        self.wait_released(gate if gate > ring.base else 0)  # what is before the base does not lie in this ring
        self.commit(MESSAGE, tag, data, begin)

    def another_ring(self, capacity):
        self.wait_released(self.rings[1].base if len(self.rings) == 16 else 0)
        try: ring = self.new_ring(self.position + 16, capacity)  # right behind the `continued`
        except OSError as e: sys.exit(f"no room for a ring of {capacity} bytes: {e.strerror}")
        for link in self.links.values():
            fd, bits = new_memory(bits_size(capacity), FIXED)
            link.bits[ring.base] = bits.cast("Q")
            while not say(link.sock, RING, self.rings[-1].base, ring.base, capacity, fds=[ring.fd, fd]): time.sleep(0.01)
            os.close(fd)
        self.commit(CONTINUED)
        self.rings.append(ring)

    def run(self, files):
        for path in files:
            if os.stat(path).st_size > 2**35: sys.exit(f"{path}: more than 32 GiB has room in no ring")
        self.wait_released(0, and_linked=True)
        for tag, path in enumerate(files):
            with open(path, "rb") as file: self.send(tag, file.read())
        self.commit(END)
        self.wait_released(self.position)


def main():
    parser = argparse.ArgumentParser(description="A sender and a receiver on shm://CHANNEL.")
    commands = parser.add_subparsers(dest="command", required=True)
    recv, send = commands.add_parser("recv"), commands.add_parser("send")
    recv.add_argument("channel")
    recv.add_argument("--count", type=int)
    send.add_argument("channel")
    send.add_argument("file", nargs="+")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    handle = Receiver(args.channel, args.count) if args.command == "recv" else Sender(args.channel)
    try: handle.run() if args.command == "recv" else handle.run(args.file)
    finally: handle.close()


if __name__ == "__main__":
    main()

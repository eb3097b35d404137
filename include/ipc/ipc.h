/* ipc.h - raw bytes between processes, as fast as memory allows, and through pipes and sockets by the same calls.
 *
 * This header is the whole contract of libipc, and compiles as C99 and as C++11 or later. What it does not promise is
 * not promised.
 *
 * Words
 *   message    a run of raw bytes, 0 bytes or more, delivered whole or not at all. It carries a tag (yours), a sequence
 *              (counted per sender from 1) and the id of its sender (64 random bits, drawn at open).
 *   channel    what an endpoint URL names: shm://camera. A name is 1 to 64 of A-Z a-z 0-9 . _ - and starts with no dot.
 *              The other endpoints are listed under "Endpoints".
 *   sender,    a handle on a channel. Any number of either, in any order of arrival, in any number of processes.
 *   receiver   Every receiver gets every message, from one copy.
 *   ring       the memory in which one sender's messages lie. The sender alone can write it. It grows: its stream of
 *              messages goes on in another ring.
 *   link       the pairing of one sender with one receiver.
 *   end        a sender's word that no more will come. Its death is another thing, and a receiver can tell the two apart.
 *
 * Conventions; the functions below cite them
 *   C1 results    int32_t. Zero or positive is success. Negative is an error of the closed list under "Errors". Each call
 *                 that looks at the handle's events may return -ENOMEM, when nothing has changed: call again.
 *   C2 timeouts   int64_t nanoseconds. 0: do not wait; -1: wait for ever; any other negative value is -EINVAL.
 *   C3 structs    are passed by pointer. The caller stores sizeof(the struct) in the first member before the call; a
 *                 size the library does not know is -EINVAL. Options may be NULL for the defaults.
 *   C4 threads    Calls on one handle are made by one thread at a time, whichever it is; different handles are
 *                 independent. _interrupt is the exception: any thread, also a signal handler, at any time before
 *                 close. (A debug build of the library answers -EBUSY to a second thread.)
 *   C5 blocking   A call that takes a time-out blocks in poll(2)'s manner: a signal handler that ran makes it return
 *                 -EINTR, and so does SIGCONT after a stop, or a debugger that attaches; _interrupt makes it return
 *                 -ECANCELED, also from that handler. Nothing has happened then; call it again. No CPU is used while it
 *                 sleeps; it spins first, for at most 50 microseconds, if that was worth it lately. (Of the receivers,
 *                 and the senders without one, that wait in one runtime folder, 32 watch it by inotify, and leave the
 *                 other instances that a user may have, most often 128, to other programs; the rest look every second.)
 *   C6 null       A NULL handle, out-parameter or URL is -EINVAL, unless the function says otherwise.
 *   C7 memory     Nothing that the library returns has to be freed by the caller.
 *   C8 fork       A handle belongs to the process that opened it. In a forked child each call returns IPC_EFORKED, and
 *                 close gives back the child's share; the parent does not notice. (_url does answer.) The child may read the
 *                 messages that were held at the fork for as long as the parent holds them, and the memory stays until
 *                 it closes its copy of the handle, execs or exits. A reservation is not there. exec closes everything.
 *   C9 silence    The library starts no thread, installs no signal handler, prints nothing, never ends the process, and
 *                 keeps no state outside its handles. (libuv ends it where it finds no memory; it asks for some when a
 *                 pipe or socket is opened or adopted, right after as much was seen to be there, and at no other time.)
 *
 * Caveats
 *   What survives. A committed message lives as long as one process that holds its ring: its sender, or a receiver that
 *   is connected to it. It is lost if the sender goes while no receiver is connected, or if the sender and the last
 *   receiver both go. ipc_sender_flush and ipc_sender_close say how many messages nobody has released yet.
 *
 *   Rings that grow. A sender's ring has 1 MiB, which stays in the processor's cache, unless open says otherwise. The
 *   stream goes on in another ring
 *     - of four times the message's size or more, if that takes no more than 256 MiB and there may be as much, else twice,
 *       for a message larger than half of the ring: in reserve or send, at once;
 *     - of twice the ring's size, if there was no room for 10 ms and nothing was released in that time (100 ms, once the
 *       ring is 16 times as large as at first; and four times as long as that lasted lately, up to 10 s): in a reserve or
 *       send that waits, or that is made again; the fd of a sender that was refused and is armed gets ready for it. A
 *       receiver that is only slower frees room again and again. For that one the sender waits: a larger ring would be
 *       the slower one;
 *     - of the first size, once no more than half of that was in use, and no large message sent, for a second: in a
 *       reserve or send, flush, arm, stats or links. A sender that makes no call keeps the large ring.
 *   The memory of a ring is given back, on both sides, when all in it is released; a message that is held keeps its own.
 *   There are at most 16 at a time, and together they take no more than twice max_capacity; a receiver that makes no
 *   call keeps those that it has not seen the end of. If there is no memory for a larger ring, the sender waits, and
 *   tries again every second; for a large message it is told -ENOMEM, -ENOSPC, -EMFILE or -ENFILE, and can go on with
 *   smaller ones. With as many as may be, or at the largest (max_capacity), it waits until something is released.
 *
 *   Who serves newcomers. There is no hidden thread: a sender without a receiver notices the first one in its next call
 *   (commit and abort do not look); one that has receivers already looks for more every few milliseconds, after a rush
 *   of calls at the 16th at the latest (or when its fd is polled and armed). A sender that neither calls nor polls
 *   serves nobody.
 *
 *   Who is waited for. From the moment that a sender has seen a receiver's name, nothing is given up that this receiver
 *   is to have, also while they can't be linked: this user has as many descriptors on their way between processes as a
 *   process may have open (three to four for each sender that a receiver has not looked at; 64 senders wait for one
 *   receiver at most), or one of the two processes has no descriptor or memory free. It is tried again, first after a
 *   millisecond, then every 100, in each call that waits. Until then such a receiver counts as one without room: reserve
 *   and send wait for it, and so do flush and close; links names it (IPC_LINK_UNLINKED) and says what is in the way. It is
 *   given up when it has died or closed, or its name was not there for two seconds (one that was never connected to, whose
 *   name was deleted while it made no call). Only what a sender takes with it that goes before it could be linked is lost: the
 *   receiver counts that (`unheard`), if the sender had at least come to wait for it.
 *
 *   A killed receiver that is not reaped yet may count as alive for a moment: wait() for it before you start its
 *   successor, if the successor must get the messages the killed one had not released.
 *
 *   Local and of one user. Peers of another user id are refused; memory does not reach other machines.
 *
 *   Nothing expires. A peer that is stopped, or slow, is waited for; only the kernel says that one is dead. A thread may
 *   be cancelled (pthread_cancel): a call completes first. Sockets and the runtime folder may be deleted, moved, or hidden
 *   by a mount: links go on, and newcomers find the channel again: a handle makes its name again in its next call or while
 *   it waits. If the folder can't be made, it tries every second.
 *
 * Tests that show it (ctest -R NAME)
 *   A message is whole or not there, once, in order, and aligned
 *       process: messages of each size from 0 to half the ring arrive whole, aligned, in order
 *       kill_points: whoever is killed, at whichever instruction, the other goes on
 *   Every receiver gets every message, from one copy; in any order of arrival
 *       process: each receiver gets every message, in order, and the end
 *       process: all receivers read the sender's one copy
 *       process: many that open at the same moment all meet, also among the sockets of the dead
 *   The sender alone can write its ring; nonsense costs its author the link
 *       process: a receiver can neither write into the memory of a ring, nor cut it, nor punch a hole
 *       process: a receiver that scribbles over its whole link harms itself alone
 *   End and death are two things, each told once
 *       process: ends and deaths name their sender, and each is told once
 *   C2, C3, C6
 *       process: a receive that finds nothing returns at once, or when its time has passed and not before
 *       process: a struct of a size that the library does not know is refused, and stays as it is
 *       process: a null handle is refused by every function
 *   C5
 *       process: a signal ends a receive that waits, and nothing is lost by it
 *       process: an interrupt ends the call that is under way, and not the next
 *       process: both sides stopped again and again at any moment: nothing is lost
 *       process: a thread with a cancellation pending gets through every call, whatever happens meanwhile
 *       alone: in ten seconds of waiting, in each way there is, no side runs at all
 *   C8
 *       process: a fork may not use its parent's handles, and the parent does not notice
 *       process: a fork reads the messages that its parent holds, in each ring, and gives back its share
 *       process: a fork can write nothing that its parent shares
 *       process: no file descriptor of ours gets into a program that is executed
 *   C9
 *       abi: no thread is started, no signal handled, blocked or ignored, whatever is called
 *       abi: nothing is printed, whatever is called
 *   What survives
 *       process: a process that goes right after its last commit loses nothing
 *       process: close says how many are lost when no receiver ever came
 *   Who comes after others gets what they left, marked if they had got it
 *       process: the successor of a killed receiver gets what that had not released, marked if it had got it
 *       process: a receiver that comes before the sender has seen the death takes the dead one's place
 *       process: a killed receiver is dead although a fork of it lives on
 *       process: the mark stays through a second and a third death
 *       process: what was released before an older one is not delivered again after a death
 *   Who is waited for
 *       alone: a receiver that was seen, and linked later, gets all from the moment on that it was seen
 *       alone: each of four receivers that compute hears each of two hundred senders
 *       alone: a receiver that goes before it was linked holds nobody up
 *       process: who dies holds up no sender when another had all, and the end
 *   Who serves newcomers
 *       process: a sender that sends now and then to nobody makes its deleted name again
 *       process: a sender's fd gets ready for the death of its only receiver, and for the next one
 *       process: the runtime folder is deleted under way: links go on, and newcomers find it
 *       process: who waits is found again when its folder was taken away by a logout, and there again after a login
 *   A message that is held stays as it is; any order of releases
 *       process: what is held stays as it is while the sender goes on and waits
 *       process: messages are released in any order, and all their room comes back
 *       process: held messages outlive the close of their receiver, and their sender<over_shm>
 *   Rings that grow
 *       process: a message of 1 GiB goes through a sender opened with no options, and its memory comes back
 *       process: over many growths and shrinks nothing is lost, doubled or reordered, whatever is held
 *       process: a receiver that is only slow does not make the ring grow
 *       process: the successor of a receiver takes its place in an old ring, with the early releases of each
 *       process: a sender without address space for a larger ring says so, and goes on with what it has
 *   A ring's memory is reserved when it is made, or refused in words
 *       process: a ring beyond the limit of address space is refused, and a smaller one taken
 *       process: a sender whose limit is lowered later keeps its messages until a receiver can be linked
 *   In a sandbox
 *       process: a sender on shared memory goes on without a system call, or open says which it lacks
 *       process: a receiver on shared memory goes on without a system call, or open says which it lacks
 *   The fd misses nothing
 *       process: a host that has a receiver in an epoll, edge-triggered, misses nothing
 *       process: a host that has a sender in an epoll, edge-triggered, misses no room
 *   Handing over to another copy
 *       process: a receiver of three flooding senders changes builds 200 times: 0 lost, 0 doubled
 *       process: a flooding sender to two receivers changes builds 200 times: 0 lost, 0 doubled
 *       process: when the k-th of several handles can't be adopted, all are as before, for every k
 *       process: after 200 handoffs descriptors, mappings and memory are what they were
 *   Of one user
 *       root: a receiver refuses another user's sender in words, and its own user's is heard
 *
 * Endpoints
 *   What this header says, it says of shm://. The others take the same calls with the same meaning, but for this:
 *
 *   URL                 receivers  lossless  what it is for
 *   shm://name          any        yes       one machine: the fastest
 *   pipe:///path        one        yes       a FIFO; small data; shell pipelines
 *   fd://N              one        yes       a pipe or socketpair that was inherited: parent and child
 *   unix:///path        one        yes       one machine, where memory can't be shared
 *   tcp://host:port     one        yes       between machines, in order
 *   udp://host:port     one        no        between machines: the least delay, and no promise
 *
 *   One receiver. The second is refused at open (-EADDRINUSE). The receiver makes the FIFO, the socket's file or the
 *   port, and removes what it has made; a sender looks for it until it is there, at its calls or while it waits: every
 *   200 ms at most, every second where it was refused. A file that a killed receiver left is used again or replaced, and
 *   one that is deleted is made again, in a call of the receiver or while it waits; who is linked does not notice.
 *
 *   Copies. A message is copied into the system and out of it, once each. A received message's data stays valid until it
 *   is released, as always; a receiver holds up to `capacity` bytes of each sender (in its URL: ?capacity=64MiB; if it
 *   says nothing: what the sender's capacity is, at most 1 GiB; for pipe 64 MiB, for udp 8 MiB) and reads no more of it
 *   (of a pipe: of nobody there) until some are released. So a sender is held up, and memory is bounded. A message is at
 *   most half of either capacity (1 MiB for a sender that is told nothing; there is no max_capacity), 32 MiB on a pipe,
 *   and 65,443 bytes on udp: reserve returns -EMSGSIZE. One that was committed before the sender knew what its receiver
 *   takes is passed over on unix and tcp, and counted by both sides (`lost`).
 *
 *   What survives. What the sender has not handed to the system yet waits in it, and goes to the next receiver. What it
 *   has, and the receiver had not received when it went, is lost: there is no redelivery, and no IPC_REDELIVERED. On
 *   unix and tcp it is counted by both sides when the next connection is made (`lost`; but not with framing=raw), on udp
 *   by the gap in the sequence; what lay in a pipe when its reader went is not counted. What went over a connection that
 *   broke before its first answer is sent again, and no receiver gives it out twice: it remembers 16,384 senders, and of
 *   one that it has forgotten both count it as lost. (If the answer was lost on a network, and then the receiver went,
 *   its successor may get again what it had.) With a sender goes what it had
 *   not handed over: so close with linger. A sender that closes or dies while a receiver is connected loses nothing that
 *   the system has taken; but on tcp what is still on its way may be lost with it, and its IPC_END, unless it has closed
 *   with linger.
 *
 *   Ends and deaths. IPC_END is the sender's word, as always. IPC_DIED is told when a connection breaks without it, or,
 *   on a pipe, when the writing process is gone; also if it was in the middle of a message, which never comes then. A
 *   sender whose connection breaks makes a new one, and goes on under the same id. If it is here again before its IPC_DIED
 *   was received, none is told; else it may come after that, which is told again only if a message came between. On udp
 *   nobody learns of a death, and an IPC_END may be lost. On udp, and on a pipe, of more than 1,024 senders the one that was
 *   silent for longest is told to have died, and may come again.
 *
 *   Bounds. A receiver knows 4,096 senders at a time, and takes 12 KiB for each beside what came of it (`capacity`), and
 *   2 MiB in all for those that have gone. If all places are taken, those that have gone and left nothing unread are
 *   forgotten in order: they are counted (`ends`, `deaths`), and not told. If there are none, newcomers wait until the
 *   user has taken something; on udp they are lost. A connection that is silent for a second is let go if another needs
 *   its place or its descriptor: it dies, and may come again. A sender for which there is no memory waits, and receive
 *   says so once; on a pipe it gets less room, or none: then its messages are passed over, and counted (`lost`).
 *
 *   flush, and close with linger, wait until the receiver has released everything, on unix, tcp and socketpairs: the
 *   sender asks, and the receiver answers in its next call. What came over a connection that broke is waited for, too,
 *   unless it was received before that; what was lost with it is counted (`lost`) when the next one is made. An end is not
 *   waited for, if nobody is there to hear it. On pipes, on udp and with framing=raw there is no way back: they wait until
 *   the system has taken everything. fd:// has nobody to wait for when the other end is closed: reserve returns -EPIPE
 *   then.
 *
 *   udp. A message is a datagram: lost, doubled or overtaken as the network likes. Nothing is put right; all is counted
 *   (`lost`, `duplicated`, `reordered`, `foreign`) and marked (IPC_DUPLICATE, IPC_LATE). A sender does not wait for a
 *   receiver, and counts as lost what it is told nobody listened to, which may be less than was lost.
 *
 *   Who may connect. unix, pipe: this user (a FIFO of another user is refused: -EACCES). tcp, udp: a receiver listens on
 *   this machine's loopback if the URL names no host (tcp://:4000), port 0 becomes a free port (_url tells which). Where
 *   others can reach it, it must say who may come: tcp://0.0.0.0:4000?allow=10.1.0.0/16,fd00::/8. Anything else that
 *   connects is refused, and nothing is encrypted. Hosts are numbers, or names in /etc/hosts. A peer that says anything
 *   but frames is refused alone. Multicast groups are refused (-EOPNOTSUPP).
 *
 *   ?framing=raw, on both or on either side: no frames, but bytes as any program writes and reads them (cat, nc, ffmpeg).
 *   What one read brings is a message, with tag 0; end-of-file is IPC_END. A sender writes payloads and nothing else, also
 *   to a peer that has shut its own way (nc -N -l). On tcp that looks like a peer that has gone: what is sent first then is
 *   lost, and not counted.
 *
 *   fd:// takes the descriptor: it is closed with the handle (0, 1 and 2 are left open). It has one sender, and nobody
 *   who comes later finds it. Whoever shares a socket with it finds that as blocking as it was.
 *
 *   `from` other than the default is for shm:// only (-EOPNOTSUPP). These handles need libuv.so.1, which is loaded with the
 *   first and unloaded with the last; where there is none, _open says so (-EOPNOTSUPP).
 */
#ifndef IPC_IPC_H
#define IPC_IPC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Changes when a program built against an older ipc.h would no longer work. */
#define IPC_ABI_VERSION 1

typedef struct ipc_sender ipc_sender;
typedef struct ipc_receiver ipc_receiver;

/* Results of ipc_receiver_receive. */
enum {
    IPC_MESSAGE = 1, /* a message */
    IPC_END = 2,     /* the sender in msg.sender has ended, after its last message */
    IPC_DIED = 3     /* the sender in msg.sender went without an end, after its last message. 0: on fd://, one that went
                        before it said who it is */
};

/* Errors: negative. Either -errno, of these:
 *   -EINVAL        an argument is not one the function takes, or the call does not fit the handle's state
 *   -EPROTONOSUPPORT  the URL's scheme is unknown
 *   -EOPNOTSUPP    the URL or the options ask for something this version does not have
 *   -EAGAIN        it would have to wait, and the time-out is 0
 *   -ETIMEDOUT     the time-out has passed
 *   -EINTR         a signal handler ran during the wait, or the process was stopped and goes on, or a debugger attached
 *   -ECANCELED     _interrupt was called
 *   -EMSGSIZE      the message is larger than half of the largest ring, or than a datagram takes
 *   -EPIPE         the sender has ended already; or, on fd://, the other end is closed
 *   -ESTALE        the message has been released already, or the frozen state is out of date
 *   -EBUSY         another thread is inside this handle (debug builds), or the handle is frozen
 *   -EADDRINUSE    another receiver, or another program, has this path or port
 *   -EADDRNOTAVAIL the address is none of this machine
 *   -EMFILE -ENFILE   no file descriptor is free
 *   -ETOOMANYREFS  in ipc_link.lack alone: this user has too many descriptors on their way between processes
 *   -ENOMEM -ENOSPC   no memory is to be had, or a limit forbids it
 *   -EACCES -EPERM -ENOENT -ENOTDIR -ELOOP -EROFS -ENAMETOOLONG -EIO   the runtime folder, or the path, can't be used
 *   -EPERM -ENOSYS    also: a sandbox (seccomp) refuses a system call that is needed, or the kernel lacks it (Linux 5.14 has all)
 * or one of ours: */
enum {
    IPC_EFORKED = -4001, /* the handle was opened before fork, by the parent */
    IPC_EVERSION = -4002 /* the other side is a version of libipc with another memory layout, or another handoff */
};

/* Flags of a message. */
enum {
    IPC_REDELIVERED = 1, /* a receiver that is gone got this message, and had not released it */
    IPC_DUPLICATE = 2,   /* udp: it came before */
    IPC_LATE = 4         /* udp: one with a higher sequence came before */
};

/* A message as received. 64 bytes. `data` stays valid and unchanged until the message is released; it is read-only
 * memory, aligned to 16 bytes, to 64 from 256 bytes on. */
typedef struct ipc_message {
    size_t struct_size; /* sizeof(ipc_message), stored by the caller (C3) */
    const void *data;   /* first byte; not NULL even if size is 0 */
    size_t size;        /* bytes */
    uint64_t tag;       /* as given to commit or send */
    uint64_t sequence;  /* counted per sender from 1 */
    uint64_t sender;    /* id of the sender */
    uint32_t flags;     /* 0, or those of IPC_REDELIVERED, IPC_DUPLICATE, IPC_LATE that hold */
    uint32_t link;      /* which link it came by; for release */
    uint64_t position;  /* byte offset in the sender's stream; for release */
} ipc_message;

/* How to open a sender. In a URL: shm://name?max_capacity=256MiB, or shm://name?capacity=64MiB */
typedef struct ipc_sender_options {
    size_t struct_size;
    uint64_t capacity;     /* bytes of the ring; 0: 1 MiB. Without a max_capacity the ring keeps this size. */
    uint64_t max_capacity; /* bytes of the largest ring that it may grow to (see "Rings that grow"); 0: the capacity if
                              that is given, else a quarter of the machine's memory, at most 64 GiB. shm:// only */
} ipc_sender_options;      /* Each from 64 KiB up to a quarter of the machine's memory, at most 64 GiB. It is rounded up to
                              whole pages (4 KiB most often), as ipc_sender_stats then shows. A message is at most half of
                              the largest ring. */

/* Where a new receiver starts. */
enum {
    IPC_FROM_DEFAULT = 0, /* the first receiver: the oldest message that waits. One that joins others: the next message.
                             One that comes when the others have gone: what the last of them had not released */
    IPC_FROM_OLDEST = 1,  /* the oldest message still in a ring, also beside others */
    IPC_FROM_LATEST = 2   /* the next message; what waited is released unseen and counted in `skipped` */
};

/* What happens when a receiver is so slow that a sender's ring is full. */
enum {
    IPC_OVERFLOW_BLOCK = 0 /* the sender waits; nothing is lost */
};

/* How to open a receiver. In a URL: shm://name?from=latest&overflow=block */
typedef struct ipc_receiver_options {
    size_t struct_size;
    int32_t from;     /* IPC_FROM_... */
    int32_t overflow; /* IPC_OVERFLOW_... */
} ipc_receiver_options;

/* What a sender has done since open. */
typedef struct ipc_sender_counters {
    size_t struct_size;
    uint64_t id;         /* this sender's id */
    uint64_t capacity;   /* bytes of the ring that it writes now */
    uint64_t used;       /* bytes of it, and of those before it, that some receiver, or the wait for a first one, needs */
    uint64_t messages;   /* committed */
    uint64_t bytes;      /* of their payload */
    uint64_t unreleased; /* messages that not every receiver has released */
    uint64_t links;      /* receivers connected */
    uint64_t waits;      /* times it slept for space */
    uint64_t bells;      /* doorbells rung */
    uint64_t refused;    /* links that a receiver refused, or that were dropped for what the peer wrote into them */
    uint64_t unlinked;   /* receivers that it knows of and could not link with yet: see "Who is waited for" */
    uint64_t lost;       /* messages that went out and that no receiver had when the connection broke */
    uint64_t largest;    /* bytes of the largest message that it may send, as far as is known: on unix and tcp the receiver
                            has a say in it */
} ipc_sender_counters;

/* What a receiver has done since open. */
typedef struct ipc_receiver_counters {
    size_t struct_size;
    uint64_t id;       /* this receiver's id */
    uint64_t messages; /* received */
    uint64_t bytes;    /* of their payload */
    uint64_t held;     /* messages received and not released */
    uint64_t ends;     /* senders that ended */
    uint64_t deaths;   /* senders that went without an end */
    uint64_t links;    /* senders connected */
    uint64_t skipped;  /* messages passed over because of from=latest */
    uint64_t waits;    /* times it slept for a message */
    uint64_t bells;    /* doorbells rung */
    uint64_t refused;  /* hellos refused */
    uint64_t waiting_for_fds; /* 1 while a sender's hello, or ring, waits until a descriptor or memory is free */
    uint64_t watching; /* 1: the folder is watched by inotify; 0: 32 others in it do, or no instance was free: it looks every
                          second */
    uint64_t lost;       /* messages that were sent and never came: seen by the gap in the sequence */
    uint64_t duplicated; /* udp: messages that came once more */
    uint64_t reordered;  /* udp: messages that came after a later one */
    uint64_t foreign;    /* udp, pipe: datagrams, or bytes, that are none of ours and were dropped */
    uint64_t unheard;    /* senders that went before they could be linked: what they had for this receiver, if
                            anything, is lost */
} ipc_receiver_counters;

/* States of a link. */
enum {
    IPC_LINK_CONNECTING = 0, /* the receiver has not looked at the sender's hello yet */
    IPC_LINK_UP = 1,
    IPC_LINK_ENDED = 2, /* the sender has ended, or died; what it sent is still being read or held */
    IPC_LINK_LEFT = 3,  /* the receiver is closed, and still holds messages */
    IPC_LINK_UNLINKED = 4 /* each knows of the other, and they can't be linked yet; it is tried again. `lack` says why.
                             The sender keeps all that is for the receiver */
};

/* One link, as either side sees it. */
typedef struct ipc_link {
    size_t struct_size;
    uint64_t peer;      /* id of the other side; 0 while it is not known */
    int32_t pid;        /* process of the other side; 0 if it is in a pid namespace that can't be seen. On pipes and sockets
                           it is what that side says, and perhaps of another machine */
    int32_t state;      /* IPC_LINK_... */
    int32_t lack;       /* IPC_LINK_UNLINKED: -ETOOMANYREFS: this user has as many descriptors on their way as may be;
                           -EMFILE, -ENFILE, -ENOMEM, -ENOSPC; -EAGAIN: the receiver's queue is full; or
                           another -errno. Of other states 0 */
    uint32_t reserved;
    uint64_t committed; /* byte position up to which the sender has committed */
    uint64_t delivered; /* ... up to which messages were handed to the receiver's user */
    uint64_t released;  /* ... up to which all are released: the sender may reuse the ring up to here */
    uint64_t behind;    /* messages committed and not delivered (a sender's view), or held (a receiver's) */
    uint64_t skipped;   /* messages passed over by this receiver */
    uint64_t lost;      /* messages that were sent and never came */
} ipc_link;

/* Roles of a handle. */
enum { IPC_SENDER = 1, IPC_RECEIVER = 2 };

/* A figure that cannot be known. */
#define IPC_UNKNOWN UINT64_MAX

/* One link of a handle, as seen from outside. Bytes count what messages take of a ring: their headers too. On pipes and
 * sockets each side counts what lies in its own memory. */
typedef struct ipc_channel_link {
    uint64_t peer;    /* id of the other side; 0 while it is not known */
    int32_t pid;      /* process of the other side, on its machine; 0 if it is not known */
    int32_t state;    /* IPC_LINK_... */
    int32_t lack;     /* as in ipc_link */
    uint32_t reserved;
    uint64_t behind;  /* bytes committed and not delivered; IPC_UNKNOWN if the sender is not to be seen */
    uint64_t held;    /* bytes delivered and not released */
    uint64_t skipped; /* messages passed over */
    uint64_t lost;    /* messages that were sent and never came */
} ipc_channel_link;

/* So many links of a handle are seen from outside. */
enum { IPC_SHOWN_LINKS = 60 };

/* One handle of one process, as seen from outside. The figures are as of `age_ns` ago: each handle refreshes its page
 * whenever it looks at its events, and before it sleeps. Those of a link through shared memory are the later ones of what
 * its two sides show. */
typedef struct ipc_channel {
    size_t struct_size;
    char url[256];      /* NUL-terminated; cut if it is longer, and unusual characters are question marks */
    char folder[256];   /* the runtime folder in which it looks for others, likewise; shm:// only, else empty. Handles meet
                           if it is the same. One that this process does not see at that path (of a service or container
                           with mounts of its own) is given as /proc/PID/root/... */
    uint64_t id;        /* id of the handle */
    int32_t pid;        /* as this process sees it, also of one in another pid namespace */
    int32_t role;       /* IPC_SENDER or IPC_RECEIVER */
    uint32_t layout;    /* version of its memory layout */
    uint32_t links;     /* peers connected */
    uint64_t messages;  /* sent, or received */
    uint64_t bytes;     /* of their payload */
    uint64_t backlog;   /* bytes of rings: committed and not released (sender), received and not released (receiver) */
    uint64_t capacity;  /* bytes of the ring that is written now (sender), or 0 */
    uint64_t skipped;   /* messages that a receiver passed over; of this and the next, also those of links that are gone */
    uint64_t lost;      /* messages that were sent and never came */
    int64_t age_ns;     /* age of these figures */
    uint64_t shown;     /* how many of its links follow */
    ipc_channel_link link[IPC_SHOWN_LINKS];
} ipc_channel;

/* From where, and how far, ipc_channel_list sees. */
typedef struct ipc_channel_view {
    size_t struct_size;
    char folder[256]; /* the runtime folder in which a handle of this process would look, as above; empty if IPC_DIR names
                         none */
    uint64_t hidden;  /* processes of this user into which /proc lets this one not look: programs with file capabilities,
                         and others that may not be debugged. Their handles are not listed */
} ipc_channel_view;

#if defined(__GNUC__)
#pragma GCC visibility push(default) /* the names that follow are what the library exports */
#endif

/* ---- The library ------------------------------------------------------------------------------------------------- */

/* IPC_ABI_VERSION as the loaded library has it. A program that loads the library by hand compares the two. */
uint32_t ipc_abi_version(void);

/* "libipc 0.1.0 (layout 3, abi 1, handoff 8, build ...)". Static; the build is the linker's build id of the library. */
const char *ipc_version(void);

/* A code of the list above, in words. Static; never NULL. */
const char *ipc_strerror(int32_t code);

/* Every handle of this user that /proc shows, also of stopped or busy processes. Fills at most `count` entries of `out`
 * (out[0].struct_size: C3; it holds for all) and returns how many there are, so that count 0 with out NULL asks for the
 * number; -EMFILE, -ENFILE or -ENOMEM if it can't look. The order is by URL, folder, role, pid. */
int32_t ipc_channel_list(ipc_channel *out, size_t count);

/* Fills *out. Returns 0; -EMFILE, -ENFILE or -ENOMEM if it can't look. */
int32_t ipc_channel_look(ipc_channel_view *out);

/* ---- Sending ----------------------------------------------------------------------------------------------------- */

/* Opens a sender on `url`. Does not wait for a receiver: messages wait in the ring.
 * The runtime folder is $IPC_DIR, or else /dev/shm/ipc-UID: handles meet in it, and only there. It is made if it is
 * missing, with mode 0700, and refused if it is not the user's own directory with that mode.
 *   out      set to the handle, or to NULL
 *   options  may be NULL. An option given here and in the URL: the URL's counts; if that says anything of the capacity,
 *            nothing here does
 *   errbuf   NULL, or errlen bytes that receive the error in words (always NUL-terminated): what was tried, what is in
 *            the way, what to do. Empty after success
 * Returns 0 or an error; IPC_EVERSION if a receiver on this channel has another memory layout. */
int32_t ipc_sender_open(ipc_sender **out, const char *url, const ipc_sender_options *options, char *errbuf,
                        size_t errlen);

/* Reserves room for a message of at most `size` bytes and points *data at it, to be filled in place; then commit or
 * abort. Alignment as in ipc_message. Waits while the slowest receiver leaves no room, or one can't be linked yet (C2,
 * C5; see "Who is waited for").
 * Returns 0; -EMSGSIZE if size is more than half of what the ring may grow to (an option of open); -ENOMEM, -ENOSPC,
 * -EMFILE or -ENFILE if there is not enough for the larger ring that it needs; -EPIPE after end; -EINVAL if a reservation
 * is open already; -EAGAIN, -ETIMEDOUT, -EINTR, -ECANCELED. */
int32_t ipc_sender_reserve(ipc_sender *s, size_t size, void **data, int64_t timeout_ns);

/* Makes the first `size` bytes of the reservation a message: from now on receivers see it whole, and it survives this
 * process as long as a receiver is connected. Never waits.
 * Returns 0; -EINVAL without a reservation, or if size is larger than it (the reservation stays open). */
int32_t ipc_sender_commit(ipc_sender *s, size_t size, uint64_t tag);

/* Gives the reservation back; nobody sees anything of it. Returns 0, also if there is none. */
int32_t ipc_sender_abort(ipc_sender *s);

/* reserve, copy, commit. `data` may be NULL if size is 0. Returns as these do. */
int32_t ipc_sender_send(ipc_sender *s, const void *data, size_t size, uint64_t tag, int64_t timeout_ns);

/* Says that no more will come. Never waits. An open reservation is given back. Returns 0, also the second time. */
int32_t ipc_sender_end(ipc_sender *s);

/* Waits until every receiver has released every message. With no receiver connected, it waits for one; but not after an
 * end that some receiver has got, with all before it: whoever else has died by then is waited for no more.
 * Returns 0 when all are released. If it returns for another reason: the number of messages that are not, if the
 * time-out has passed (at most INT32_MAX); -EINTR, -ECANCELED. */
int32_t ipc_sender_flush(ipc_sender *s, int64_t timeout_ns);

/* Makes the blocking call that is under way in this handle return -ECANCELED, or else the next one: once. Async-signal-
 * safe; any thread. */
int32_t ipc_sender_interrupt(ipc_sender *s);

/* Prepares for waiting on ipc_sender_fd with poll, epoll or a host's event loop. Counts as a blocking call for
 * _interrupt. Ready means: what a reserve, send or flush was refused for is there now (of several the nearest), or a
 * newcomer or a death is to be served.
 * Returns 1: nothing to do yet, wait on the fd, then call again; 0: don't wait, go on; -ECANCELED. A reserve, send or
 * flush before the wait undoes it; other calls do not. */
int32_t ipc_sender_arm(ipc_sender *s);

/* The one fd of this handle, for its whole life: to poll for POLLIN, and for nothing else. Spurious readiness happens. */
int32_t ipc_sender_fd(const ipc_sender *s);

/* The URL it was opened with, without options. Lives as long as the handle; NULL for NULL. */
const char *ipc_sender_url(const ipc_sender *s);

/* Counters; also looks at the handle's events. Returns 0. */
int32_t ipc_sender_stats(ipc_sender *s, ipc_sender_counters *out);

/* The receivers connected, how far behind each is, and what it holds: who is in the way. As ipc_channel_list: fills at
 * most `count`, returns the number there are. */
int32_t ipc_sender_links(ipc_sender *s, ipc_link *out, size_t count);

/* Ends, if _end did not; waits up to linger_ns for every message to be released; closes. NULL is taken and does nothing.
 * Signals do not cut the wait short, since that would cost messages; an _interrupt during it does, also from a handler.
 * The handle is gone, but after -EINVAL (a linger_ns that C2 forbids) and -EBUSY.
 * Returns the number of messages that not every receiver has released, 0 if none (at most INT32_MAX): connected
 * receivers still get them; with no receiver connected they are lost. */
int32_t ipc_sender_close(ipc_sender *s, int64_t linger_ns);

/* ---- Receiving --------------------------------------------------------------------------------------------------- */

/* Opens a receiver on `url`; as ipc_sender_open. A second receiver on the channel gets every message too. */
int32_t ipc_receiver_open(ipc_receiver **out, const char *url, const ipc_receiver_options *options, char *errbuf,
                          size_t errlen);

/* Waits for the next message, end or death, of any sender (C2, C5); senders are served in turn. A message is the
 * caller's until it is released: any number may be held, but the sender runs out of room at last.
 * Returns IPC_MESSAGE with *msg filled; IPC_END or IPC_DIED with msg->sender set, the rest 0 (each once a sender, not to
 * be released); -EAGAIN, -ETIMEDOUT, -EINTR, -ECANCELED; -EMFILE, -ENFILE or -ENOMEM, once, if a sender's hello, or its next
 * ring, is waiting until this process has file descriptors or memory free (it is not lost; the next calls look again), or
 * -EPERM or -ENOSYS, if a sandbox has become stricter since open, and nobody can be accepted any more. *msg is unchanged
 * after an error. */
int32_t ipc_receiver_receive(ipc_receiver *r, ipc_message *msg, int64_t timeout_ns);

/* Gives a message back to its sender; msg->data must not be read any more. Any order. Never waits.
 * Returns 0; -ESTALE if it has been released already, or is another receiver's (found nearly always); -EINVAL if it
 * can't be a message: an empty struct, or that of an end. */
int32_t ipc_receiver_release(ipc_receiver *r, const ipc_message *msg);

/* As ipc_sender_interrupt. */
int32_t ipc_receiver_interrupt(ipc_receiver *r);

/* Prepares for waiting on ipc_receiver_fd, as ipc_sender_arm. Returns 1: nothing there, wait on the fd; 0: something is
 * there, receive it; -ECANCELED. A receive before the wait undoes it; other calls do not. */
int32_t ipc_receiver_arm(ipc_receiver *r);

/* As ipc_sender_fd. */
int32_t ipc_receiver_fd(const ipc_receiver *r);

/* As ipc_sender_url. */
const char *ipc_receiver_url(const ipc_receiver *r);

/* Counters; also looks at the handle's events. Returns 0. */
int32_t ipc_receiver_stats(ipc_receiver *r, ipc_receiver_counters *out);

/* The senders connected; as ipc_sender_links. */
int32_t ipc_receiver_links(ipc_receiver *r, ipc_link *out, size_t count);

/* Closes. Messages that were not received, or not released, go to the next receiver if this was the last.
 * Returns the number of messages still held. If it is positive their memory stays valid, _release is the one call that is
 * left, and the release of the last one frees the handle. Else the handle is gone, but after -EBUSY. NULL is taken and
 * does nothing. */
int32_t ipc_receiver_close(ipc_receiver *r);

/* ---- Handing over to another copy of the library -----------------------------------------------------------------
 *
 * A program that loads the library by hand (dlopen) can exchange it for another build while its handles stay open. No
 * peer notices; nothing is lost, doubled or reordered. Messages that are held stay valid, and so do the ipc_message
 * structs to release them with; a reservation stays open; the fd keeps its number and goes on in every poll and epoll
 * that it is in. What changes is the address of the handle. The steps:
 *
 *   load    the new build, from a file that is not loaded yet: for a known one dlopen gives the old copy again.
 *   gate    Let no thread into a call of the old copy, and wait until none is inside: _interrupt ends what blocks.
 *   freeze  each handle in the old copy,
 *   adopt   each in the new copy. From here on the new handles are used.
 *   forget  each in the old copy, and unload that with dlclose. (Forget may also come before adopt.)
 *
 * Nothing has moved until the first call on an adopted handle is made. Before that, all can be taken back: forget what
 * was adopted in the new copy, and adopt the states in the old one, which gives the frozen handles themselves back. This
 * takes no memory and no descriptor, and cannot fail. */

/* Writes all that the handle consists of to `state`, and freezes the handle. It keeps all that it has, and every call on
 * it returns -EBUSY (close too: it is not gone), but for
 *   _forget     below
 *   _interrupt  as ever, and kept for whoever has the handle next
 *   _fd, _url   as ever
 * Never waits, and serves no event. A closed receiver some of whose messages are held can be frozen too.
 *   state   `size` bytes; may be NULL if size is 0. The caller's. Plain data, of use in this process alone, and only until
 *           the handle goes on, here or elsewhere
 * Returns the number of bytes that the state takes. If that is more than `size`, nothing has changed, and what is in
 * `state` is of no use. -EBUSY if it is frozen already, or another thread is inside: always seen in a debug build (C4),
 * and elsewhere if that thread sleeps. */
int32_t ipc_sender_freeze(ipc_sender *s, void *state, size_t size);

/* Makes a handle of this copy of the library out of a state that _freeze wrote, in whichever copy. With the first call
 * on it, except for _fd, _url, _interrupt and _forget, it takes the handle over; until then nothing has changed. In the
 * copy that froze the handle, and has not forgotten it, *out is that very handle, no longer frozen.
 *   out      set to the handle, or to NULL
 *   errbuf   as for ipc_sender_open
 * Returns 0. Nothing has changed after an error:
 *   -EINVAL       `state` is not such a state, or not all of it, or damaged, or that of a receiver
 *   IPC_EVERSION  it comes from a build with another handoff version, memory layout, or abi: close the handle there, and
 *                 open a new one here
 *   -ESTALE       the handle has gone on since
 *   IPC_EFORKED   it is of another process
 *   -EMFILE, -ENFILE   on a pipe or socket only: a few descriptors more are needed, until the old handle is forgotten
 *   -ENOMEM */
int32_t ipc_sender_adopt(ipc_sender **out, const void *state, size_t size, char *errbuf, size_t errlen);

/* Frees the private memory of a frozen handle, or of an adopted one before the first call, and leaves its descriptors
 * and shared memory to whoever adopts the state. The handle is gone; no _interrupt of it may be under way. Never waits.
 * Returns 0; -EINVAL if it is neither: close it instead. */
int32_t ipc_sender_forget(ipc_sender *s);

/* As the three above. */
int32_t ipc_receiver_freeze(ipc_receiver *r, void *state, size_t size);
int32_t ipc_receiver_adopt(ipc_receiver **out, const void *state, size_t size, char *errbuf, size_t errlen);
int32_t ipc_receiver_forget(ipc_receiver *r);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif

#endif

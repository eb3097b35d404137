/* ipc.h as a program includes it: first, twice, beside names of its own, with each constant used. */
#include <ipc/ipc.h>

#if defined(EOF) || defined(EINVAL) || defined(O_RDONLY) || defined(SIGINT) || defined(PTHREAD_ONCE_INIT)
#error "ipc.h brings in more than stddef.h and stdint.h"
#endif

/* What is not reserved for it is free. */
struct sender;
struct receiver;
struct message;
struct link;
typedef int channel;

int header_use(void);
int header_use(void) {
    ipc_sender *s = 0;
    ipc_receiver *r = 0;
    ipc_message m = {sizeof m, 0, 0, 0, 0, 0, 0, 0, 0};
    ipc_sender_options so = {sizeof so, 0, 0};
    ipc_receiver_options ro = {sizeof ro, IPC_FROM_DEFAULT, IPC_OVERFLOW_BLOCK};
    channel results[] = {IPC_MESSAGE,     IPC_END,         IPC_DIED,       IPC_EFORKED,
                         IPC_EVERSION,    IPC_SENDER,      IPC_RECEIVER,   IPC_FROM_OLDEST,
                         IPC_FROM_LATEST, IPC_REDELIVERED, IPC_LINK_UP,    IPC_LINK_CONNECTING,
                         IPC_LINK_ENDED,  IPC_LINK_LEFT,   IPC_ABI_VERSION};
    if (ipc_sender_open(&s, "shm://x", &so, 0, 0) < 0 || ipc_receiver_open(&r, "shm://x", &ro, 0, 0) < 0) return 1;
    return ipc_receiver_receive(r, &m, 0) == results[0];
}

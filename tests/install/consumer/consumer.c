/* A program of somebody who has installed libipc. Exit status 0 if a message came through. */
#include <ipc/ipc.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    char words[512];
    ipc_sender *s;
    ipc_receiver *r;
    ipc_message m;
    int good;
    m.struct_size = sizeof m;
    if (ipc_abi_version() != IPC_ABI_VERSION) return 1;
    if (ipc_sender_open(&s, "shm://consumer", NULL, words, sizeof words) < 0 ||
        ipc_receiver_open(&r, "shm://consumer", NULL, words, sizeof words) < 0) {
        fprintf(stderr, "%s\n", words);
        return 2;
    }
    good = ipc_sender_send(s, "hello", 5, 7, 1000000000) == 0 &&
           ipc_receiver_receive(r, &m, 1000000000) == IPC_MESSAGE && m.size == 5 && memcmp(m.data, "hello", 5) == 0 &&
           m.tag == 7 && ipc_receiver_release(r, &m) == 0;
    good = ipc_sender_close(s, 0) == 0 && ipc_receiver_close(r) == 0 && good;
    return good ? 0 : 3;
}

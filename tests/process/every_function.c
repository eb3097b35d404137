/* Every function of ipc.h once, in C, with what it must answer. Says what failed, and how many did. */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <ipc/ipc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int failed;

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            failed++;                                                               \
        }                                                                           \
    } while (0)

static const int64_t second = 1000000000;

static void library(void) {
    CHECK(ipc_abi_version() == IPC_ABI_VERSION);
    CHECK(strstr(ipc_version(), "libipc ") == ipc_version());
    CHECK(strlen(ipc_strerror(-ETIMEDOUT)) > 0);
    CHECK(strlen(ipc_strerror(IPC_EVERSION)) > 0);
    CHECK(strlen(ipc_strerror(12345)) > 0);
}

int main(void) {
    char folder[] = "/tmp/ipc-every-XXXXXX", words[256] = "unchanged", channel_folder[64];
    unsigned char state[4096];
    ipc_sender *s = NULL, *moved_s = NULL;
    ipc_receiver *r = NULL;
    ipc_sender_options so = {sizeof so, 1 << 16, 1 << 17};
    ipc_receiver_options ro = {sizeof ro, IPC_FROM_OLDEST, IPC_OVERFLOW_BLOCK};
    ipc_message m, kept;
    ipc_sender_counters sc;
    ipc_receiver_counters rc;
    ipc_link link;
    ipc_channel channels[64];
    void *room = NULL;
    int32_t count, ours = 0, i;

    m.struct_size = sizeof m;
    kept.struct_size = sizeof kept;
    sc.struct_size = sizeof sc;
    rc.struct_size = sizeof rc;
    link.struct_size = sizeof link;
    CHECK(sizeof(ipc_message) == 64);
    library();
    if (!mkdtemp(folder) || setenv("IPC_DIR", folder, 1) != 0) return 2;

    CHECK(ipc_sender_open(&s, "shm://every", &so, words, sizeof words) == 0);
    CHECK(words[0] == '\0');
    CHECK(ipc_receiver_open(&r, "shm://every", &ro, words, sizeof words) == 0);
    if (!s || !r) return 3;
    CHECK(strcmp(ipc_sender_url(s), "shm://every") == 0);
    CHECK(strcmp(ipc_receiver_url(r), "shm://every") == 0);
    CHECK(ipc_sender_url(NULL) == NULL);
    CHECK(ipc_receiver_url(NULL) == NULL);

    /* While this user has too many descriptors in flight, by other programs, nobody is linked. */
    for (i = 0; i < 10000; i++) {
        CHECK(ipc_sender_stats(s, &sc) == 0);
        if (sc.links == 1) break;
        poll(NULL, 0, 1);
    }
    CHECK(ipc_receiver_receive(r, &m, 0) == -EAGAIN);
    CHECK(ipc_sender_send(s, "one", 3, 11, second) == 0);
    CHECK(ipc_receiver_receive(r, &m, second) == IPC_MESSAGE);
    CHECK(m.size == 3 && memcmp(m.data, "one", 3) == 0 && m.tag == 11 && m.sequence == 1 && m.flags == 0);

    CHECK(ipc_sender_reserve(s, 100, &room, second) == 0);
    memcpy(room, "two", 3);
    CHECK(ipc_sender_commit(s, 3, 22) == 0);
    CHECK(ipc_sender_reserve(s, 100, &room, second) == 0);
    CHECK(ipc_sender_abort(s) == 0);
    CHECK(ipc_receiver_receive(r, &kept, second) == IPC_MESSAGE);
    CHECK(kept.size == 3 && memcmp(kept.data, "two", 3) == 0 && kept.tag == 22 && kept.sequence == 2);

    CHECK(ipc_sender_stats(s, &sc) == 0);
    CHECK(sc.messages == 2 && sc.bytes == 6 && sc.unreleased == 2 && sc.links == 1 && sc.capacity == 1 << 16);
    CHECK(sc.id == m.sender);
    CHECK(ipc_receiver_stats(r, &rc) == 0);
    CHECK(rc.messages == 2 && rc.bytes == 6 && rc.held == 2 && rc.links == 1);
    CHECK(ipc_sender_links(s, &link, 1) == 1);
    CHECK(link.peer == rc.id && link.pid == getpid() && link.state == IPC_LINK_UP);
    CHECK(ipc_receiver_links(r, &link, 1) == 1);
    CHECK(link.peer == sc.id && link.behind == 2);

    CHECK(ipc_sender_flush(s, 0) == 2 || ipc_sender_flush(s, 1000) == 2);
    CHECK(ipc_receiver_release(r, &m) == 0);
    CHECK(ipc_receiver_release(r, &m) == -ESTALE);
    CHECK(ipc_sender_flush(s, 1000) == 1);

    CHECK(ipc_receiver_interrupt(r) == 0);
    CHECK(ipc_receiver_receive(r, &m, second) == -ECANCELED);
    CHECK(ipc_sender_interrupt(s) == 0);
    CHECK(ipc_sender_arm(s) == -ECANCELED);

    for (i = 0; (count = ipc_receiver_arm(r)) == 0 && i < 100; i++) CHECK(ipc_receiver_receive(r, &m, 0) == -EAGAIN);
    CHECK(count == 1);
    {
        struct pollfd p = {0, POLLIN, 0};
        p.fd = ipc_receiver_fd(r);
        CHECK(p.fd >= 0);
        CHECK(ipc_sender_send(s, NULL, 0, 33, second) == 0);
        CHECK(poll(&p, 1, 1000) == 1);
        CHECK(ipc_receiver_arm(r) == 0);
    }
    CHECK(ipc_receiver_receive(r, &m, second) == IPC_MESSAGE);
    CHECK(m.size == 0 && m.data != NULL && m.tag == 33);
    CHECK(ipc_receiver_release(r, &m) == 0);
    CHECK(ipc_sender_fd(s) >= 0);

    count = ipc_channel_list(NULL, 0);
    CHECK(count >= 2);
    memset(channels, 0, sizeof channels);
    channels[0].struct_size = sizeof channels[0];
    count = ipc_channel_list(channels, 64);
    for (i = 0; i < count && i < 64; i++)
        if (channels[i].pid == getpid() && strcmp(channels[i].url, "shm://every") == 0) ours++;
    CHECK(ours == 2);
    {
        ipc_channel_view view;
        view.struct_size = sizeof view;
        CHECK(ipc_channel_look(&view) == 0);
        CHECK(strcmp(view.folder, folder) == 0);
    }

    /* To another copy of the library, as which the same one serves here. */
    CHECK(ipc_sender_forget(s) == -EINVAL && ipc_receiver_forget(r) == -EINVAL);
    count = ipc_sender_freeze(s, NULL, 0);
    CHECK(count > 0 && count <= (int32_t)sizeof state);
    CHECK(ipc_sender_freeze(s, state, sizeof state) == count);
    CHECK(ipc_sender_send(s, "x", 1, 0, 0) == -EBUSY);
    CHECK(ipc_sender_adopt(&moved_s, state, (size_t)count - 1, words, sizeof words) == -EINVAL);
    CHECK(moved_s == NULL && words[0] != '\0');
    CHECK(ipc_sender_adopt(&moved_s, state, (size_t)count, words, sizeof words) == 0);
    CHECK(moved_s == s && words[0] == '\0');
    CHECK(ipc_sender_freeze(s, state, sizeof state) == count);
    CHECK(ipc_sender_forget(s) == 0);
    CHECK(ipc_sender_adopt(&s, state, (size_t)count, words, sizeof words) == 0);
    count = ipc_receiver_freeze(r, state, sizeof state);
    CHECK(count > 0 && count <= (int32_t)sizeof state);
    CHECK(ipc_receiver_forget(r) == 0);
    CHECK(ipc_receiver_adopt(&r, state, (size_t)count, words, sizeof words) == 0);
    if (!s || !r) return 4;

    CHECK(ipc_sender_end(s) == 0);
    CHECK(ipc_sender_end(s) == 0);
    CHECK(ipc_sender_send(s, "x", 1, 0, 0) == -EPIPE);
    CHECK(ipc_receiver_receive(r, &m, second) == IPC_END);
    CHECK(m.sender == sc.id);

    /* The message that is held outlives both handles. */
    CHECK(ipc_sender_close(s, 0) == 1);
    CHECK(ipc_receiver_close(r) == 1);
    CHECK(memcmp(kept.data, "two", 3) == 0);
    CHECK(ipc_receiver_release(r, &kept) == 0);
    CHECK(ipc_sender_close(NULL, 0) == 0);
    CHECK(ipc_receiver_close(NULL) == 0);

    snprintf(channel_folder, sizeof channel_folder, "%s/every", folder);
    rmdir(channel_folder);
    CHECK(rmdir(folder) == 0);
    if (failed) fprintf(stderr, "%d failed\n", failed);
    return failed != 0;
}

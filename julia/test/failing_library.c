/* A libipc that loads, and adopts handles by another one (LIBIPC_REAL), but for the one number FAIL_AT, counted from 1; and
 * that gets to see the handles as one of another version froze them, if VERSION_AT says where in the state that version
 * stands, and VERSION what it is. Nothing else of it may be called. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *real;
static int adopted;

uint32_t ipc_abi_version(void) { return 1; }

static void *function(const char *name) {
    if (!real) real = dlopen(getenv("LIBIPC_REAL"), RTLD_NOW | RTLD_LOCAL);
    return real ? dlsym(real, name) : NULL;
}

__attribute__((destructor)) static void unload(void) {
    if (real) dlclose(real);
}

static int32_t adopt(const char *name, void **out, const void *state, size_t size, char *errbuf, size_t errlen) {
    if (++adopted == atoi(getenv("FAIL_AT"))) {
        snprintf(errbuf, errlen, "handle %d is not adopted", adopted);
        return -4002;
    }
    int32_t (*f)(void **, const void *, size_t, char *, size_t) =
        (int32_t(*)(void **, const void *, size_t, char *, size_t))function(name);
    const char *where = getenv("VERSION_AT");
    if (!where) return f(out, state, size, errbuf, errlen);
    char *other = malloc(size);
    uint32_t version = (uint32_t)atoi(getenv("VERSION"));
    memcpy(other, state, size);
    memcpy(other + atoi(where), &version, sizeof version);
    int32_t result = f(out, other, size, errbuf, errlen);
    free(other);
    return result;
}

static int32_t forget(const char *name, void *handle) { return ((int32_t(*)(void *))function(name))(handle); }

int32_t ipc_sender_adopt(void **out, const void *state, size_t size, char *errbuf, size_t errlen) {
    return adopt("ipc_sender_adopt", out, state, size, errbuf, errlen);
}
int32_t ipc_receiver_adopt(void **out, const void *state, size_t size, char *errbuf, size_t errlen) {
    return adopt("ipc_receiver_adopt", out, state, size, errbuf, errlen);
}
int32_t ipc_sender_forget(void *handle) { return forget("ipc_sender_forget", handle); }
int32_t ipc_receiver_forget(void *handle) { return forget("ipc_receiver_forget", handle); }

void never(void) { abort(); }
#define NEVER(name) \
    void name(void) __attribute__((alias("never")));
NEVER(ipc_version)
NEVER(ipc_strerror)
NEVER(ipc_channel_list)
NEVER(ipc_sender_open)
NEVER(ipc_sender_reserve)
NEVER(ipc_sender_commit)
NEVER(ipc_sender_abort)
NEVER(ipc_sender_send)
NEVER(ipc_sender_end)
NEVER(ipc_sender_flush)
NEVER(ipc_sender_interrupt)
NEVER(ipc_sender_arm)
NEVER(ipc_sender_fd)
NEVER(ipc_sender_url)
NEVER(ipc_sender_stats)
NEVER(ipc_sender_links)
NEVER(ipc_sender_close)
NEVER(ipc_sender_freeze)
NEVER(ipc_receiver_open)
NEVER(ipc_receiver_receive)
NEVER(ipc_receiver_release)
NEVER(ipc_receiver_interrupt)
NEVER(ipc_receiver_arm)
NEVER(ipc_receiver_fd)
NEVER(ipc_receiver_url)
NEVER(ipc_receiver_stats)
NEVER(ipc_receiver_links)
NEVER(ipc_receiver_close)
NEVER(ipc_receiver_freeze)

/* Prints what ipc.h says of each struct: its name, its size, and its members with their offsets. */
#include <ipc/ipc.h>
#include <stdio.h>

#define STRUCT(type) printf("\n%s %zu", #type, sizeof(type))
#define MEMBER(type, member) printf(" %s %zu", #member, offsetof(type, member))

int main(void) {
    STRUCT(ipc_message);
    MEMBER(ipc_message, struct_size), MEMBER(ipc_message, data), MEMBER(ipc_message, size), MEMBER(ipc_message, tag);
    MEMBER(ipc_message, sequence), MEMBER(ipc_message, sender), MEMBER(ipc_message, flags), MEMBER(ipc_message, link);
    MEMBER(ipc_message, position);
    STRUCT(ipc_sender_options);
    MEMBER(ipc_sender_options, struct_size), MEMBER(ipc_sender_options, capacity),
        MEMBER(ipc_sender_options, max_capacity);
    STRUCT(ipc_receiver_options);
    MEMBER(ipc_receiver_options, struct_size), MEMBER(ipc_receiver_options, from);
    MEMBER(ipc_receiver_options, overflow);
    STRUCT(ipc_sender_counters);
    MEMBER(ipc_sender_counters, struct_size), MEMBER(ipc_sender_counters, id), MEMBER(ipc_sender_counters, capacity);
    MEMBER(ipc_sender_counters, used), MEMBER(ipc_sender_counters, messages), MEMBER(ipc_sender_counters, bytes);
    MEMBER(ipc_sender_counters, unreleased), MEMBER(ipc_sender_counters, links), MEMBER(ipc_sender_counters, waits);
    MEMBER(ipc_sender_counters, bells), MEMBER(ipc_sender_counters, refused), MEMBER(ipc_sender_counters, unlinked);
    MEMBER(ipc_sender_counters, lost), MEMBER(ipc_sender_counters, largest);
    STRUCT(ipc_receiver_counters);
    MEMBER(ipc_receiver_counters, struct_size), MEMBER(ipc_receiver_counters, id);
    MEMBER(ipc_receiver_counters, messages), MEMBER(ipc_receiver_counters, bytes);
    MEMBER(ipc_receiver_counters, held), MEMBER(ipc_receiver_counters, ends), MEMBER(ipc_receiver_counters, deaths);
    MEMBER(ipc_receiver_counters, links), MEMBER(ipc_receiver_counters, skipped);
    MEMBER(ipc_receiver_counters, waits), MEMBER(ipc_receiver_counters, bells);
    MEMBER(ipc_receiver_counters, refused), MEMBER(ipc_receiver_counters, waiting_for_fds);
    MEMBER(ipc_receiver_counters, watching), MEMBER(ipc_receiver_counters, lost);
    MEMBER(ipc_receiver_counters, duplicated), MEMBER(ipc_receiver_counters, reordered);
    MEMBER(ipc_receiver_counters, foreign), MEMBER(ipc_receiver_counters, unheard);
    STRUCT(ipc_link);
    MEMBER(ipc_link, struct_size), MEMBER(ipc_link, peer), MEMBER(ipc_link, pid), MEMBER(ipc_link, state);
    MEMBER(ipc_link, lack), MEMBER(ipc_link, reserved);
    MEMBER(ipc_link, committed), MEMBER(ipc_link, delivered), MEMBER(ipc_link, released), MEMBER(ipc_link, behind);
    MEMBER(ipc_link, skipped), MEMBER(ipc_link, lost);
    STRUCT(ipc_channel_link);
    MEMBER(ipc_channel_link, peer), MEMBER(ipc_channel_link, pid), MEMBER(ipc_channel_link, state);
    MEMBER(ipc_channel_link, lack), MEMBER(ipc_channel_link, reserved);
    MEMBER(ipc_channel_link, behind), MEMBER(ipc_channel_link, held), MEMBER(ipc_channel_link, skipped);
    MEMBER(ipc_channel_link, lost);
    STRUCT(ipc_channel);
    MEMBER(ipc_channel, struct_size), MEMBER(ipc_channel, url), MEMBER(ipc_channel, folder), MEMBER(ipc_channel, id);
    MEMBER(ipc_channel, pid), MEMBER(ipc_channel, role), MEMBER(ipc_channel, layout), MEMBER(ipc_channel, links);
    MEMBER(ipc_channel, messages), MEMBER(ipc_channel, bytes), MEMBER(ipc_channel, backlog);
    MEMBER(ipc_channel, capacity), MEMBER(ipc_channel, skipped), MEMBER(ipc_channel, lost);
    MEMBER(ipc_channel, age_ns), MEMBER(ipc_channel, shown), MEMBER(ipc_channel, link);
    printf("\nIPC_ABI_VERSION %d", IPC_ABI_VERSION);
    printf("\n");
    return 0;
}

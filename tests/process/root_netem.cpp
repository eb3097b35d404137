// udp:// over a network that loses, doubles, delays and reorders, made of a network namespace and tc's netem. This
// needs root, ip and tc; elsewhere datagrams.cpp has a relay that does the same by hand.
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "transports.hpp"

ROLE(lossy_network) {
    MUST(unshare(CLONE_NEWNET) == 0);
    MUST(
        std::system("ip link set lo up && tc qdisc add dev lo root netem limit 100000 delay 2ms 1ms loss 10% duplicate "
                    "5% reorder 20% 50%") == 0);
    rx r("udp://127.0.0.1:0");
    tx s(ipc_receiver_url(r));
    constexpr std::uint64_t sent = 5000;
    std::vector<int> times(sent + 1);
    std::uint64_t received = 0, duplicates = 0, late = 0, highest = 0, first = 0;
    ipc_message m;
    auto take = [&](int got) {
        MUST(got == IPC_MESSAGE);
        MUST(proven(m));
        MUST(m.sequence >= 1 && m.sequence <= sent);
        if (first == 0) first = m.sequence;
        bool before = times[m.sequence]++ != 0;
        MUST(before == ((m.flags & IPC_DUPLICATE) != 0));
        MUST((!before && m.sequence < highest) == ((m.flags & IPC_LATE) != 0));
        highest = std::max(highest, m.sequence);
        ++received;
        duplicates += before;
        late += (m.flags & IPC_LATE) != 0;
        r.release(m);
    };
    for (std::uint64_t i = 0; i < sent; ++i) {
        MUST(s.send(i, 100) == 0);
        for (int got; (got = r.receive(m, 0)) != -EAGAIN;) take(got);
    }
    for (int got; (got = r.receive(m, 200'000'000)) != -ETIMEDOUT;) take(got);
    ipc_receiver_counters c = r.stats();
    MUST(c.duplicated == duplicates);
    MUST(c.reordered == late);
    MUST(c.foreign == 0);
    MUST(duplicates > 0);
    MUST(late > 0);
    MUST(c.lost > 0);
    std::uint64_t lowest = 1;
    while (times[lowest] == 0) ++lowest;
    MUST(c.lost == highest - lowest + 1 - (received - duplicates));
}

TEST_CASE_FIXTURE(scratch, "over a bad network every loss, every double and every late one is counted") {
    if (geteuid() != 0 || std::system("tc -V >/dev/null 2>&1 && ip -V >/dev/null 2>&1") != 0) {
        MESSAGE("skipped: it needs root, ip and tc");
        return;
    }
    // Some machines let root make a network namespace, and have no netem.
    if (std::system("unshare -n sh -c 'ip link set lo up && tc qdisc add dev lo root netem loss 1%' >/dev/null 2>&1")) {
        MESSAGE("skipped: this kernel has no netem, or gives no network namespace");
        return;
    }
    start("lossy_network").done();
}

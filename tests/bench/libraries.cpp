// Libraries with the same purpose, each set up as its documentation advises for speed: messages made in place where it
// can, as many on their way as fit the ring that ours has.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "medium.hpp"

#ifdef BENCH_ZMQ
#include <zmq.h>
#endif
#ifdef BENCH_NNG
#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#endif
#ifdef BENCH_BOOST
#include <boost/interprocess/ipc/message_queue.hpp>
#endif

namespace bench {

namespace {

// A name for each medium that a run makes.
[[maybe_unused]] std::string fresh_name(const char *prefix) {
    static int made;
    return fmt::format("{}-{}-{}", prefix, getpid(), made++);
}
[[maybe_unused]] std::string fresh_url(const char *prefix) {
    return fmt::format("ipc://{}/{}", std::getenv("IPC_DIR"), fresh_name(prefix));
}
[[maybe_unused]] int on_their_way(std::size_t size, std::size_t capacity) {
    return static_cast<int>(std::max<std::size_t>(capacity / size, 2));
}

#ifdef BENCH_BOOST
namespace bip = boost::interprocess;

struct boost_queue {
    std::string name = fresh_name("libipc-bench");
    std::size_t size;
    bip::message_queue queue;
    boost_queue(std::size_t most, std::size_t capacity)
        : size(most),
          queue(bip::create_only, name.c_str(), static_cast<std::size_t>(on_their_way(most, capacity)), most) {}
    ~boost_queue() { bip::message_queue::remove(name.c_str()); }
    void give_up() {}

    struct writer {
        boost_queue &to;
        std::vector<std::byte> buffer;
        explicit writer(boost_queue &q) : to(q), buffer(q.size) {}
        std::byte *room(std::size_t) { return buffer.data(); }
        void publish(std::size_t size) { to.queue.send(buffer.data(), size, 0); }
        void finish() { publish(0); }
    };
    struct reader {
        boost_queue &from;
        std::vector<std::byte> buffer;
        explicit reader(boost_queue &q) : from(q), buffer(q.size) {}
        const std::byte *next(std::size_t) {
            std::size_t got;
            unsigned priority;
            from.queue.receive(buffer.data(), buffer.size(), got, priority);
            return got > 0 ? buffer.data() : nullptr;
        }
        void done() {}
    };
};
#endif

#ifdef BENCH_ZMQ
struct zmq_pipeline {
    std::string url = fresh_url("zmq");
    int most_messages;
    zmq_pipeline(std::size_t size, std::size_t capacity) : most_messages(on_their_way(size, capacity)) {}
    void give_up() {}

    struct end {
        void *context = zmq_ctx_new(), *socket;
        zmq_msg_t message;
        end(zmq_pipeline &p, int type) : socket(zmq_socket(context, type)) {
            zmq_setsockopt(socket, ZMQ_SNDHWM, &p.most_messages, sizeof p.most_messages);
            zmq_setsockopt(socket, ZMQ_RCVHWM, &p.most_messages, sizeof p.most_messages);
            int retry_ms = 1;  // it may look for the other before that is there
            zmq_setsockopt(socket, ZMQ_RECONNECT_IVL, &retry_ms, sizeof retry_ms);
            must((type == ZMQ_PULL ? zmq_bind : zmq_connect)(socket, p.url.c_str()) == 0);
        }
        ~end() {
            zmq_close(socket);
            zmq_ctx_term(context);  // lingers until all is sent
        }
        static void must(bool holds) {
            if (!holds) throw std::runtime_error(std::string("ZeroMQ: ") + zmq_strerror(zmq_errno()));
        }
    };
    struct writer : end {
        explicit writer(zmq_pipeline &p) : end(p, ZMQ_PUSH) {}
        std::byte *room(std::size_t size) {
            must(zmq_msg_init_size(&message, size) == 0);
            return static_cast<std::byte *>(zmq_msg_data(&message));
        }
        void publish(std::size_t) { must(zmq_msg_send(&message, socket, 0) >= 0); }
        void finish() {
            room(0);
            publish(0);
        }
    };
    struct reader : end {
        explicit reader(zmq_pipeline &p) : end(p, ZMQ_PULL) { zmq_msg_init(&message); }
        ~reader() { zmq_msg_close(&message); }
        const std::byte *next(std::size_t) {
            must(zmq_msg_recv(&message, socket, 0) >= 0);
            return zmq_msg_size(&message) > 0 ? static_cast<std::byte *>(zmq_msg_data(&message)) : nullptr;
        }
        void done() {}
    };
};
#endif

#ifdef BENCH_NNG
struct nng_pair {
    std::string url = fresh_url("nng");
    int most_messages;
    nng_pair(std::size_t size, std::size_t capacity)
        : most_messages(std::min(on_their_way(size, capacity), 8192)) {}  // its own limit
    void give_up() {}

    static void must(int code) {
        if (code != 0) throw std::runtime_error(std::string("nng: ") + nng_strerror(code));
    }
    struct writer {
        nng_socket socket;
        nng_msg *message = nullptr;
        explicit writer(nng_pair &p) {
            must(nng_pair0_open(&socket));
            nng_socket_set_int(socket, NNG_OPT_SENDBUF, p.most_messages);
            nng_socket_set_ms(socket, NNG_OPT_RECONNMINT, 1);  // it may look for the other before that is there
            must(nng_dial(socket, p.url.c_str(), nullptr, NNG_FLAG_NONBLOCK));
        }
        ~writer() { nng_close(socket); }
        std::byte *room(std::size_t size) {
            must(nng_msg_alloc(&message, size));
            return static_cast<std::byte *>(nng_msg_body(message));
        }
        void publish(std::size_t) { must(nng_sendmsg(socket, message, 0)); }
        void finish() {
            room(0);
            publish(0);
            must(nng_recvmsg(socket, &message, 0));  // it has no linger: the reader says when it has all
            nng_msg_free(message);
        }
    };
    struct reader {
        nng_socket socket;
        nng_msg *message = nullptr;
        explicit reader(nng_pair &p) {
            must(nng_pair0_open(&socket));
            nng_socket_set_int(socket, NNG_OPT_RECVBUF, p.most_messages);
            must(nng_socket_set_size(socket, NNG_OPT_RECVMAXSZ, 0));
            must(nng_listen(socket, p.url.c_str(), nullptr, 0));
        }
        ~reader() { nng_close(socket); }
        const std::byte *next(std::size_t) {
            must(nng_recvmsg(socket, &message, 0));
            if (nng_msg_len(message) > 0) return static_cast<std::byte *>(nng_msg_body(message));
            must(nng_sendmsg(socket, message, 0));
            usleep(20'000);
            return nullptr;
        }
        void done() { nng_msg_free(message); }
    };
};
#endif

}  // namespace

std::vector<contender> library_peers() {
    [[maybe_unused]] constexpr std::size_t any = ~std::size_t{0};
    return {
#ifdef BENCH_BOOST
        over<boost_queue>("boost", contender::peer, any),
#endif
#ifdef BENCH_ZMQ
        over<zmq_pipeline>("zeromq", contender::peer, any),
#endif
#ifdef BENCH_NNG
        over<nng_pair>("nng", contender::peer, any),
#endif
    };
}

}  // namespace bench

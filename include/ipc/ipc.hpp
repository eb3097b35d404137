// ipc.hpp - ipc.h for C++20: handles that close, messages that release, errors as the standard library has them.
//
// Header only, over ipc.h alone; what a call does is said there. Each call that can fail comes in two forms: one that
// throws std::system_error (constructors throw open_error, which is one), and one that takes an error_code at last and
// does not throw. Compiled with -fno-exceptions, it has the second ones alone. The throwing form of a call that waits
// goes on after a signal; what is to end it calls interrupt(), also from the handler. The other form returns EINTR.
// Timeouts are std::chrono::nanoseconds; `forever` waits for ever, zero does not wait.
#ifndef IPC_IPC_HPP
#define IPC_IPC_HPP

#if __cplusplus < 202002L
#error "ipc.hpp needs C++20: compile with -std=c++20"
#endif

#include <ipc/ipc.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <ranges>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace ipc {

using timeout = std::chrono::nanoseconds;
inline constexpr timeout forever{-1};

// The errors of ipc.h. Those that are an errno compare equal to std::errc.
inline const std::error_category &category() noexcept {
    struct words final : std::error_category {
        const char *name() const noexcept override { return "ipc"; }
        std::string message(int code) const override { return ipc_strerror(code); }
        std::error_condition default_error_condition(int code) const noexcept override {
            return code < 0 && code > -4000 ? std::error_condition(-code, std::generic_category())
                                            : std::error_condition(code, *this);
        }
    };
    static const words instance;
    return instance;
}

namespace detail {

inline std::error_code code_of(std::int32_t result) noexcept {
    return result < 0 ? std::error_code(result, category()) : std::error_code();
}

#ifdef __cpp_exceptions
// What was called on which channel, and what to do where the code alone does not tell.
[[noreturn]] inline void raise(std::int32_t code, const char *call, const char *url, const std::string &advice) {
    std::string words = std::string("ipc ") + call;
    if (url) words += std::string(" on ") + url;
    if (!advice.empty()) words += ": " + advice;
    throw std::system_error(code_of(code), words);
}
#endif

// Any negative duration means for ever, as -1 does.
inline std::int64_t ns(timeout t) noexcept { return t.count() < 0 ? -1 : t.count(); }

// Calls f(timeout in ns) until no signal has cut it short, for no longer than `t` in all.
template <class F>
std::int32_t through_signals(timeout t, F f) {
    using clock = std::chrono::steady_clock;
    const bool limited = t.count() > 0;
    const clock::time_point start = limited ? clock::now() : clock::time_point();  // 20 ns that most calls need not pay
    for (timeout left = t;;) {
        std::int32_t result = f(ns(left));
        if (result != -EINTR) return result;
        if (limited) left = std::max(t - timeout(clock::now() - start), timeout(1));
    }
}

// A NUL inside would cut the name short, and open another channel than the one that was asked for.
inline bool has_nul(const std::string &url, char *words, std::size_t size) noexcept {
    if (url.find('\0') == std::string::npos) return false;
    static constexpr char text[] = "the URL has a NUL character in it";
    if (words && size >= sizeof text) std::memcpy(words, text, sizeof text);
    return true;
}

// What means the same in another process. A pointer does not, nor does a view of what lies elsewhere.
template <class T>
concept plain = std::is_trivially_copyable_v<T> && !std::is_pointer_v<T> && !std::is_member_pointer_v<T> &&
                !std::is_null_pointer_v<T> && !std::ranges::view<T>;

template <class T>
concept bytes_or_text =
    std::convertible_to<const T &, std::string_view> || std::convertible_to<const T &, std::span<const std::byte>>;

template <class Values>
concept plain_values = std::ranges::contiguous_range<const Values> && plain<std::ranges::range_value_t<const Values>> &&
    !bytes_or_text<Values>;

template <class T>
concept plain_value = plain<T> && !std::ranges::range<const T> && !bytes_or_text<T>;

// That a value lies as its type wants in each message of so many bytes.
template <class T, std::size_t Bytes>
constexpr void check_alignment() noexcept {
    static_assert(alignof(T) <= (Bytes < 256 ? 16 : 64),
                  "a message is aligned to 16 bytes, and to 64 from 256 bytes on: send bytes, and copy from bytes()");
}
inline constexpr std::size_t many = 256;  // bytes of several values, which may be as many

template <plain_value T>
std::span<const std::byte> bytes_of(const T &value) noexcept {
    check_alignment<T, sizeof(T)>();
    return std::as_bytes(std::span(&value, 1));
}
template <plain_values Values>
std::span<const std::byte> bytes_of(const Values &values) noexcept {
    check_alignment<std::ranges::range_value_t<const Values>, many>();
    return std::as_bytes(std::span(values));
}

// Links, however many there are by the time they are read.
template <class Handle>
std::vector<ipc_link> links(Handle *handle, std::int32_t (*read)(Handle *, ipc_link *, std::size_t),
                            std::error_code &error) {
    std::vector<ipc_link> found;
    for (;;) {
        if (!found.empty()) found[0].struct_size = sizeof(ipc_link);
        std::int32_t count = read(handle, found.empty() ? nullptr : found.data(), found.size());
        error = code_of(count);
        if (error) return {};
        bool all = static_cast<std::size_t>(count) <= found.size();
        found.resize(static_cast<std::size_t>(count));
        if (all) return found;
    }
}

}  // namespace detail

#ifdef __cpp_exceptions
// A handle could not be opened. what() says what was tried, what is in the way, and what to do; code() which kind it
// is.
class open_error : public std::system_error {
  public:
    open_error(const std::error_code &code, const char *words) : std::system_error(code), words_(words) {}
    const char *what() const noexcept override { return words_.what(); }

  private:
    std::runtime_error words_;  // a string that can be copied without throwing
};
#endif

// A message as received: read-only bytes, given back to the sender in the destructor. It may outlive its receiver.
class message {
  public:
    message() noexcept = default;
    message(message &&other) noexcept
        : receiver_(std::exchange(other.receiver_, nullptr)), raw_(std::exchange(other.raw_, ipc_message{})) {}
    message &operator=(message &&other) noexcept {
        if (this != &other) {
            release();
            receiver_ = std::exchange(other.receiver_, nullptr);
            raw_ = std::exchange(other.raw_, ipc_message{});
        }
        return *this;
    }
    ~message() { release(); }

    // Views of the message, which go with it. Of the message that a function returns, or that is moved away, they don't
    // compile. The compiler can't tell behind a `->`: what receive()->message.bytes() gives is gone with its line; keep
    // the event for as long as its views.
    [[nodiscard]] std::span<const std::byte> bytes() const &noexcept {
        return {static_cast<const std::byte *>(raw_.data), raw_.size};
    }
    void bytes() const && = delete;
    [[nodiscard]] std::string_view text() const &noexcept { return {static_cast<const char *>(raw_.data), raw_.size}; }
    void text() const && = delete;

    // The value that was sent, where it lies, or the values. A size or an alignment that is not theirs is
    // std::errc::bad_message, with nullptr or no values in the form that does not throw. Values that want more than 16
    // bytes of alignment have it in messages of 256 bytes and more alone.
#ifdef __cpp_exceptions
    template <detail::plain T>
    [[nodiscard]] const T &as() const & {
        detail::check_alignment<T, sizeof(T)>();
        if (raw_.size != sizeof(T) || !aligned_for<T>()) raise("one value", sizeof(T), alignof(T));
        return *static_cast<const T *>(raw_.data);
    }
    template <detail::plain T>
    [[nodiscard]] T as() const && {  // a copy, as the message goes
        const message &here = *this;
        return here.as<T>();
    }
    template <detail::plain T>
    [[nodiscard]] std::span<const T> as_span() const & {
        detail::check_alignment<T, detail::many>();
        if (raw_.size % sizeof(T) != 0 || !aligned_for<T>()) raise("a number of values", sizeof(T), alignof(T));
        return {static_cast<const T *>(raw_.data), raw_.size / sizeof(T)};
    }
    template <detail::plain T>
    void as_span() const && = delete;
#endif
    template <detail::plain T>
    [[nodiscard]] const T *as(std::error_code &error) const &noexcept {
        detail::check_alignment<T, sizeof(T)>();
        bool good = raw_.size == sizeof(T) && aligned_for<T>();
        error = good ? std::error_code() : std::make_error_code(std::errc::bad_message);
        return good ? static_cast<const T *>(raw_.data) : nullptr;
    }
    template <detail::plain T>
    void as(std::error_code &) const && = delete;
    template <detail::plain T>
    [[nodiscard]] std::span<const T> as_span(std::error_code &error) const &noexcept {
        detail::check_alignment<T, detail::many>();
        bool good = raw_.size % sizeof(T) == 0 && aligned_for<T>();
        error = good ? std::error_code() : std::make_error_code(std::errc::bad_message);
        return {static_cast<const T *>(raw_.data), good ? raw_.size / sizeof(T) : 0};
    }
    template <detail::plain T>
    void as_span(std::error_code &) const && = delete;

    std::uint64_t tag() const noexcept { return raw_.tag; }
    std::uint64_t sequence() const noexcept { return raw_.sequence; }
    std::uint64_t sender() const noexcept { return raw_.sender; }
    bool redelivered() const noexcept { return raw_.flags & IPC_REDELIVERED; }
    bool duplicate() const noexcept { return raw_.flags & IPC_DUPLICATE; }  // udp: it came before
    bool late() const noexcept { return raw_.flags & IPC_LATE; }            // udp: a later one came before

    // Gives it back now; bytes() is empty then.
    void release() noexcept {
        if (receiver_) ipc_receiver_release(receiver_, &raw_);
        receiver_ = nullptr;
        raw_ = {};
    }
    explicit operator bool() const noexcept { return receiver_ != nullptr; }

  private:
    friend class receiver;
    template <class T>
    bool aligned_for() const noexcept {
        return reinterpret_cast<std::uintptr_t>(raw_.data) % alignof(T) == 0;
    }
#ifdef __cpp_exceptions
    [[noreturn]] void raise(const char *what, std::size_t size, std::size_t alignment) const {
        throw std::system_error(std::make_error_code(std::errc::bad_message),
                                "ipc message " + std::to_string(raw_.sequence) + " of sender " +
                                    std::to_string(raw_.sender) + ": its " + std::to_string(raw_.size) +
                                    " bytes are not " + what + " of " + std::to_string(size) + " bytes, aligned to " +
                                    std::to_string(alignment) + "; read the type that was sent, or copy bytes()");
    }
#endif
    ipc_receiver *receiver_ = nullptr;
    ipc_message raw_{};
};

// What receive brings: a message, or the news that the sender `sender` has ended or died.
struct event {
    enum kind { message_came = IPC_MESSAGE, sender_ended = IPC_END, sender_died = IPC_DIED };
    kind what{};
    std::uint64_t sender = 0;
    ipc::message message;
};

// Room in the ring for one message, to be filled in place. Without a commit, the destructor gives it back. One at a
// time for each sender, which must outlive it.
class [[nodiscard]] reservation {
  public:
    reservation() noexcept = default;
    reservation(reservation &&other) noexcept
        : sender_(std::exchange(other.sender_, nullptr)), bytes_(std::exchange(other.bytes_, {})) {}
    reservation &operator=(reservation &&other) noexcept {
        if (this != &other) {
            abort();
            sender_ = std::exchange(other.sender_, nullptr);
            bytes_ = std::exchange(other.bytes_, {});
        }
        return *this;
    }
    ~reservation() { abort(); }

    [[nodiscard]] std::span<std::byte> bytes() const &noexcept { return bytes_; }
    void bytes() const && = delete;

    // Sends the first `size` bytes.
#ifdef __cpp_exceptions
    void commit(std::size_t size, std::uint64_t tag = 0) {
        std::error_code error;
        commit(size, tag, error);
        if (error)
            detail::raise(error.value(), "commit", sender_ ? ipc_sender_url(sender_) : nullptr,
                          sender_ ? std::to_string(size) + " bytes, where " + std::to_string(bytes_.size()) +
                                        " are reserved; reserve as many as will be committed at most"
                                  : "nothing is reserved, or it was committed or given back; reserve first");
    }
#endif
    void commit(std::size_t size, std::uint64_t tag, std::error_code &error) noexcept {
        std::int32_t result = sender_ ? ipc_sender_commit(sender_, size, tag) : -EINVAL;
        error = detail::code_of(result);
        if (result != 0) return;
        sender_ = nullptr;
        bytes_ = {};
    }
    void abort() noexcept {
        if (sender_) ipc_sender_abort(sender_);
        sender_ = nullptr;
        bytes_ = {};
    }
    explicit operator bool() const noexcept { return sender_ != nullptr; }

  private:
    friend class sender;
    reservation(ipc_sender *sender, std::span<std::byte> bytes) noexcept : sender_(sender), bytes_(bytes) {}
    ipc_sender *sender_ = nullptr;
    std::span<std::byte> bytes_;
};

// A handle that sends. The destructor ends and closes without waiting; close() says how many messages nobody had yet.
class sender {
  public:
    sender() noexcept = default;
    // The sizes as in ipc_sender_options.
#ifdef __cpp_exceptions
    // Throws open_error.
    [[nodiscard]] explicit sender(const std::string &url, std::uint64_t capacity = 0, std::uint64_t max_capacity = 0) {
        char words[1024];
        std::int32_t result = open(url, capacity, max_capacity, words, sizeof words);
        if (result < 0) throw open_error(detail::code_of(result), words);
    }
#endif
    [[nodiscard]] sender(const std::string &url, std::uint64_t capacity, std::uint64_t max_capacity,
                         std::error_code &error) noexcept {
        error = detail::code_of(open(url, capacity, max_capacity, nullptr, 0));
    }
    [[nodiscard]] sender(const std::string &url, std::error_code &error) noexcept {
        error = detail::code_of(open(url, 0, 0, nullptr, 0));
    }
    sender(sender &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    sender &operator=(sender &&other) noexcept {
        if (this != &other) {
            close();
            handle_ = std::exchange(other.handle_, nullptr);
        }
        return *this;
    }
    ~sender() { close(); }

    template <std::same_as<std::nullptr_t> Null, class... Rest>
    void send(Null, Rest &&...) = delete;
#ifdef __cpp_exceptions
    void send(std::span<const std::byte> data, std::uint64_t tag = 0, timeout t = forever) {
        std::int32_t result = detail::through_signals(
            t, [&](std::int64_t ns) { return ipc_sender_send(handle_, data.data(), data.size(), tag, ns); });
        if (result < 0) raise(result, "send", data.size());
    }
    void send(std::string_view text, std::uint64_t tag = 0, timeout t = forever) {
        send(std::as_bytes(std::span(text)), tag, t);
    }
    // The bytes of a vector, an array, a span ... of plain values.
    template <detail::plain_values Values>
    void send(const Values &values, std::uint64_t tag = 0, timeout t = forever) {
        send(detail::bytes_of(values), tag, t);
    }
    // The bytes of one plain value, as they lie in memory: a number, or a struct of such. Not a pointer.
    template <detail::plain_value T>
    void send(const T &value, std::uint64_t tag = 0, timeout t = forever) {
        send(detail::bytes_of(value), tag, t);
    }
#endif
    void send(std::span<const std::byte> data, std::uint64_t tag, timeout t, std::error_code &error) noexcept {
        error = detail::code_of(ipc_sender_send(handle_, data.data(), data.size(), tag, detail::ns(t)));
    }
    template <std::convertible_to<std::string_view> Text>
    void send(const Text &text, std::uint64_t tag, timeout t, std::error_code &error) noexcept {
        send(std::as_bytes(std::span(std::string_view(text))), tag, t, error);
    }
    template <detail::plain_values Values>
    void send(const Values &values, std::uint64_t tag, timeout t, std::error_code &error) noexcept {
        send(detail::bytes_of(values), tag, t, error);
    }
    template <detail::plain_value T>
    void send(const T &value, std::uint64_t tag, timeout t, std::error_code &error) noexcept {
        send(detail::bytes_of(value), tag, t, error);
    }

#ifdef __cpp_exceptions
    [[nodiscard]] reservation reserve(std::size_t size, timeout t = forever) {
        void *data = nullptr;
        std::int32_t result =
            detail::through_signals(t, [&](std::int64_t ns) { return ipc_sender_reserve(handle_, size, &data, ns); });
        if (result < 0) raise(result, "reserve", size);
        return {handle_, {static_cast<std::byte *>(data), size}};
    }
#endif
    [[nodiscard]] reservation reserve(std::size_t size, timeout t, std::error_code &error) noexcept {
        void *data = nullptr;
        error = detail::code_of(ipc_sender_reserve(handle_, size, &data, detail::ns(t)));
        if (error) return {};
        return {handle_, {static_cast<std::byte *>(data), size}};
    }

    // The bytes of the largest message that may be sent. On unix and tcp it is the receiver's word, too, once one came.
#ifdef __cpp_exceptions
    [[nodiscard]] std::size_t largest_message() { return static_cast<std::size_t>(stats().largest); }
#endif
    [[nodiscard]] std::size_t largest_message(std::error_code &error) noexcept {
        return static_cast<std::size_t>(stats(error).largest);
    }

    // Waits until so many receivers are connected; false if the time-out passes first. To be called before the end, and
    // without an open reservation. On udp, where nobody knows, there is always one.
#ifdef __cpp_exceptions
    [[nodiscard]] bool wait_for_receivers(std::size_t count = 1, timeout t = forever) {
        std::int32_t result =
            detail::through_signals(t, [&](std::int64_t ns) { return await_receivers(count, timeout(ns)); });
        if (result == -ETIMEDOUT || result == -EAGAIN) return false;
        if (result < 0) raise(result, "wait_for_receivers");
        return true;
    }
#endif
    [[nodiscard]] bool wait_for_receivers(std::size_t count, timeout t, std::error_code &error) noexcept {
        error = detail::code_of(await_receivers(count, t));
        return !error;
    }

    // Says that no more will come.
#ifdef __cpp_exceptions
    void end() {
        std::error_code error;
        end(error);
        if (error) raise(error.value(), "end");
    }
#endif
    void end(std::error_code &error) noexcept { error = detail::code_of(ipc_sender_end(handle_)); }

    // Waits until every message is released; the number of those that are not if the time-out passes first.
#ifdef __cpp_exceptions
    std::size_t flush(timeout t = forever) {
        std::int32_t result =
            detail::through_signals(t, [&](std::int64_t ns) { return ipc_sender_flush(handle_, ns); });
        if (result < 0) raise(result, "flush");
        return static_cast<std::size_t>(result);
    }
#endif
    std::size_t flush(timeout t, std::error_code &error) noexcept {
        std::int32_t result = ipc_sender_flush(handle_, detail::ns(t));
        error = detail::code_of(result);
        return result > 0 ? static_cast<std::size_t>(result) : 0;
    }

    // Any thread, also a signal handler.
    void interrupt() noexcept { ipc_sender_interrupt(handle_); }

    // Before waiting on fd(): true means wait on it, false means go on.
#ifdef __cpp_exceptions
    [[nodiscard]] bool arm() {
        std::error_code error;
        bool wait = arm(error);
        if (error) raise(error.value(), "arm");
        return wait;
    }
#endif
    [[nodiscard]] bool arm(std::error_code &error) noexcept {
        std::int32_t result = ipc_sender_arm(handle_);
        error = detail::code_of(result);
        return result == 1;
    }
    int fd() const noexcept { return ipc_sender_fd(handle_); }
    const char *url() const noexcept { return ipc_sender_url(handle_); }

#ifdef __cpp_exceptions
    ipc_sender_counters stats() {
        std::error_code error;
        ipc_sender_counters counters = stats(error);
        if (error) raise(error.value(), "stats");
        return counters;
    }
    // The receivers connected, and how far behind each is.
    std::vector<ipc_link> links() {
        std::error_code error;
        std::vector<ipc_link> found = links(error);
        if (error) raise(error.value(), "links");
        return found;
    }
#endif
    ipc_sender_counters stats(std::error_code &error) noexcept {
        ipc_sender_counters counters{};
        counters.struct_size = sizeof counters;
        error = detail::code_of(ipc_sender_stats(handle_, &counters));
        return counters;
    }
    // (But for bad_alloc.)
    std::vector<ipc_link> links(std::error_code &error) { return detail::links(handle_, ipc_sender_links, error); }

    // Waits up to `linger` for every message to be released, and closes. Returns the number of those that are not.
    std::size_t close(timeout linger = timeout::zero()) noexcept {
        std::int32_t left = ipc_sender_close(std::exchange(handle_, nullptr), detail::ns(linger));
        return left > 0 ? static_cast<std::size_t>(left) : 0;
    }

    ipc_sender *get() const noexcept { return handle_; }
    explicit operator bool() const noexcept { return handle_ != nullptr; }

  private:
#ifdef __cpp_exceptions
    [[noreturn]] void raise(std::int32_t code, const char *call, std::size_t size = 0) {
        std::error_code error;
        std::string advice;
        if (!handle_)
            advice = "this sender is empty, as it was made without a URL, moved from or closed; open it first";
        else if (code == -EINVAL)
            advice = "a reservation is open; commit or abort it first";
        else if (code == -EPIPE)
            advice = "open another sender for what is still to be sent";
        else if (code == -EMSGSIZE)
            advice =
                std::to_string(size) + " bytes, where at most " + std::to_string(largest_message(error)) + " may be";
        detail::raise(code, call, url(), advice);
    }
#endif
    std::int32_t await_receivers(std::size_t count, timeout t) noexcept {
        using clock = std::chrono::steady_clock;
        const clock::time_point start = clock::now();
        for (;;) {
            std::error_code error;
            if (stats(error).links >= count || error) return error.value();
            auto left = t - timeout(clock::now() - start);
            if (t.count() >= 0 && left.count() <= 0) return t.count() == 0 ? -EAGAIN : -ETIMEDOUT;
            std::int32_t wait = ipc_sender_arm(handle_);
            if (wait < 0) return wait;
            auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
            pollfd ready{fd(), POLLIN, 0};
            if (wait == 1 &&
                poll(&ready, 1, t.count() < 0 ? -1 : static_cast<int>(std::min<std::int64_t>(ms, INT_MAX))) < 0)
                return -errno;
            // What a send was refused for is there. Nobody sends it meanwhile: it is not to be told again.
            if (wait == 0) {
                void *data = nullptr;
                std::int32_t room = ipc_sender_reserve(handle_, 0, &data, 0);
                if (room == 0) room = ipc_sender_abort(handle_);
                if (room < 0 && room != -EAGAIN) return room;
            }
        }
    }
    std::int32_t open(const std::string &url, std::uint64_t capacity, std::uint64_t max_capacity, char *words,
                      std::size_t size) noexcept {
        if (detail::has_nul(url, words, size)) return -EINVAL;
        ipc_sender_options options{sizeof options, capacity, max_capacity};
        return ipc_sender_open(&handle_, url.c_str(), &options, words, size);
    }
    ipc_sender *handle_ = nullptr;
};

// A handle that receives. Messages that are still held when it closes stay readable.
class receiver {
  public:
    receiver() noexcept = default;
#ifdef __cpp_exceptions
    // Throws open_error.
    [[nodiscard]] explicit receiver(const std::string &url, std::int32_t from = IPC_FROM_DEFAULT) {
        char words[1024];
        std::int32_t result = open(url, from, words, sizeof words);
        if (result < 0) throw open_error(detail::code_of(result), words);
    }
#endif
    [[nodiscard]] receiver(const std::string &url, std::int32_t from, std::error_code &error) noexcept {
        error = detail::code_of(open(url, from, nullptr, 0));
    }
    [[nodiscard]] receiver(const std::string &url, std::error_code &error) noexcept {
        error = detail::code_of(open(url, IPC_FROM_DEFAULT, nullptr, 0));
    }
    receiver(receiver &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    receiver &operator=(receiver &&other) noexcept {
        if (this != &other) {
            close();
            handle_ = std::exchange(other.handle_, nullptr);
        }
        return *this;
    }
    ~receiver() { close(); }

    // The next message, end or death; nothing if the time-out passes first.
#ifdef __cpp_exceptions
    [[nodiscard]] std::optional<event> receive(timeout t = forever) {
        ipc_message raw = empty();
        std::int32_t result =
            detail::through_signals(t, [&](std::int64_t ns) { return ipc_receiver_receive(handle_, &raw, ns); });
        if (result == -ETIMEDOUT || result == -EAGAIN) return std::nullopt;
        if (result < 0) raise(result, "receive");
        return made_of(result, raw);
    }
#endif
    [[nodiscard]] std::optional<event> receive(timeout t, std::error_code &error) noexcept {
        ipc_message raw = empty();
        std::int32_t result = ipc_receiver_receive(handle_, &raw, detail::ns(t));
        error = detail::code_of(result);
        return made_of(result, raw);
    }

    // Any thread, also a signal handler.
    void interrupt() noexcept { ipc_receiver_interrupt(handle_); }

    // Before waiting on fd(): true means wait on it, false means receive.
#ifdef __cpp_exceptions
    [[nodiscard]] bool arm() {
        std::error_code error;
        bool wait = arm(error);
        if (error) raise(error.value(), "arm");
        return wait;
    }
#endif
    [[nodiscard]] bool arm(std::error_code &error) noexcept {
        std::int32_t result = ipc_receiver_arm(handle_);
        error = detail::code_of(result);
        return result == 1;
    }
    int fd() const noexcept { return ipc_receiver_fd(handle_); }
    const char *url() const noexcept { return ipc_receiver_url(handle_); }

#ifdef __cpp_exceptions
    ipc_receiver_counters stats() {
        std::error_code error;
        ipc_receiver_counters counters = stats(error);
        if (error) raise(error.value(), "stats");
        return counters;
    }
    // The senders connected.
    std::vector<ipc_link> links() {
        std::error_code error;
        std::vector<ipc_link> found = links(error);
        if (error) raise(error.value(), "links");
        return found;
    }
#endif
    ipc_receiver_counters stats(std::error_code &error) noexcept {
        ipc_receiver_counters counters{};
        counters.struct_size = sizeof counters;
        error = detail::code_of(ipc_receiver_stats(handle_, &counters));
        return counters;
    }
    // (But for bad_alloc.)
    std::vector<ipc_link> links(std::error_code &error) { return detail::links(handle_, ipc_receiver_links, error); }

    // Returns the number of messages that are still held; each may be read until it is destroyed.
    std::size_t close() noexcept {
        std::int32_t held = ipc_receiver_close(std::exchange(handle_, nullptr));
        return held > 0 ? static_cast<std::size_t>(held) : 0;
    }

    ipc_receiver *get() const noexcept { return handle_; }
    explicit operator bool() const noexcept { return handle_ != nullptr; }

  private:
#ifdef __cpp_exceptions
    [[noreturn]] void raise(std::int32_t code, const char *call) const {
        detail::raise(
            code, call, url(),
            handle_ ? "" : "this receiver is empty, as it was made without a URL, moved from or closed; open it first");
    }
#endif
    static ipc_message empty() noexcept {
        ipc_message raw{};
        raw.struct_size = sizeof raw;
        return raw;
    }
    std::optional<event> made_of(std::int32_t result, const ipc_message &raw) noexcept {
        if (result < 0) return std::nullopt;
        std::optional<event> e(std::in_place);
        e->what = static_cast<event::kind>(result);
        e->sender = raw.sender;
        if (result == IPC_MESSAGE) {
            e->message.receiver_ = handle_;
            e->message.raw_ = raw;
        }
        return e;
    }
    std::int32_t open(const std::string &url, std::int32_t from, char *words, std::size_t size) noexcept {
        if (detail::has_nul(url, words, size)) return -EINVAL;
        ipc_receiver_options options{sizeof options, from, IPC_OVERFLOW_BLOCK};
        return ipc_receiver_open(&handle_, url.c_str(), &options, words, size);
    }
    ipc_receiver *handle_ = nullptr;
};

}  // namespace ipc

#endif

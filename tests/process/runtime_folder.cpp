// The runtime folder: where it is, and what stands in its way. A folder that others could get into is refused, in words
// that name it and say what to do.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "forge.hpp"
#include "own_mounts.hpp"
#include "refusal.hpp"

namespace fs = std::filesystem;

namespace {

struct elsewhere : scratch {
    // A place in the scratch folder, which IPC_DIR names from now on.
    std::string at(const std::string &name) {
        std::string path = folder() + "/" + name;
        REQUIRE(setenv("IPC_DIR", path.c_str(), 1) == 0);
        return path;
    }
    // A folder of the right mode there.
    std::string good(const std::string &name) {
        std::string path = at(name);
        REQUIRE(mkdir(path.c_str(), 0700) == 0);
        return path;
    }
};

// Both roles refuse it with this code, and words that name the folder and say `part`.
void refused(int code, const std::string &path, const std::string &part) {
    for (const refusal &r : {try_sender("shm://t"), try_receiver("shm://t")}) {
        CAPTURE(r);
        CHECK(r.code == code);
        CHECK(r.says("`" + path + "`"));
        CHECK(r.says(part));
    }
}

void taken() {
    CHECK(try_sender("shm://t").code == 0);
    CHECK(try_receiver("shm://t").code == 0);
}

mode_t mode_of(const std::string &path) {
    struct stat s;
    REQUIRE(lstat(path.c_str(), &s) == 0);
    return s.st_mode & 07777;
}

}  // namespace

// ---- Refused --------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(elsewhere, "a runtime folder of somebody else is refused, and the words say whose it is") {
    std::string path = "/usr/lib";
    uid_t owner = 0;
    if (geteuid() == 0) {
        path = good("theirs");
        owner = 12345;
        REQUIRE(chown(path.c_str(), owner, owner) == 0);
    }
    setenv("IPC_DIR", path.c_str(), 1);
    refused(-EPERM, path, "belongs to user " + std::to_string(owner));
}

TEST_CASE_FIXTURE(elsewhere, "a runtime folder with another mode than 0700 is refused") {
    std::string path = good("f");
    for (mode_t mode : {0755, 0770, 0701, 0710, 0777, 0600, 0500, 0000}) {
        REQUIRE(chmod(path.c_str(), mode) == 0);
        char octal[8];
        std::snprintf(octal, sizeof octal, "%04o", mode);
        refused(-EACCES, path, std::string("has mode ") + octal + " and must have 0700");
    }
    REQUIRE(chmod(path.c_str(), 0700) == 0);
    taken();
}

TEST_CASE_FIXTURE(elsewhere, "a runtime folder that is a symbolic link is refused, also with a slash behind it") {
    std::string target = good("target"), link = at("link");
    REQUIRE(symlink(target.c_str(), link.c_str()) == 0);
    refused(-ELOOP, link, "symbolic link");
    setenv("IPC_DIR", (link + "/").c_str(), 1);
    refused(-ELOOP, link, "symbolic link");
    fs::remove(link);
}

TEST_CASE_FIXTURE(elsewhere, "a symbolic link to nowhere or to itself is refused") {
    std::string link = at("link");
    for (std::string target : {folder() + "/nowhere", link}) {
        REQUIRE(symlink(target.c_str(), link.c_str()) == 0);
        refused(-ELOOP, link, "symbolic link");
        fs::remove(link);
    }
    CHECK(!fs::exists(folder() + "/nowhere"));
}

TEST_CASE_FIXTURE(elsewhere, "a runtime folder that is no directory is refused") {
    std::string path = at("file");
    std::ofstream(path) << "x";
    refused(-ENOTDIR, path, "not a directory");
    fs::remove(path);
    REQUIRE(mkfifo(path.c_str(), 0700) == 0);
    refused(-ENOTDIR, path, "not a directory");
    fs::remove(path);
}

TEST_CASE_FIXTURE(elsewhere, "a runtime folder whose parent is missing, or is a file, is refused") {
    refused(-ENOENT, at("gone/ipc"), "No such file or directory; make it, or set IPC_DIR");
    std::string file = folder() + "/file";
    std::ofstream(file) << "x";
    refused(-ENOTDIR, at("file/ipc"), "set IPC_DIR");
    fs::remove(file);
}

TEST_CASE_FIXTURE(elsewhere, "a runtime folder in a place that can't be written is refused") {
    if (geteuid() == 0) return;  // may write everywhere
    setenv("IPC_DIR", "/usr/ipc-test", 1);
    refused(-EACCES, "/usr/ipc-test", "Permission denied; make it, or set IPC_DIR");
}

TEST_CASE_FIXTURE(elsewhere, "a relative runtime folder is refused") {
    for (auto path : {"ipc", "./ipc", "../ipc"}) {
        setenv("IPC_DIR", path, 1);
        refused(-EINVAL, path, "absolute");
    }
}

TEST_CASE_FIXTURE(elsewhere, "a path that is longer than the system takes is refused") {
    setenv("IPC_DIR", ("/" + std::string(300, 'n')).c_str(), 1);
    for (const refusal &r : {try_sender("shm://t"), try_receiver("shm://t")}) {
        CAPTURE(r);
        CHECK(r.code == -ENAMETOOLONG);
        CHECK(r.says("set IPC_DIR"));
    }
    std::string deep;
    while (deep.size() < 5000) deep += "/nnnnnnnnnnnnnnnn";
    setenv("IPC_DIR", deep.c_str(), 1);
    CHECK(try_sender("shm://t").code == -ENAMETOOLONG);
    CHECK(try_receiver("shm://t").code == -ENAMETOOLONG);
}

TEST_CASE_FIXTURE(elsewhere, "the channel's folder is held to the same") {
    std::string path = good("f") + "/t";
    std::ofstream(path) << "x";
    refused(-ENOTDIR, path, "not a directory");
    fs::remove(path);
    REQUIRE(symlink(folder().c_str(), path.c_str()) == 0);
    refused(-ELOOP, path, "symbolic link");
    fs::remove(path);
    REQUIRE(mkdir(path.c_str(), 0700) == 0);
    REQUIRE(chmod(path.c_str(), 0755) == 0);
    refused(-EACCES, path, "mode 0755");
    fs::remove(path);
    taken();
}

// ---- A file system of its own ---------------------------------------------------------------------------------------

static bool mount_tmpfs(const std::string &path, unsigned long flags = 0) {
    return mount("tmpfs", path.c_str(), "tmpfs", flags, "mode=0777") == 0;
}

// Says code and words of both roles.
static void say_both(role &me) {
    for (const refusal &r : {try_sender("shm://t"), try_receiver("shm://t")})
        me.say(std::to_string(r.code) + " " + r.words);
}

ROLE(read_only_file_system) {
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid != 0) {
        int status;
        MUST(waitpid(pid, &status, 0) == pid);
        MUST(status == 0);
        return;
    }
    std::string mountpoint = me.arg(0);
    if (!own_mounts() || !mount_tmpfs(mountpoint)) {
        me.say("skipped: this process can have no mounts of its own");
        std::_Exit(0);
    }
    auto remount = [&](unsigned long flags) {
        MUST(mount(nullptr, mountpoint.c_str(), nullptr, MS_REMOUNT | flags, nullptr) == 0);
    };
    setenv("IPC_DIR", (mountpoint + "/ipc").c_str(), 1);
    remount(MS_RDONLY);
    me.say("nothing is there");
    say_both(me);
    remount(0);
    MUST(mkdir((mountpoint + "/ipc").c_str(), 0700) == 0);
    remount(MS_RDONLY);
    me.say("the runtime folder is there");
    say_both(me);
    remount(0);
    MUST(mkdir((mountpoint + "/ipc/t").c_str(), 0700) == 0);
    remount(MS_RDONLY);
    me.say("the channel's folder is there");
    say_both(me);
    std::_Exit(0);
}

TEST_CASE_FIXTURE(scratch, "a read-only file system is refused as such, whatever of the folder is there") {
    std::string mountpoint = folder() + "/ro";
    REQUIRE(mkdir(mountpoint.c_str(), 0700) == 0);
    child c = start("read_only_file_system", {mountpoint});
    std::string line = c.hear();
    if (line.starts_with("skipped")) {
        MESSAGE(line);
        return c.done();
    }
    for (auto there : {"nothing is there", "the runtime folder is there", "the channel's folder is there"}) {
        CHECK(line == there);
        for (int i = 0; i < 2; ++i) {
            std::string words = c.hear();
            CAPTURE(words);
            CHECK(words.starts_with(std::to_string(-EROFS) + " cannot open a "));
            CHECK(words.find("`" + mountpoint + "/ipc") != words.npos);
            CHECK(words.find("Read-only file system; ") != words.npos);
            CHECK(words.find("set IPC_DIR") != words.npos);
        }
        if (there != std::string("the channel's folder is there")) line = c.hear();
    }
    c.done();
}

// ---- Taken ----------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(elsewhere, "a missing runtime folder is made for the user alone, whatever the umask") {
    for (mode_t mask : {0000, 0022, 0077}) {
        std::string path = at("made");
        mode_t before = umask(mask);
        taken();
        umask(before);
        CHECK(mode_of(path) == 0700);
        fs::remove(path);
    }
}

TEST_CASE_FIXTURE(elsewhere, "slashes behind the runtime folder do no harm") {
    std::string path = good("f");
    setenv("IPC_DIR", (path + "//").c_str(), 1);
    rx r;
    setenv("IPC_DIR", path.c_str(), 1);
    tx s;
    s.await_links(1);
    CHECK(s.send(1) == 0);
    CHECK(r.take() == 1);
}

TEST_CASE_FIXTURE(elsewhere, "a runtime folder whose path is longer than a socket's address works") {
    std::string path = folder();
    for (int i = 0; i < 10; ++i) {
        path += "/" + std::string(100, 'n');
        REQUIRE(mkdir(path.c_str(), 0700) == 0);
    }
    setenv("IPC_DIR", path.c_str(), 1);
    std::string url = "shm://" + std::string(64, 'n');
    tx s(url);
    CHECK(s.send(1) == 0);
    rx r(url);
    s.await_links(1);
    CHECK(s.send(2) == 0);
    CHECK(r.take() == 1);
    CHECK(r.take() == 2);
}

TEST_CASE_FIXTURE(elsewhere, "a path with blanks, quotes and bytes beyond ASCII works") {
    good("a b'\"%s{}\xc3\xa9\xff");
    taken();
}

TEST_CASE_FIXTURE(elsewhere, "a handle stays in its folder when IPC_DIR names another later") {
    std::string first = good("first"), second = good("second");
    setenv("IPC_DIR", first.c_str(), 1);
    rx r;
    tx s;
    setenv("IPC_DIR", second.c_str(), 1);
    fs::remove_all(first);
    ipc_message m;
    // Both look for their names now and then, and make them again.
    REQUIRE(eventually([&] {
        CHECK(r.receive(m, 0) == -EAGAIN);
        s.stats();
        return sockets(folder()) >= 1;
    }));
    CHECK(sockets(first) >= 1);
    CHECK(fs::is_empty(second));
    CHECK(s.send(1) == 0);
    CHECK(r.take() == 1);
}

TEST_CASE_FIXTURE(elsewhere, "names of the channel's folder that are no sockets of ours do not stand in the way") {
    std::string channel = good("f") + "/t";
    REQUIRE(mkdir(channel.c_str(), 0700) == 0);
    std::string r = channel + "/r" + std::to_string(forge::layout::version);
    std::ofstream(r + "-00000000000000aa.0") << "x";
    REQUIRE(mkdir((r + "-00000000000000ab.0").c_str(), 0700) == 0);
    REQUIRE(symlink("/nowhere", (r + "-00000000000000ac.0").c_str()) == 0);
    REQUIRE(mkfifo((r + "-00000000000000ad.0").c_str(), 0700) == 0);
    for (auto name : {"-", "-zz.0", "-00000000000000aa", "-1.0.0"}) std::ofstream(r + name) << "x";
    std::ofstream(channel + "/s-00000000000000ae.0") << "x";
    for (const std::string &name :
         std::initializer_list<std::string>{"r99999999999999999999-1.0", "r-1-1.0", ".new-", ".new-x", "r", "x",
                                            "s" + std::to_string(forge::layout::version) + "-"})
        std::ofstream(channel + "/" + name) << "x";
    {
        tx s;
        rx r;
        s.await_links(1);
        CHECK(s.send(1) == 0);
        CHECK(r.take() == 1);
    }
    CHECK(fs::exists(channel + "/x"));
    fs::remove_all(channel);
}

// ---- Without IPC_DIR ------------------------------------------------------------------------------------------------

// In file systems of its own: says in which folder a channel's name appears.
ROLE(own_root) {
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid != 0) {
        int status;
        MUST(waitpid(pid, &status, 0) == pid);
        MUST(status == 0);
        return;
    }
    if (!own_mounts() || !mount_tmpfs("/run") || !mount_tmpfs("/tmp") || !mount_tmpfs("/dev/shm")) {
        me.say("skipped: this process can have no mounts of its own");
        std::_Exit(0);
    }
    std::string uid = std::to_string(geteuid()), run = "/run/user/" + uid, shared = "/dev/shm/ipc-" + uid;
    auto where = [&](const std::string &what) {
        rx r;
        std::string found;
        for (std::string folder : {shared, run + "/ipc", "/tmp/ipc-" + uid, std::string("/tmp/elsewhere"), run})
            if (fs::exists(folder + "/t")) found += " " + folder;
        me.say(what + ":" + found);
    };
    unsetenv("IPC_DIR");
    setenv("XDG_RUNTIME_DIR", "/tmp/elsewhere", 1);
    setenv("TMPDIR", "/tmp/elsewhere", 1);
    MUST(mkdir("/tmp/elsewhere", 0700) == 0);
    where("before a login");
    struct stat s;
    MUST(lstat(shared.c_str(), &s) == 0 && (s.st_mode & 07777) == 0700);
    setenv("IPC_DIR", "", 1);
    where("empty");
    MUST(mkdir("/run/user", 0755) == 0);
    MUST(mkdir(run.c_str(), 0700) == 0);
    where("after it");
    setenv("IPC_DIR", "/tmp/elsewhere", 1);
    where("set");
    std::_Exit(0);
}

TEST_CASE_FIXTURE(scratch,
                  "without IPC_DIR it is /dev/shm/ipc-UID, before a login and after it, and no other variable counts") {
    std::string shared = "/dev/shm/ipc-" + std::to_string(geteuid());
    child c = start("own_root");
    std::string line = c.hear();
    if (line.starts_with("skipped")) {
        MESSAGE(line);
        return c.done();
    }
    CHECK(line == "before a login: " + shared);
    c.expect("empty: " + shared);
    c.expect("after it: " + shared);
    c.expect("set: /tmp/elsewhere");
    c.done();
}

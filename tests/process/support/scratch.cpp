#include "scratch.hpp"

#include <stdlib.h>

#include <filesystem>

#include "handles.hpp"

namespace fs = std::filesystem;

static std::string make_folder() {
    std::string name = (fs::temp_directory_path() / "ipc-test-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()));  // 0700
    REQUIRE(setenv("IPC_DIR", name.c_str(), 1) == 0);
    return name;
}

scratch::scratch() : folder_(make_folder()), check_(folder_) {}

scratch::~scratch() {
    setenv("IPC_DIR", folder_.c_str(), 1);
    for (auto &url : killed_) {
        tx sweep_receivers(url);
        rx sweep_senders(url);
    }
    for (auto &leak : check_.leaks()) FAIL_CHECK("left behind: " << leak);
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
}

std::size_t scratch::sockets(const std::string &folder) {
    std::size_t count = 0;
    for (auto &entry : fs::recursive_directory_iterator(folder)) count += entry.is_socket();
    return count;
}

void scratch::delete_sockets(const std::string &prefix) {
    std::vector<fs::path> found;
    for (auto &entry : fs::recursive_directory_iterator(folder_))
        if (entry.is_socket() && entry.path().filename().string().starts_with(prefix)) found.push_back(entry.path());
    REQUIRE(!found.empty());
    for (auto &path : found) fs::remove(path);
}

child scratch::sender(const std::string &url) {
    child c = start("sender", {url});
    c.expect("open");
    return c;
}

child scratch::receiver(const std::string &url) {
    child c = start("receiver", {url});
    c.expect("open");
    return c;
}

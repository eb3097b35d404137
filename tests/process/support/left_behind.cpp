#include "left_behind.hpp"

#include <dirent.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <utility>

namespace fs = std::filesystem;

static std::map<int, std::string> open_fds() {
    std::map<int, std::string> fds;
    DIR *folder = opendir("/proc/self/fd");
    while (dirent *entry = readdir(folder)) {
        int fd = std::atoi(entry->d_name);
        if (entry->d_name[0] == '.' || fd == dirfd(folder)) continue;
        char link[256] = {};
        if (readlinkat(dirfd(folder), entry->d_name, link, sizeof link - 1) > 0) fds[fd] = link;
    }
    closedir(folder);
    return fds;
}

static std::set<std::string> our_maps() {
    std::set<std::string> found;
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);)
        if (line.find("memfd:ipc") != line.npos) found.insert(line);
    return found;
}

static std::vector<std::string> children() {
    std::vector<std::string> found;
    for (auto &thread : fs::directory_iterator("/proc/self/task")) {
        std::ifstream list(thread.path() / "children");
        for (std::string pid; list >> pid;) found.push_back(pid);
    }
    return found;
}

leak_check::leak_check(std::string folder) : folder_(std::move(folder)), maps_(our_maps()) {
    for (auto &[fd, link] : open_fds()) fds_.insert(fd);
}

std::vector<std::string> leak_check::leaks() const {
    std::vector<std::string> found;
    for (auto &[fd, link] : open_fds())
        if (!fds_.count(fd)) found.push_back("fd " + std::to_string(fd) + " -> " + link);
    for (auto &pid : children()) found.push_back("child " + pid);
    for (auto &map : our_maps())
        if (!maps_.count(map)) found.push_back("mapping " + map);
    std::error_code gone;
    for (auto &entry : fs::recursive_directory_iterator(folder_, gone))
        if (!entry.is_directory()) found.push_back("file " + entry.path().string());
    return found;
}

#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include "left_behind.hpp"
#include "roles.hpp"

// A test's own IPC_DIR; checks at the end that nothing is left.
class scratch {
  public:
    scratch();
    ~scratch();
    child start(const std::string &role, std::vector<std::string> arguments = {}) { return {role, arguments}; }
    // A handle in a process of its own, open already, which does what it is told: see actors.cpp.
    child sender(const std::string &url = "shm://t");
    child receiver(const std::string &url = "shm://t");
    const std::string &folder() const { return folder_; }
    // Processes were killed: the sockets they left are swept by whoever opens the channel next, here by the check.
    void somebody_was_killed(const std::string &url) { killed_.insert(url); }
    static std::size_t sockets(const std::string &folder);
    // Deletes the sockets whose names start so ("r" receivers', "s" senders'), as a cleaner of /tmp would.
    void delete_sockets(const std::string &prefix);

  private:
    std::string folder_;
    leak_check check_;
    std::set<std::string> killed_;
};

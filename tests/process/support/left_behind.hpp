#pragma once

#include <set>
#include <string>
#include <vector>

// What this process and the folder held at one time, to find what came on top.
class leak_check {
  public:
    explicit leak_check(std::string folder);
    // One line for each fd, child, file, or mapping of ours that was not there at the start. Empty is good.
    std::vector<std::string> leaks() const;

  private:
    std::string folder_;
    std::set<int> fds_;
    std::set<std::string> maps_;
};

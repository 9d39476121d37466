// The cores of this machine, the biggest first, as Linux describes them: phones have several kinds.
// tvm_c4n/runtime/cores.py reads the same.
#pragma once

#include <string>
#include <vector>

namespace c4n {

struct Cores {
  std::vector<int> order;   // numbers of the cores that this process may use, the biggest first
  std::vector<int> counts;  // cores of the biggest kind, of the two biggest kinds, ... of all

  bool uneven() const { return counts.size() > 1; }
  // Those of the fewest kinds, biggest first, that have one for each thread.
  std::vector<int> for_threads(int threads) const;
};

// Folder: with a folder cpuN for each core.
Cores find_cores(const std::string& folder = "/sys/devices/system/cpu");
Cores find_cores(const std::string& folder, const std::vector<int>& allowed);

}  // namespace c4n

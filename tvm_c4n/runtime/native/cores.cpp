#include "cores.hpp"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <map>

namespace c4n {
namespace {

// What a core can do, by the scheduler's own measure; its highest frequency where that is missing.
constexpr const char* kSizes[] = {"cpu_capacity", "cpufreq/cpuinfo_max_freq"};
// Cores of at least this much of the biggest one's size are of its kind: of cores that are alike,
// some may be clocked a few percent higher.
constexpr double kSameKind = 0.9;

// 0 where there is no number.
long number_in(const std::string& file) {
  long value = 0;
  std::ifstream(file) >> value;
  return value;
}

std::vector<int> usable() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> numbers;
  if (sched_getaffinity(0, sizeof set, &set)) return numbers;
  for (int number = 0; number < CPU_SETSIZE; ++number)
    if (CPU_ISSET(number, &set)) numbers.push_back(number);
  return numbers;
}

}  // namespace

std::vector<int> Cores::for_threads(int threads) const {
  for (const int count : counts)
    if (count >= threads) return {order.begin(), order.begin() + count};
  return order;
}

Cores find_cores(const std::string& folder) { return find_cores(folder, usable()); }

Cores find_cores(const std::string& folder, const std::vector<int>& allowed) {
  Cores found{allowed, {}};
  for (const char* name : kSizes) {
    std::map<int, long> sizes;
    for (const int number : allowed)
      sizes[number] = number_in(folder + "/cpu" + std::to_string(number) + "/" + name);
    const auto known = [&](int number) { return sizes[number] > 0; };
    if (!std::all_of(allowed.begin(), allowed.end(), known)) continue;
    const auto bigger = [&](int a, int b) { return sizes[a] > sizes[b]; };
    std::stable_sort(found.order.begin(), found.order.end(), bigger);
    int biggest = 0;  // of a kind, its place
    for (int place = 0; place < static_cast<int>(found.order.size()); ++place) {
      if (sizes[found.order[place]] >= kSameKind * sizes[found.order[biggest]]) continue;
      found.counts.push_back(place);
      biggest = place;
    }
    break;
  }
  found.counts.push_back(static_cast<int>(found.order.size()));
  return found;
}

}  // namespace c4n

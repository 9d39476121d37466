// Prints the count of threads that is chosen where cores 0 and 1 are of two kinds and a step takes
// longer with the count that is given, then on how many cores the caller may run with one thread.
// With 0: the count that is chosen where both are alike.
#include "threads.hpp"

#include <sched.h>
#include <tvm/ffi/function.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "cores.hpp"

namespace c4n {

int slow = 0;

Cores find_cores(const std::string&) {
  return slow ? Cores{{1, 0}, {1, 2}} : Cores{{0, 1}, {2}};
}

std::vector<int> Cores::for_threads(int threads) const {
  return {order.begin(), order.begin() + threads};
}

}  // namespace c4n

int main(int, char** words) {
  const auto threads = tvm::ffi::Function::GetGlobalRequired("runtime.NumThreads");
  const int slow = c4n::slow = std::atoi(words[1]);
  const auto step = [&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(threads().cast<int>() == slow ? 20 : 1));
  };
  std::printf("%d\n", c4n::choose_threads(step));
  if (!slow) return 0;
  c4n::set_threads(1);
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  std::printf("%d %d\n", CPU_COUNT(&set), CPU_ISSET(1, &set) ? 1 : 0);
}

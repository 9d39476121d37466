#include "threads.hpp"

#include <sched.h>
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/string.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <vector>

#include "cores.hpp"

namespace c4n {
namespace {

namespace ffi = tvm::ffi;

// TVM's words: threads are pinned to cores by their frequency, the system chooses, each is pinned to
// a core of a list.
#if defined(__aarch64__)
constexpr int kMode = 1;
#else
constexpr int kMode = 0;
#endif
constexpr int kListed = -2;
// Steps of each count that are timed, after one that is not.
constexpr int kSteps = 5;

// As they were when first asked: later, threads are pinned.
const Cores& cores() {
  static const Cores found = find_cores();
  return found;
}

// Whether the user has told TVM how many threads its pools have.
bool told_by_environment() {
  return std::getenv("TVM_NUM_THREADS") || std::getenv("OMP_NUM_THREADS");
}

double median_secs(const std::function<void()>& step) {
  std::vector<double> secs;
  for (int i = 0; i <= kSteps; ++i) {
    const auto began = std::chrono::steady_clock::now();
    step();
    secs.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
  }
  std::nth_element(secs.begin() + 1, secs.begin() + 1 + kSteps / 2, secs.end());
  return secs[1 + kSteps / 2];
}

}  // namespace

void set_threads(int threads) {
  // Asked for in any case: TVM's own pool pins the calling thread.
  const bool uneven = cores().uneven();
  if (!threads) return;
  const auto configure = ffi::Function::GetGlobalRequired("runtime.config_threadpool");
  if (!uneven) {
    configure(kMode, threads);
    return;
  }
  ffi::Array<ffi::String> order;
  for (const int number : cores().order) order.push_back(std::to_string(number));
  configure(kListed, threads, order);
  // The calling thread is the pool's first one, which TVM lets run everywhere.
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int number : cores().for_threads(threads)) CPU_SET(number, &set);
  sched_setaffinity(0, sizeof set, &set);
}

int pool_threads() { return ffi::Function::GetGlobalRequired("runtime.NumThreads")().cast<int>(); }

int choose_threads(const std::function<void()>& step) {
  // By itself TVM takes half of the cores on x86.
  if (!cores().uneven())
    return told_by_environment() ? 0 : static_cast<int>(cores().order.size());
  int best = 0;
  double shortest = 0;
  for (const int count : cores().counts) {
    set_threads(count);
    const double secs = median_secs(step);
    if (!best || secs < shortest) best = count, shortest = secs;
  }
  return best;
}

}  // namespace c4n

// TVM's pool of threads, which belongs to the thread that calls it.
#pragma once

#include <functional>

namespace c4n {

// Where cores are of several kinds, the biggest are taken. 0: as TVM has it.
void set_threads(int threads);

// How many the pool works with.
int pool_threads();

// The threads of a model whose user gave 0: where cores are of several kinds, as many kinds of them
// as make a step fastest, by a few steps, and the pool has another count afterwards; else one for
// each core that the process may use, or 0 where TVM_NUM_THREADS or OMP_NUM_THREADS say how many.
int choose_threads(const std::function<void()>& step);

}  // namespace c4n

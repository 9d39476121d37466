// The random numbers of numpy.random.default_rng, so that a seed gives the text that it gives there.
#pragma once

#include <cstdint>

namespace c4n {

// PCG64 (O'Neill 2014), seeded as numpy's SeedSequence does.
class Random {
 public:
  explicit Random(uint64_t seed);
  // From 0 to below 1, of 53 bits.
  double next();

 private:
  unsigned __int128 state_, increment_;
};

}  // namespace c4n

#include "random.hpp"

#include <array>
#include <cstddef>

namespace c4n {
namespace {

using Wide = unsigned __int128;

// The pool of numpy's SeedSequence: 128 bits that depend on every bit of the seed.
class SeedPool {
 public:
  explicit SeedPool(uint64_t seed) {
    // A seed of 32 bits is one word; what is missing counts as 0.
    const uint32_t words[] = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
    for (std::size_t i = 0; i < pool_.size(); ++i) pool_[i] = hashed(i < 2 ? words[i] : 0);
    for (std::size_t from = 0; from < pool_.size(); ++from)
      for (std::size_t to = 0; to < pool_.size(); ++to)
        if (from != to) pool_[to] = mixed(pool_[to], hashed(pool_[from]));
  }

  Wide draw() {
    Wide value = 0;
    // Pairs of words are numbers of 64 bits, the lower word first; the first number is the upper.
    for (int half = 0; half < 2; ++half) {
      const uint64_t low = word(), high = word();
      value = value << 64 | (high << 32 | low);
    }
    return value;
  }

 private:
  uint32_t hashed(uint32_t value) {
    value ^= in_;
    in_ *= 0x931e8875;
    value *= in_;
    return value ^ value >> 16;
  }
  static uint32_t mixed(uint32_t x, uint32_t y) {
    const uint32_t result = x * 0xca01f9dd - y * 0x4973f715;
    return result ^ result >> 16;
  }
  uint32_t word() {
    uint32_t value = pool_[drawn_++ % pool_.size()] ^ out_;
    out_ *= 0x58f38ded;
    value *= out_;
    return value ^ value >> 16;
  }

  std::array<uint32_t, 4> pool_{};
  uint32_t in_ = 0x43b0d7e5, out_ = 0x8b51f9dd;
  std::size_t drawn_ = 0;
};

constexpr Wide kMultiplier = Wide{0x2360ed051fc65da4} << 64 | 0x4385df649fccf645;

}  // namespace

Random::Random(uint64_t seed) {
  SeedPool pool(seed);
  const Wide start = pool.draw();
  increment_ = pool.draw() << 1 | 1;
  state_ = increment_ + start;
  state_ = state_ * kMultiplier + increment_;
}

double Random::next() {
  state_ = state_ * kMultiplier + increment_;
  const auto folded = static_cast<uint64_t>(state_ >> 64) ^ static_cast<uint64_t>(state_);
  const auto by = static_cast<unsigned>(state_ >> 122);
  const uint64_t value = folded >> by | folded << (-by & 63);
  return static_cast<double>(value >> 11) * 0x1p-53;
}

}  // namespace c4n

// SHA-256 (FIPS 180-4): TVM's runtime has none, and devices may lack libcrypto.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace c4n {

class Sha256 {
 public:
  void add(const char* data, size_t count);
  // The digest of all that was added, in hexadecimal; nothing may be added after it.
  std::string hex();

 private:
  void block();

  uint32_t state_[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  unsigned char waiting_[64];
  size_t count_ = 0;  // of bytes waiting
  uint64_t total_ = 0;
};

}  // namespace c4n

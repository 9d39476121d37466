// Files of an artifact, which may be damaged or hostile: regular ones only, of bounded size.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace c4n {

// Says in one line what is wrong, where, and what to do about it.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// How errors of an artifact end.
extern const char* const kRemedy;

// Bytes mapped read-only until the program ends.
struct Mapping {
  char* data;
  int64_t size;
};

// All throw Error for what is missing, unreadable or no regular file (a pipe or a device would be
// waited for, or read, for ever), and for a file of more than `limit` bytes.
int64_t size_of(const std::string& path);
std::string read_file(const std::string& path, int64_t limit);
std::string sha256_of(const std::string& path, int64_t limit);  // 64 hexadecimal digits
Mapping map_file(const std::string& path, int64_t limit);

}  // namespace c4n

// Files of an artifact, which may be damaged or hostile: regular ones only, of bounded size.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace c4n {

// Says in one line what is wrong, where, and what to do about it.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// How errors of an artifact end.
extern const char* const kRemedy;

// An open file. Throws Error for what is missing, unreadable or no regular file (a pipe or a device
// would be waited for, or read, for ever); `remedy` is how the error ends.
class FileReader {
 public:
  explicit FileReader(const std::string& path, const char* remedy = kRemedy);
  ~FileReader();
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;

  int64_t size() const { return size_; }
  int descriptor() const { return descriptor_; }
  // Throws Error for a file of more bytes.
  void at_most(int64_t limit) const;
  // Reads that many bytes from a place. Throws Error where they are not there.
  void read(int64_t at, char* data, size_t count) const;

 private:
  std::string path_, remedy_;
  int descriptor_;
  int64_t size_;
};

// Bytes mapped read-only until the program ends.
struct Mapping {
  char* data;
  int64_t size;
};

// All throw Error as `FileReader` does, and for a file of more than `limit` bytes.
int64_t size_of(const std::string& path);
std::string read_file(const std::string& path, int64_t limit, const char* remedy = kRemedy);
std::string sha256_of(const std::string& path, int64_t limit);  // 64 hexadecimal digits
Mapping map_file(const std::string& path, int64_t limit);

// Replaces a file by the parts, one behind the other, at once or not at all. Throws Error for a disk
// error.
void write_file(const std::string& path, const std::vector<std::string_view>& parts);

}  // namespace c4n

#include "file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "sha256.hpp"

namespace c4n {

const char* const kRemedy = ": compile the model again";

namespace {

struct Open {
  explicit Open(const std::string& path) : path(path) {
    // A pipe without a writer would hold up a blocking open.
    descriptor = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (descriptor < 0) {
      if (errno == ENOENT) throw Error(path + " is missing" + kRemedy);
      throw Error(path + " cannot be read: " + std::strerror(errno));
    }
    struct stat status;
    if (fstat(descriptor, &status) || !S_ISREG(status.st_mode)) {
      close(descriptor);
      throw Error(path + " is not a regular file" + kRemedy);
    }
    size = status.st_size;
  }
  ~Open() { close(descriptor); }
  Open(const Open&) = delete;
  Open& operator=(const Open&) = delete;

  void at_most(int64_t limit) const {
    if (size > limit)
      throw Error(path + ": " + std::to_string(size) + " bytes is too large (limit " +
                  std::to_string(limit) + ")" + kRemedy);
  }

  // Calls `take` with pieces until the size that was checked is reached.
  template <typename Take>
  void each_piece(Take take) const {
    char piece[1 << 16];
    for (int64_t left = size; left > 0;) {
      const ssize_t count = read(descriptor, piece, std::min<int64_t>(left, sizeof piece));
      if (count <= 0) throw Error(path + " cannot be read" + kRemedy);
      take(piece, static_cast<size_t>(count));
      left -= count;
    }
  }

  std::string path;
  int descriptor;
  int64_t size;
};

}  // namespace

int64_t size_of(const std::string& path) { return Open(path).size; }

std::string read_file(const std::string& path, int64_t limit) {
  const Open file(path);
  file.at_most(limit);
  std::string text;
  file.each_piece([&](const char* piece, size_t count) { text.append(piece, count); });
  return text;
}

std::string sha256_of(const std::string& path, int64_t limit) {
  const Open file(path);
  file.at_most(limit);
  Sha256 sum;
  file.each_piece([&](const char* piece, size_t count) { sum.add(piece, count); });
  return sum.hex();
}

Mapping map_file(const std::string& path, int64_t limit) {
  const Open file(path);
  file.at_most(limit);
  if (file.size == 0) throw Error(path + " is empty" + kRemedy);
  void* data = mmap(nullptr, file.size, PROT_READ, MAP_PRIVATE, file.descriptor, 0);
  if (data == MAP_FAILED) throw Error(path + " cannot be mapped into memory");
  return {static_cast<char*>(data), file.size};
}

}  // namespace c4n

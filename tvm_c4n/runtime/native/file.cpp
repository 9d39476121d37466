#include "file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "sha256.hpp"

namespace c4n {

const char* const kRemedy = ": compile the model again";

namespace {

// Calls `take` with pieces until the size that was checked is reached.
template <typename Take>
void each_piece(const FileReader& file, Take take) {
  char piece[1 << 16];
  for (int64_t at = 0; at < file.size();) {
    const auto count = static_cast<size_t>(std::min<int64_t>(file.size() - at, sizeof piece));
    file.read(at, piece, count);
    take(piece, count);
    at += static_cast<int64_t>(count);
  }
}

// A new file beside the one that it is to replace; gone again unless it did.
class Replacement {
 public:
  explicit Replacement(const std::string& path) : path_(path), made_(path + ".XXXXXX") {
    descriptor_ = mkstemp(made_.data());
    if (descriptor_ < 0) fail();
  }
  ~Replacement() {
    if (descriptor_ >= 0) close(descriptor_), unlink(made_.c_str());
  }
  Replacement(const Replacement&) = delete;
  Replacement& operator=(const Replacement&) = delete;

  void write(std::string_view part) {
    while (!part.empty()) {
      const ssize_t count = ::write(descriptor_, part.data(), part.size());
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) fail();
      part.remove_prefix(static_cast<size_t>(count));
    }
  }
  void finish() {
    if (fsync(descriptor_) || rename(made_.c_str(), path_.c_str())) fail();
    close(descriptor_);
    descriptor_ = -1;
  }

 private:
  [[noreturn]] void fail() const {
    throw Error(path_ + ": cannot be written: " + std::strerror(errno));
  }
  std::string path_, made_;
  int descriptor_;
};

}  // namespace

FileReader::FileReader(const std::string& path, const char* remedy) : path_(path), remedy_(remedy) {
  // A pipe without a writer would hold up a blocking open.
  descriptor_ = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (descriptor_ < 0) {
    if (errno == ENOENT) throw Error(path + " is missing" + remedy_);
    throw Error(path + " cannot be read: " + std::strerror(errno));
  }
  struct stat status;
  if (fstat(descriptor_, &status) || !S_ISREG(status.st_mode)) {
    close(descriptor_);
    throw Error(path + " is not a regular file" + remedy_);
  }
  size_ = status.st_size;
}

FileReader::~FileReader() { close(descriptor_); }

void FileReader::at_most(int64_t limit) const {
  if (size_ > limit)
    throw Error(path_ + ": " + std::to_string(size_) + " bytes is too large (limit " +
                std::to_string(limit) + ")" + remedy_);
}

void FileReader::read(int64_t at, char* data, size_t count) const {
  while (count > 0) {
    const ssize_t got = pread(descriptor_, data, count, at);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw Error(path_ + " cannot be read" + remedy_);
    data += got, at += got, count -= static_cast<size_t>(got);
  }
}

int64_t size_of(const std::string& path) { return FileReader(path).size(); }

std::string read_file(const std::string& path, int64_t limit, const char* remedy) {
  const FileReader file(path, remedy);
  file.at_most(limit);
  std::string text(static_cast<size_t>(file.size()), 0);
  file.read(0, text.data(), text.size());
  return text;
}

std::string sha256_of(const std::string& path, int64_t limit) {
  const FileReader file(path);
  file.at_most(limit);
  Sha256 sum;
  each_piece(file, [&](const char* piece, size_t count) { sum.add(piece, count); });
  return sum.hex();
}

Mapping map_file(const std::string& path, int64_t limit) {
  const FileReader file(path);
  file.at_most(limit);
  if (file.size() == 0) throw Error(path + " is empty" + kRemedy);
  void* data = mmap(nullptr, static_cast<size_t>(file.size()), PROT_READ, MAP_PRIVATE,
                    file.descriptor(), 0);
  if (data == MAP_FAILED) throw Error(path + " cannot be mapped into memory");
  return {static_cast<char*>(data), file.size()};
}

void write_file(const std::string& path, const std::vector<std::string_view>& parts) {
  Replacement file(path);
  for (const auto part : parts) file.write(part);
  file.finish();
}

}  // namespace c4n

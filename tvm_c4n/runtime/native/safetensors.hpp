// Safetensors files with a checksum, as tvm_c4n/checkpoint/state_file.py writes them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace c4n {

struct StoredTensor {
  std::string dtype;  // F32, F16 or I32
  std::vector<int64_t> shape;
  std::string bytes;  // little-endian
};

// In the order of names, which is Python's of strings: UTF-8 sorts as the characters do.
using StoredTensors = std::map<std::string, StoredTensor>;
using Notes = std::map<std::string, std::string>;

// Replaces the file at once or not at all. Throws Error for a disk error.
void write_safetensors(const std::string& path, const StoredTensors& tensors, const Notes& notes);

// Reads only the notes, all but the checksum, and of tensors dtypes and shapes.
struct SafetensorsHeader {
  Notes notes;
  StoredTensors tensors;
  std::map<std::string, int64_t> begins;  // bytes of the file
  std::string digest;
  int64_t end = 0;  // of the last tensor
};
// Throws Error for a file that is none, or not as the format says.
SafetensorsHeader read_header(const std::string& path);
// Reads the tensors. Throws Error where they are not what was written there.
void read_tensors(const std::string& path, SafetensorsHeader& header);

// How errors of a state file end.
extern const char* const kSaveAgain;

}  // namespace c4n

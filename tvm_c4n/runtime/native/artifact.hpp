// An artifact folder as `tvm-c4n compile` writes it: manifest read and checked, weights mapped.
#pragma once

#include <tvm/ffi/tvm_ffi.h>

#include <cstdint>
#include <string>
#include <vector>

#include "file.hpp"

namespace c4n {

// Zeros at the start of a text.
struct State {
  std::string name;  // empty in artifacts of before names were kept
  tvm::ffi::Shape shape;
  DLDataType dtype;  // of at most 4 bytes
};

// The ring of attention: layers, heads, blocks, and two axes of a block; no other state has as many.
constexpr size_t kRingAxes = 5, kBlocksAxis = 2;
constexpr int64_t kRingBlock = 64;  // tokens

struct Artifact {
  std::string folder;
  std::string fingerprint;                   // tells its states from others'; empty as names are
  std::string library;                       // path of the compiled code
  int64_t vocab = 0;                         // token ids are 0 .. vocab - 1
  int64_t chunk = 0;                         // tokens that one call of prefill takes at most
  int64_t start = 0;                         // this token starts a text of which nothing is known
  std::vector<int64_t> ends;                 // each of these tokens ends a text
  int64_t context = 0;                       // tokens of the longest text; 0: there is no limit
  std::vector<State> states;                 // between tokens and weights, in the functions' order
  std::vector<tvm::ffi::Tensor> weights;     // views of the mapped file, in the functions' order
};

// Throws Error for a folder that is no artifact, is damaged, or was compiled for another machine.
Artifact open_artifact(const std::string& folder);

}  // namespace c4n

// A compiled model in TVM's virtual machine: tokens in, logits out.
#pragma once

#include <tvm/ffi/extra/module.h>

#include <cstdint>
#include <vector>

#include "artifact.hpp"

namespace c4n {

class Model {
 public:
  // threads: of TVM's pool; 0 for its own choice. Throws Error as `open_artifact` does.
  Model(const std::string& folder, int threads);

  int64_t vocab() const { return artifact_.vocab; }
  // Each of these tokens ends a text.
  const std::vector<int64_t>& ends() const { return artifact_.ends; }
  // Forgets the text.
  void reset();
  // Read tokens, continuing from the state; each leaves logits for `best`. Throw Error for a token
  // outside the vocabulary, for no tokens at all, and for more than attention has room for.
  void prefill(const std::vector<int32_t>& tokens);
  void step(int32_t token);
  // The most likely next token, the lowest of equal ones. Throws Error if a logit is not finite.
  int32_t best() const;

 private:
  void load(int threads);
  void check_parameters(const char* function) const;
  void check(int32_t token) const;
  void make_room(int64_t tokens);

  Artifact artifact_;
  tvm::ffi::Optional<tvm::ffi::Module> library_, machine_;
  tvm::ffi::Function prefill_, bound_step_;
  std::vector<tvm::ffi::Tensor> states_;
  int64_t read_ = 0;  // tokens of the text so far
  tvm::ffi::Tensor token_, logits_;
};

}  // namespace c4n

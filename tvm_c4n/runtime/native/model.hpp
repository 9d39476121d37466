// A compiled model in TVM's virtual machine: tokens in, logits out.
#pragma once

#include <tvm/ffi/extra/module.h>

#include <cstdint>
#include <vector>

#include "artifact.hpp"

namespace c4n {

class Model {
 public:
  // threads: of TVM's pool; 0: see `choose_threads`. Throws Error as `open_artifact` does.
  Model(const std::string& folder, int threads);

  const Artifact& artifact() const { return artifact_; }
  int64_t vocab() const { return artifact_.vocab; }
  // Given or chosen; 0: as TVM has it.
  int threads() const { return threads_; }
  // Forgets the text.
  void reset();
  // Read tokens, continuing from the state; each leaves logits. Throw Error for a token outside the
  // vocabulary, for no tokens at all, and for more than attention has room for.
  void prefill(const std::vector<int32_t>& tokens);
  void step(int32_t token);

  // The text that was read.
  const std::vector<int32_t>& tokens() const { return text_; }
  // Of the token after the text; `vocab` of them. All 0 where nothing was read.
  const float* logits() const;
  // What the model carries after the text, in the order of `Artifact::states`.
  const std::vector<tvm::ffi::Tensor>& states() const { return states_; }
  // Goes on from states that somebody has written to `states`.
  void resume(std::vector<int32_t> text, const std::vector<float>& logits);

 private:
  void load(int threads);
  void check_parameters(const char* function) const;
  void check(int32_t token) const;
  void check_room(size_t tokens) const;

  Artifact artifact_;
  int threads_;
  tvm::ffi::Optional<tvm::ffi::Module> library_, machine_;
  tvm::ffi::Function prefill_, bound_step_;
  std::vector<tvm::ffi::Tensor> states_;
  std::vector<int32_t> text_;
  tvm::ffi::Tensor token_, logits_;
};

}  // namespace c4n

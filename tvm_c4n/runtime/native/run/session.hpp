// A model that c4n_run has opened; what c4n.h returns becomes an exception.
#pragma once

#include <string>
#include <vector>

#include "options.hpp"

namespace c4n_run {

// Throws Failure for a status that is not C4N_OK.
void check(c4n_status status);

class Session {
 public:
  Session(const std::string& artifact, int threads) { check(c4n_open(artifact.c_str(), threads, &model_)); }
  ~Session() { c4n_close(model_); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  operator c4n_model*() const { return model_; }
  std::vector<int32_t> tokenize(const std::string& text, bool as_prompt) const;

 private:
  c4n_model* model_ = nullptr;
};

}  // namespace c4n_run

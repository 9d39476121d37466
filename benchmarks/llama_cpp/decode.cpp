// Decodes greedily with a GGUF model through llama.cpp's C API, from token ids and without a tokenizer:
// what llama-bench does for speed, small enough to count its instructions under an emulator.
//
//   decode MODEL THREADS COUNT ID...     reads the ids, prints COUNT more
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "llama.h"

static void only_errors(ggml_log_level level, const char *text, void *) {
  if (level == GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr);
}

int main(int argc, char **argv) {
  if (argc < 5) return std::fprintf(stderr, "use: %s MODEL THREADS COUNT ID...\n", argv[0]), 2;
  llama_log_set(only_errors, nullptr);
  llama_backend_init();
  llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
  if (!model) return 1;
  llama_context_params params = llama_context_default_params();
  params.n_ctx = 512;
  params.n_threads = params.n_threads_batch = std::atoi(argv[2]);
  llama_context *context = llama_init_from_model(model, params);
  if (!context) return 1;
  const int vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
  std::vector<llama_token> ids;
  for (int i = 4; i < argc; ++i) ids.push_back(std::atoi(argv[i]));
  for (int made = 0, count = std::atoi(argv[3]); made < count; ++made) {
    if (llama_decode(context, llama_batch_get_one(ids.data(), static_cast<int>(ids.size())))) return 1;
    const float *logits = llama_get_logits_ith(context, -1);
    ids = {static_cast<llama_token>(std::max_element(logits, logits + vocab) - logits)};
    std::printf("%d\n", ids[0]);
  }
  llama_free(context);
  llama_model_free(model);
}

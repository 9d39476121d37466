// Times one test of llama-bench through llama.cpp's C API, as llama-bench does it, and prints what that says of it in
// JSON. It needs the library alone: a phone's build is done in a quarter of the time, and is one static program.
//
//   bench MODEL THREADS N_PROMPT N_GEN [REPS]     one of the two sizes is 0; REPS runs are timed together
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "llama.h"

static void only_errors(ggml_log_level level, const char *text, void *) {
  if (level == GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr);
}

// Reads a prompt at once, or generates one token after the other; which tokens they are does not matter.
static bool run(llama_context *context, int vocab, int prompt, int generated) {
  std::vector<llama_token> ids;
  for (int i = 0; i < prompt + generated; ++i) ids.push_back(static_cast<int>((i * 7919L + 1) % vocab));
  llama_memory_clear(llama_get_memory(context), true);
  if (prompt && llama_decode(context, llama_batch_get_one(ids.data(), prompt))) return false;
  for (int i = 0; i < generated; ++i) {
    if (llama_decode(context, llama_batch_get_one(&ids[i], 1))) return false;
    llama_synchronize(context);
  }
  llama_synchronize(context);
  return true;
}

int main(int argc, char **argv) {
  if (argc != 5 && argc != 6)
    return std::fprintf(stderr, "use: %s MODEL THREADS N_PROMPT N_GEN [REPS]\n", argv[0]), 2;
  const int reps = argc == 6 ? std::atoi(argv[5]) : 1;
  const int prompt = std::atoi(argv[3]), generated = std::atoi(argv[4]);
  llama_log_set(only_errors, nullptr);
  llama_backend_init();
  llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
  if (!model) return 1;
  llama_context_params params = llama_context_default_params();
  params.n_ctx = params.n_batch = std::max({prompt, generated, 32});
  params.n_threads = params.n_threads_batch = std::atoi(argv[2]);
  llama_context *context = llama_init_from_model(model, params);
  if (!context) return 1;
  const int vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
  if (!run(context, vocab, std::min(prompt, 16), std::min(generated, 2))) return 1;
  const auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < reps; ++i)
    if (!run(context, vocab, prompt, generated)) return 1;
  const std::chrono::nanoseconds took = std::chrono::steady_clock::now() - began;
  std::printf("[{\"n_prompt\": %d, \"n_gen\": %d, \"avg_ns\": %lld, \"model_size\": %llu}]\n", prompt, generated,
              static_cast<long long>(took.count() / reps), static_cast<unsigned long long>(llama_model_size(model)));
  llama_free(context);
  llama_model_free(model);
}

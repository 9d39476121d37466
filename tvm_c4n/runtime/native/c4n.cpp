#include "c4n.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <thread>

#include "generation.hpp"
#include "model.hpp"
#include "state_file.hpp"
#include "text/tokenizer.hpp"
#include "threads.hpp"

struct c4n_model {
  c4n_model(const char* artifact, int threads) : model(artifact, threads) {}

  c4n::Model model;
  std::unique_ptr<c4n::Tokenizer> tokenizer;  // read when it is first asked for
  std::vector<int32_t> unread;                // the last token that was generated
  std::mutex mutex;
  std::atomic<std::thread::id> holder;  // of the mutex

  const c4n::Tokenizer& text() {
    if (!tokenizer)
      tokenizer = std::make_unique<c4n::Tokenizer>(model.artifact().folder + "/tokenizer.json");
    return *tokenizer;
  }
  void read_rest() {
    if (unread.empty()) return;
    model.step(unread[0]);
    unread.clear();
  }
};

namespace {

thread_local std::string last_error;
// How many threads this thread's pool was told to have.
thread_local int told_threads = 0;

c4n_status failed(c4n_status status, const char* message) {
  last_error.clear();
  // White space and control characters, which a path may have, become spaces.
  for (const char* c = message; *c && last_error.size() < 1000; ++c) {
    const auto byte = static_cast<unsigned char>(*c);
    if (byte > ' ' && byte != 0x7F) last_error += *c;
    else if (!last_error.empty() && last_error.back() != ' ') last_error += ' ';
  }
  return status;
}

// Runs `work`, whose exceptions become a status. Nothing may leave a function of C.
template <typename Work>
c4n_status guarded(Work work) noexcept {
  try {
    return work();
  } catch (const c4n::Error& error) {
    return failed(C4N_INVALID, error.what());
  } catch (const tvm::ffi::Error& error) {
    return failed(C4N_FAILED, error.message().c_str());
  } catch (const std::exception& error) {
    return failed(C4N_FAILED, error.what());
  }
}

// The same while no other thread uses the handle.
template <typename Work>
c4n_status with(c4n_model* model, Work work) noexcept {
  if (!model) return failed(C4N_INVALID, "no model: the handle is NULL");
  if (model->holder == std::this_thread::get_id())
    return failed(C4N_INVALID, "on_piece may not call functions with the model that calls it");
  return guarded([&] {
    const std::lock_guard<std::mutex> lock(model->mutex);
    struct Held {
      explicit Held(c4n_model* model) : model(model) { model->holder = std::this_thread::get_id(); }
      ~Held() { model->holder = std::thread::id(); }
      c4n_model* model;
    } held(model);
    const int threads = model->model.threads();
    if (threads != told_threads) c4n::set_threads(told_threads = threads);
    return work(*model);
  });
}

template <typename Values, typename Item>
c4n_status copy_out(const Values& values, Item* out, size_t capacity, size_t* count) {
  if (count) *count = values.size();
  if (values.size() > capacity) return failed(C4N_SHORT, "the buffer is too small");
  std::copy(values.begin(), values.end(), out);
  return C4N_OK;
}

template <typename T>
void need(const T* pointer, const char* name) {
  if (!pointer) throw c4n::Error(std::string(name) + " is NULL");
}

c4n::Generation generation_of(const c4n_options& from, const c4n::Artifact& artifact) {
  c4n::Generation to;
  to.sampling = {from.temperature,    from.top_k,            from.top_p,
                 from.min_p,          from.repeat_penalty,   from.presence_penalty,
                 from.frequency_penalty, from.repeat_last_n, from.seed};
  to.limit = from.limit;
  for (size_t i = 0; i < from.stop_count; ++i) {
    need(from.stop[i], "a stop string");
    to.stop.emplace_back(from.stop[i]);
  }
  to.ends = artifact.ends;
  if (from.end_count) to.ends.assign(from.ends, from.ends + from.end_count);
  return to;
}

}  // namespace

const char* c4n_error(void) { return last_error.c_str(); }

c4n_status c4n_open(const char* artifact, int32_t threads, c4n_model** model) {
  return guarded([&] {
    need(artifact, "artifact");
    need(model, "model");
    *model = nullptr;
    if (threads < 0) throw c4n::Error("threads are below 0 (the fastest count of big cores)");
    *model = std::make_unique<c4n_model>(artifact, threads).release();
    told_threads = (*model)->model.threads();
    return C4N_OK;
  });
}

void c4n_close(c4n_model* model) { delete model; }

size_t c4n_vocab(const c4n_model* model) {
  return model ? static_cast<size_t>(model->model.vocab()) : 0;
}

int32_t c4n_threads(c4n_model* model) {
  int32_t count = 0;
  with(model, [&](c4n_model& held) {
    count = held.model.threads() ? held.model.threads() : c4n::pool_threads();
    return C4N_OK;
  });
  return count;
}

size_t c4n_length(c4n_model* model) {
  size_t length = 0;
  with(model, [&](c4n_model& m) {
    length = m.model.tokens().size() + m.unread.size();
    return C4N_OK;
  });
  return length;
}

c4n_status c4n_reset(c4n_model* model) {
  return with(model, [](c4n_model& m) {
    m.unread.clear();
    m.model.reset();
    return C4N_OK;
  });
}

c4n_status c4n_prefill(c4n_model* model, const int32_t* tokens, size_t count) {
  return with(model, [&](c4n_model& m) {
    if (!count) throw c4n::Error("no tokens to read: give at least one");
    need(tokens, "tokens");
    std::vector<int32_t> all = m.unread;
    all.insert(all.end(), tokens, tokens + count);
    m.model.prefill(all);
    m.unread.clear();
    return C4N_OK;
  });
}

c4n_status c4n_step(c4n_model* model, int32_t token) {
  return with(model, [&](c4n_model& m) {
    m.read_rest();
    m.model.step(token);
    return C4N_OK;
  });
}

c4n_status c4n_logits(c4n_model* model, float* logits, size_t capacity) {
  return with(model, [&](c4n_model& m) {
    need(logits, "logits");
    m.read_rest();
    const auto vocab = static_cast<size_t>(m.model.vocab());
    return copy_out(std::vector<float>(m.model.logits(), m.model.logits() + vocab), logits, capacity,
                    nullptr);
  });
}

c4n_status c4n_tokenize(c4n_model* model, const char* text, size_t bytes, int32_t as_prompt,
                        int32_t* tokens, size_t capacity, size_t* count) {
  return with(model, [&](c4n_model& m) {
    need(text, "text");
    const std::string_view given(text, bytes);
    std::vector<int32_t> found = as_prompt ? m.text().encode_prompt(given) : m.text().encode(given);
    // A model begins a text of its own with the token that starts one.
    if (as_prompt && found.empty())
      found.push_back(static_cast<int32_t>(m.model.artifact().start));
    return copy_out(found, tokens, capacity, count);
  });
}

c4n_status c4n_detokenize(c4n_model* model, const int32_t* tokens, size_t count, char* text,
                          size_t capacity, size_t* bytes) {
  return with(model, [&](c4n_model& m) {
    if (count) need(tokens, "tokens");
    return copy_out(m.text().decode({tokens, tokens + count}), text, capacity, bytes);
  });
}

void c4n_default_options(c4n_options* options) {
  const c4n::Sampling sampling;
  *options = {};
  options->top_p = sampling.top_p;
  options->repeat_penalty = sampling.repeat_penalty;
  options->repeat_last_n = sampling.repeat_last_n;
  options->limit = c4n::Generation().limit;
}

c4n_status c4n_generate(c4n_model* model, const c4n_options* options, c4n_on_piece on_piece,
                        void* context, c4n_reason* reason) {
  return with(model, [&](c4n_model& m) {
    need(options, "options");
    if (!on_piece) throw c4n::Error("on_piece is NULL");
    const auto how = generation_of(*options, m.model.artifact());
    const c4n::Tokenizer* tokenizer = options->tokens_only ? nullptr : &m.text();
    m.read_rest();
    const auto found = c4n::generate(
        m.model, how, tokenizer,
        [&](int32_t token, const std::string& text) {
          return on_piece(text.data(), text.size(), token, context) == 0;
        },
        m.unread);
    if (reason) *reason = static_cast<c4n_reason>(found);
    return C4N_OK;
  });
}

c4n_status c4n_save_state(c4n_model* model, const char* path) {
  return with(model, [&](c4n_model& m) {
    need(path, "path");
    m.read_rest();
    c4n::save_state(m.model, path);
    return C4N_OK;
  });
}

c4n_status c4n_load_state(c4n_model* model, const char* path) {
  return with(model, [&](c4n_model& m) {
    need(path, "path");
    c4n::load_state(m.model, path);
    m.unread.clear();
    return C4N_OK;
  });
}

// c4n_run: runs an artifact of tvm_c4n on a device without Python, through c4n.h.
//
// With -p or -f it continues a text. Without, token ids come from stdin and go to stdout, one a line,
// as they are chosen. What people read beside that goes to stderr.

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>

#include "bench.hpp"
#include "input.hpp"
#include "options.hpp"
#include "session.hpp"
#include "sustained.hpp"

namespace {

using c4n_run::check;
using c4n_run::Failure;
using Clock = std::chrono::steady_clock;

double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

void print(const std::string& text) {
  // Flushed: whoever reads shows the text as it comes.
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout))
    throw Failure(std::string("stdout cannot be written: ") + std::strerror(errno), 2);
}

// What is printed while tokens come.
struct Output {
  bool text;
  std::string front;  // printed before the first piece: what is wrong is said before any text
  size_t tokens = 0;
  std::exception_ptr failure;

  void put(const char* piece, size_t bytes, int32_t token) {
    tokens += token >= 0;
    if (text) print(front + std::string(piece, bytes));
    else if (token >= 0) print(std::to_string(token) + "\n");
    front.clear();
  }
};

int32_t on_piece(const char* piece, size_t bytes, int32_t token, void* context) {
  auto* output = static_cast<Output*>(context);
  try {
    output->put(piece, bytes, token);
    return 0;
  } catch (...) {  // it may not cross a function of C
    output->failure = std::current_exception();
    return 1;
  }
}

// How many tokens, and their speed where anything was timed.
std::string counted(size_t tokens, double timed, double seconds) {
  std::string said = std::to_string(tokens) + (tokens == 1 ? " token" : " tokens");
  if (timed <= 0 || seconds <= 0) return said;
  char rate[64];
  std::snprintf(rate, sizeof rate, ", %.1f tokens/s", timed / seconds);
  return said + rate;
}

void generate(c4n_run::Session& model, c4n_run::Options& options) {
  const bool is_text = options.is_text(), follows = !options.load_state.empty();
  if (follows) check(c4n_load_state(model, options.load_state.c_str()));
  const std::string text = is_text ? c4n_run::read_text(options) : "";
  const std::vector<int32_t> prompt =
      is_text ? model.tokenize(text, !follows && !options.rendered) : c4n_run::read_tokens();
  const auto began = Clock::now();
  // A text that goes on without a word of its own does so from the logits of the state.
  if (!follows || !prompt.empty()) check(c4n_prefill(model, prompt.data(), prompt.size()));
  const auto read = Clock::now();
  std::vector<const char*> stop;
  for (const auto& each : options.stop) stop.push_back(each.c_str());
  options.how.stop = stop.data(), options.how.stop_count = stop.size();
  options.how.ends = options.ends.data(), options.how.end_count = options.ends.size();
  options.how.tokens_only = !is_text;
  Output output{is_text, options.rendered ? "" : text, 0, nullptr};
  const c4n_status status = c4n_generate(model, &options.how, on_piece, &output, nullptr);
  if (output.failure) std::rethrow_exception(output.failure);
  if (is_text && (status == C4N_OK || output.tokens)) print(output.front + "\n");
  check(status);
  const double took = seconds(Clock::now() - read);
  const double steps = output.tokens > 1 ? static_cast<double>(output.tokens - 1) : 0;
  if (!options.save_state.empty()) check(c4n_save_state(model, options.save_state.c_str()));
  const std::string figures =
      "prompt: " + counted(prompt.size(), static_cast<double>(prompt.size()), seconds(read - began)) +
      "; generated: " + counted(output.tokens, steps, took) + "\n";
  std::fputs(figures.c_str(), stderr);
}

// White space and control characters, which an argument may have, become spaces.
int fail(const std::string& message, int code) {
  std::string line;
  for (const char c : message.substr(0, 1000))
    line += static_cast<unsigned char>(c) < ' ' || c == 0x7F ? ' ' : c;
  std::fprintf(stderr, "error: %s\n", line.c_str());
  return code;
}

int run(int count, char** arguments) {
  c4n_run::Options options = c4n_run::parse(count, arguments);
  if (options.help) return print(c4n_run::kUsage), 0;
  if (options.artifact.empty()) return std::fputs(c4n_run::kUsage, stderr), 2;
  c4n_run::Session model(options.artifact, options.threads);
  if (!options.bench) return generate(model, options), 0;
  if (options.sustained) {
    const auto found = c4n_run::sustained(model, *options.sustained);
    if (!found.json.empty()) print(found.json + "\n");
    return found.signal ? 128 + found.signal : 0;
  }
  const c4n_run::Sizes sizes{options.n_prompt, options.n_gen, options.reps};
  print(c4n_run::bench(model, sizes) + "\n");
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  std::signal(SIGPIPE, SIG_IGN);  // a reader that left is an error like a full disk
  try {
    return run(count, arguments);
  } catch (const Failure& failure) {
    return fail(failure.what(), failure.code);
  } catch (const std::exception& error) {
    return fail(error.what(), 1);
  }
}

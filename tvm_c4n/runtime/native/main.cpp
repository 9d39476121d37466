// c4n_run: runs an artifact of tvm_c4n with TVM's runtime alone, without Python.
//
// Token ids come from stdin, separated by white space, and go to stdout, one a line, as they are
// chosen (always the most likely one). What people read goes to stderr.

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <iomanip>
#include <iostream>
#include <sstream>

#include "bench.hpp"
#include "model.hpp"

namespace {

const char* const kUsage =
    "usage: c4n_run ARTIFACT [-n N] [--stop IDS] [-t THREADS] < TOKENS\n"
    "       c4n_run ARTIFACT --bench [-p N_PROMPT] [-g N_GEN] [-r REPS] [-t THREADS]\n"
    "-n 64      tokens to generate at most     -p 512, -g 128, -r 5   as llama-bench has them\n"
    "--stop 0,2 tokens that end a text, in place of those that the model names\n"
    "-t 0       one thread for each big core\n";

struct Options {
  std::string artifact;
  bool bench = false;
  std::vector<int64_t> ends;  // none: the model's own
  int tokens = 64, threads = 0, n_prompt = 512, n_gen = 128, reps = 5;
};

int number(const char* name, const char* text, int low) {
  char* end = nullptr;
  const long value = text ? std::strtol(text, &end, 10) : 0;
  if (!text || *text == 0 || *end || value < low || value > 1000000)
    throw c4n::Error(std::string(name) + " takes a number from " + std::to_string(low) + " to 1000000");
  return static_cast<int>(value);
}

std::vector<int64_t> token_list(const char* name, const char* text) {
  std::vector<int64_t> tokens;
  std::istringstream words(text ? text : "");
  for (std::string word; std::getline(words, word, ',');)
    tokens.push_back(number(name, word.c_str(), 0));
  if (tokens.empty()) throw c4n::Error(std::string(name) + " takes token ids with commas between");
  return tokens;
}

Options parse(int count, char** arguments) {
  Options options;
  const struct {
    const char* name;
    int* value;
    int low;
  } numbers[] = {{"-n", &options.tokens, 1},   {"-t", &options.threads, 0},
                 {"-p", &options.n_prompt, 0}, {"-g", &options.n_gen, 0},
                 {"-r", &options.reps, 1}};
  for (int i = 1; i < count; ++i) {
    const std::string word = arguments[i];
    if (word == "-h" || word == "--help") return {};
    bool known = false;
    for (const auto& item : numbers)
      if (word == item.name) {
        *item.value = number(item.name, i + 1 < count ? arguments[i + 1] : nullptr, item.low);
        known = true, ++i;
        break;
      }
    if (known) continue;
    if (word == "--stop")
      options.ends = token_list("--stop", i + 1 < count ? arguments[i + 1] : nullptr), ++i;
    else if (word == "--bench") options.bench = true;
    else if (word[0] == '-' || !options.artifact.empty()) throw c4n::Error("unknown argument " + word);
    else options.artifact = word;
  }
  if (options.bench && options.n_prompt + options.n_gen == 0)
    throw c4n::Error("nothing to measure: -p or -g must be above 0");
  return options;
}

std::vector<int32_t> read_tokens() {
  constexpr int kLongestWord = 24;  // what is longer is no number
  constexpr size_t kMostTokens = 1 << 24;
  std::vector<int32_t> tokens;
  for (std::string word; std::cin >> std::setw(kLongestWord) >> word;) {
    char* end = nullptr;
    errno = 0;
    const long value = std::strtol(word.c_str(), &end, 10);
    if (end != word.c_str() + word.size() || errno || value < 0 || value > INT32_MAX)
      throw c4n::Error("stdin: '" + word + "' is no token id");
    tokens.push_back(static_cast<int32_t>(value));
    if (tokens.size() > kMostTokens) throw c4n::Error("stdin: more than 16 million tokens");
  }
  return tokens;
}

void print_line(const std::string& text) {
  // Flushed: whoever reads shows the text as it comes.
  if (std::printf("%s\n", text.c_str()) < 0 || std::fflush(stdout))
    throw c4n::Error(std::string("stdout cannot be written: ") + std::strerror(errno));
}

// White space and control characters, which a path may have, become spaces.
std::string one_line(const std::string& text) {
  std::string line;
  for (const unsigned char c : text.substr(0, 1000))
    if (c > ' ' && c != 0x7f) line += static_cast<char>(c);
    else if (!line.empty() && line.back() != ' ') line += ' ';
  return line;
}

int fail(const std::string& message, int code) {
  std::fprintf(stderr, "error: %s\n", one_line(message).c_str());
  return code;
}

void generate(c4n::Model& model, const Options& options) {
  using clock = std::chrono::steady_clock;
  const auto seconds = [](clock::duration d) { return std::chrono::duration<double>(d).count(); };
  const auto prompt = read_tokens();
  const auto& ends = options.ends.empty() ? model.ends() : options.ends;
  const auto began = clock::now();
  model.prefill(prompt);
  const auto read = clock::now();
  int made = 0;
  while (true) {
    const int32_t token = model.best();
    if (std::find(ends.begin(), ends.end(), token) != ends.end()) break;
    print_line(std::to_string(token));
    if (++made == options.tokens) break;  // nobody would use the last one's logits
    model.step(token);
  }
  const double steps = made > 1 ? made - 1 : 0, took = seconds(clock::now() - read);
  std::fprintf(stderr, "prompt: %zu tokens, %.1f tokens/s; generated: %d tokens, %.1f tokens/s\n",
               prompt.size(), static_cast<double>(prompt.size()) / seconds(read - began), made,
               took > 0 ? steps / took : 0.0);
}

}  // namespace

int main(int count, char** arguments) {
  std::signal(SIGPIPE, SIG_IGN);  // a reader that left is an error like a full disk
  try {
    const Options options = parse(count, arguments);
    if (options.artifact.empty()) return std::fputs(kUsage, stderr), 2;
    c4n::Model model(options.artifact, options.threads);
    if (options.bench)
      print_line(c4n::bench(model, options.threads, options.n_prompt, options.n_gen, options.reps));
    else generate(model, options);
    return 0;
  } catch (const c4n::Error& error) {
    return fail(error.what(), 2);
  } catch (const tvm::ffi::Error& error) {
    return fail(error.message(), 1);
  } catch (const std::exception& error) {
    return fail(error.what(), 1);
  }
}

// c4n_run: runs an artifact of tvm_c4n with TVM's runtime alone, without Python.
//
// Token ids come from stdin, separated by white space, and go to stdout, one a line, as they are
// chosen (always the most likely one). What people read goes to stderr.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
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
  std::vector<int32_t> tokens;
  for (std::string word; std::cin >> word;) {
    char* end = nullptr;
    errno = 0;
    const long value = std::strtol(word.c_str(), &end, 10);
    if (*end || errno || value < 0 || value > INT32_MAX)
      throw c4n::Error("stdin: '" + word.substr(0, 40) + "' is no token id");
    tokens.push_back(static_cast<int32_t>(value));
  }
  return tokens;
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
    std::printf("%d\n", token);
    std::fflush(stdout);  // whoever reads shows the text as it comes
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
  try {
    const Options options = parse(count, arguments);
    if (options.artifact.empty()) return std::fputs(kUsage, stderr), 2;
    c4n::Model model(options.artifact, options.threads);
    if (options.bench)
      std::puts(c4n::bench(model, options.threads, options.n_prompt, options.n_gen, options.reps).c_str());
    else generate(model, options);
    return 0;
  } catch (const c4n::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}

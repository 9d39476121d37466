#include "options.hpp"

#include <cstdlib>
#include <functional>
#include <map>
#include <set>
#include <sstream>

#include "sustained.hpp"

namespace c4n_run {

const char* const kUsage =
    "usage: c4n_run ARTIFACT -p TEXT | -f FILE [options]     text in, text out\n"
    "       c4n_run ARTIFACT [options] < TOKENS              token ids in, token ids out\n"
    "       c4n_run ARTIFACT --bench [-p N_PROMPT] [-g N_GEN] [-r REPS] [-t THREADS]\n"
    "       c4n_run ARTIFACT --bench --sustained MINUTES [-t THREADS]   speed at first and at last\n"
    "-n 64                   tokens to generate at most\n"
    "-t 0                    threads, on the biggest cores; 0: as many as are fastest\n"
    "--rendered              a chat template rendered the prompt: nothing is put around it\n"
    "--temp 0, --seed 0      draws tokens; 0: always the most likely one\n"
    "--top-k, --top-p, --min-p, --repeat-penalty, --repeat-last-n   as tvm-c4n run has them\n"
    "--stop TEXT             ends the text before it; may be given several times\n"
    "--ends 0,2              tokens that end a text, in place of those that the model names\n"
    "--load-state FILE       the prompt follows the text of this state\n"
    "--save-state FILE       writes the state after the text\n"
    "-p 512, -g 128, -r 5    of --bench, as llama-bench has them\n";

namespace {

constexpr long kMost = 1000000;

long number(const std::string& name, const std::string& text, long low, long high) {
  char* end = nullptr;
  const long value = std::strtol(text.c_str(), &end, 10);
  if (text.empty() || *end || value < low || value > high)
    throw Failure(name + " takes a number from " + std::to_string(low) + " to " + std::to_string(high));
  return value;
}

double real(const std::string& name, const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end) throw Failure(name + " takes a number");
  return value;
}

double minutes(const std::string& text) {
  const double value = real("--sustained", text);
  if (!(value > 0 && value <= kMostMinutes))
    throw Failure("--sustained takes minutes above 0, at most " + std::to_string(static_cast<int>(kMostMinutes)));
  return value;
}

uint64_t seed(const std::string& text) {
  char* end = nullptr;
  const uint64_t value = std::strtoull(text.c_str(), &end, 10);
  if (text.empty() || *end || text[0] == '-') throw Failure("--seed takes a number from 0 on");
  return value;
}

std::vector<int32_t> token_list(const std::string& name, const std::string& text) {
  std::vector<int32_t> tokens;
  std::istringstream words(text);
  for (std::string word; std::getline(words, word, ',');)
    tokens.push_back(static_cast<int32_t>(number(name, word, 0, kMost)));
  if (tokens.empty()) throw Failure(name + " takes token ids with commas between");
  return tokens;
}

// By name: what takes the word behind it.
using Takers = std::map<std::string, std::function<void(const std::string&)>>;

Takers takers_of(Options& options) {
  const auto whole = [](const char* name, auto& value, long low, long high = kMost) {
    return [=, &value](const std::string& text) {
      value = static_cast<std::decay_t<decltype(value)>>(number(name, text, low, high));
    };
  };
  const auto fraction = [](const char* name, double& value) {
    return [=, &value](const std::string& text) { value = real(name, text); };
  };
  const auto word = [](auto& value) { return [&value](const std::string& text) { value = text; }; };
  c4n_options& how = options.how;
  return {
      {"-n", whole("-n", how.limit, 1)},
      {"-t", whole("-t", options.threads, 0)},
      {"-g", whole("-g", options.n_gen, 0)},
      {"-r", whole("-r", options.reps, 1)},
      {"-p", word(options.prompt)},
      {"-f", word(options.file)},
      {"--temp", fraction("--temp", how.temperature)},
      {"--top-p", fraction("--top-p", how.top_p)},
      {"--min-p", fraction("--min-p", how.min_p)},
      {"--repeat-penalty", fraction("--repeat-penalty", how.repeat_penalty)},
      {"--top-k", whole("--top-k", how.top_k, 0)},
      {"--repeat-last-n", whole("--repeat-last-n", how.repeat_last_n, -1)},
      {"--sustained", [&options](const std::string& text) { options.sustained = minutes(text); }},
      {"--seed", [&how](const std::string& text) { how.seed = seed(text); }},
      {"--stop", [&options](const std::string& text) { options.stop.push_back(text); }},
      {"--ends", [&options](const std::string& text) { options.ends = token_list("--ends", text); }},
      {"--load-state", word(options.load_state)},
      {"--save-state", word(options.save_state)},
  };
}

// given: the words that stand before values.
void check_options(Options& options, const std::set<std::string>& given) {
  if (options.sustained) {
    if (!options.bench) throw Failure("--sustained needs --bench");
    for (const char* size : {"-p", "-g", "-r"})
      if (given.count(size))
        throw Failure(std::string(size) + " and --sustained exclude each other: give one of them");
    return;
  }
  if (options.bench) {
    if (options.prompt) options.n_prompt = static_cast<int>(number("-p", *options.prompt, 0, kMost));
    if (options.n_prompt + options.n_gen == 0)
      throw Failure("nothing to measure: -p or -g must be above 0");
    return;
  }
  if (options.prompt && options.file)
    throw Failure("-p and -f both say what to continue: give one of them");
  if (options.is_text()) return;
  if (options.rendered) throw Failure("--rendered needs a text: give -p or -f");
  if (!options.stop.empty()) throw Failure("--stop needs a text: give -p or -f, or --ends for tokens");
}

}  // namespace

Options parse(int count, char** arguments) {
  Options options;
  c4n_default_options(&options.how);
  const Takers takers = takers_of(options);
  std::set<std::string> given;
  for (int i = 1; i < count; ++i) {
    const std::string word = arguments[i];
    if (word == "-h" || word == "--help") return options.help = true, options;
    if (const auto taker = takers.find(word); taker != takers.end()) {
      if (++i == count) throw Failure(word + " takes something behind it");
      given.insert(word);
      taker->second(arguments[i]);
    } else if (word == "--bench") {
      options.bench = true;
    } else if (word == "--rendered") {
      options.rendered = true;
    } else if (word[0] == '-' || !options.artifact.empty()) {
      throw Failure("unknown argument " + word);
    } else {
      options.artifact = word;
    }
  }
  check_options(options, given);
  return options;
}

}  // namespace c4n_run

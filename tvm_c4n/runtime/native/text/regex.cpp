#include "regex.hpp"

#include <algorithm>

#include "../file.hpp"
#include "regex_parser.hpp"

namespace c4n {
namespace {

// A pattern that needs more than this is one that somebody wrote to take for ever.
constexpr int64_t kMostStepsPerCharacter = 4096, kMostSteps = int64_t{1} << 32;
constexpr size_t kMostChoices = 1 << 20;

}  // namespace

// Places to go back to: `step` is to be tried at each of `high` down to `low`.
struct Regex::Work {
  struct Choice {
    uint32_t step;
    size_t low, high;
  };
  std::vector<Choice> choices;
  int64_t steps_left;
};

Regex::Regex(std::string_view pattern, const std::string& where) : where_(where) {
  RegexParser parser(pattern, where);
  parser.parse();
  steps_ = std::move(parser.steps);
  sets_ = std::move(parser.sets);
}

size_t Regex::match(std::u32string_view text, size_t at, uint32_t step, Work& work) const {
  const size_t bottom = work.choices.size();
  const auto choose = [&](uint32_t later, size_t low, size_t high) {
    if (work.choices.size() > kMostChoices) throw Error(where_ + " needs too much memory");
    work.choices.push_back({later, low, high});
  };
  while (true) {
    const Step& now = steps_[step];
    bool fits = true;
    if (--work.steps_left < 0) throw Error(where_ + " takes too long");
    switch (now.kind) {
      case Step::kMatch:
        work.choices.resize(bottom);
        return at;
      case Step::kSet:
        fits = at < text.size() && sets_[now.set].has(text[at]);
        if (fits) ++at, ++step;
        break;
      case Step::kRun: {
        const size_t most = std::min<size_t>(now.most, text.size() - at), start = at;
        while (at - start < most && sets_[now.set].has(text[at])) ++at;
        work.steps_left -= static_cast<int64_t>(at - start);
        fits = at - start >= now.least;
        ++step;
        if (fits && !now.flag && at > start + now.least) choose(step, start + now.least, at - 1);
        break;
      }
      case Step::kFork:
        choose(now.to, at, at);
        ++step;
        break;
      case Step::kJump:
        step = now.to;
        break;
      case Step::kLook:
        fits = (match(text, at, step + 1, work) != kNone) != now.flag;
        step = now.to;
        break;
    }
    if (fits) continue;
    if (work.choices.size() == bottom) return kNone;
    auto& choice = work.choices.back();
    step = choice.step, at = choice.high;
    if (choice.high-- == choice.low) work.choices.pop_back();
  }
}

std::vector<std::pair<size_t, size_t>> Regex::find_all(std::u32string_view text) const {
  std::vector<std::pair<size_t, size_t>> found;
  const auto length = static_cast<int64_t>(text.size());
  Work work{{}, std::min(kMostSteps, (length + 1) * kMostStepsPerCharacter)};
  for (size_t at = 0; at < text.size();) {
    const size_t end = match(text, at, 0, work);
    if (end == kNone) {
      ++at;
      continue;
    }
    found.emplace_back(at, end);
    at = end;
  }
  return found;
}

}  // namespace c4n

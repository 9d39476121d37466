#include "regex_parser.hpp"

#include <algorithm>

#include "../file.hpp"
#include "unicode.hpp"

namespace c4n {
namespace {

constexpr int kMostDepth = 32;
constexpr size_t kLongestPattern = 1 << 14;
constexpr uint32_t kNoEnd = UINT32_MAX;
constexpr uint32_t kMostRepeats = 1000;

}  // namespace

RegexParser::RegexParser(std::string_view pattern, const std::string& where)
    : text_(decode_utf8(pattern, where)), where_(where) {}

void RegexParser::refuse(const std::string& what) const {
  throw Error(where_ + ": " + what + " at character " + std::to_string(at_) +
              " is not supported: tokenise on the host");
}

bool RegexParser::take(std::u32string_view expected) {
  if (text_.compare(at_, expected.size(), expected)) return false;
  at_ += expected.size();
  return true;
}

char32_t RegexParser::next() {
  if (ends()) refuse("an end too early");
  return text_[at_++];
}

void RegexParser::parse() {
  if (take(U"(?i)")) fold_ = true;
  if (alternatives(0) == 0) refuse("a pattern that nothing fits, too,");
  if (!ends()) refuse("a bracket without its other");
  steps.push_back({Step::kMatch});
}

uint32_t RegexParser::alternatives(int depth) {
  if (depth > kMostDepth) refuse("so deep a group");
  std::vector<size_t> jumps;
  uint32_t least = kNoEnd;
  while (true) {
    const size_t start = steps.size();
    least = std::min(least, sequence(depth));
    if (!take(U"|")) break;
    // A fork in front, which moves what was written; jumps within it move along.
    steps.insert(steps.begin() + static_cast<std::ptrdiff_t>(start), Step{Step::kFork});
    for (size_t i = start + 1; i < steps.size(); ++i) ++steps[i].to;
    jumps.push_back(steps.size());
    steps.push_back({Step::kJump});
    steps[start].to = static_cast<uint32_t>(steps.size());
  }
  for (const size_t jump : jumps) steps[jump].to = static_cast<uint32_t>(steps.size());
  return least;
}

uint32_t RegexParser::sequence(int depth) {
  uint32_t least = 0;
  while (!ends() && text_[at_] != '|' && text_[at_] != ')') {
    const size_t start = steps.size();
    const uint32_t one = item(depth);
    least = std::min(kMostRepeats * kMostRepeats, least + repeated(start, one));
    if (steps.size() > kLongestPattern) refuse("so long a pattern");
  }
  return least;
}

uint32_t RegexParser::item(int depth) {
  if (take(U"(")) return group(depth);
  CharSet set;
  char32_t code;
  if (take(U"[")) {
    set = char_class();
  } else if (take(U"\\")) {
    if (escape(set, code)) set.add_range(code, code);
  } else if (take(U".")) {
    set.add_range('\n', '\n');
    set.negate();
  } else {
    code = next();
    if (std::u32string_view(U"^$*+?{").find(code) != std::u32string_view::npos) refuse("a sign");
    set.add_range(code, code);
  }
  add_set(std::move(set));
  return 1;
}

void RegexParser::add_set(CharSet set) {
  if (fold_ && !set.fold_case()) refuse("a letter that is not ASCII in either case");
  set.finish();
  Step step{Step::kSet};
  step.set = static_cast<uint32_t>(sets.size());
  sets.push_back(std::move(set));
  steps.push_back(step);
}

uint32_t RegexParser::group(int depth) {
  const bool outside = fold_;
  uint32_t least = 0;
  if (take(U"?=")) return look(false, depth);
  if (take(U"?!")) return look(true, depth);
  if (take(U"?i:")) fold_ = true;
  else if (!take(U"?:") && !ends() && text_[at_] == '?') refuse("a group of this kind");
  least = alternatives(depth + 1);
  if (!take(U")")) refuse("a group without its end");
  fold_ = outside;
  return least;
}

uint32_t RegexParser::look(bool negated, int depth) {
  const size_t start = steps.size();
  Step step{Step::kLook};
  step.flag = negated;
  steps.push_back(step);
  alternatives(depth + 1);
  if (!take(U")")) refuse("a group without its end");
  steps.push_back({Step::kMatch});
  steps[start].to = static_cast<uint32_t>(steps.size());
  return 0;
}

uint32_t RegexParser::number() {
  uint32_t value = 0;
  while (!ends() && text_[at_] >= '0' && text_[at_] <= '9') {
    value = value * 10 + static_cast<uint32_t>(next() - '0');
    if (value > kMostRepeats) refuse("so many repetitions");
  }
  return value;
}

bool RegexParser::bounds(Bounds& found) {
  found = {1, 1, false};
  if (take(U"?")) found = {0, 1, false};
  else if (take(U"*")) found = {0, kNoEnd, false};
  else if (take(U"+")) found = {1, kNoEnd, false};
  else if (take(U"{")) {
    found.least = number();
    found.most = found.least;
    if (take(U",")) found.most = !ends() && text_[at_] == '}' ? kNoEnd : number();
    if (!take(U"}") || found.most < found.least || found.most == 0) refuse("a number of repetitions");
    if (!ends() && (text_[at_] == '+' || text_[at_] == '?')) refuse("a repetition of a repetition");
    return true;
  } else {
    return false;
  }
  found.possessive = take(U"+");
  if (!ends() && std::u32string_view(U"?*+{").find(text_[at_]) != std::u32string_view::npos)
    refuse("a lazy or repeated repetition");
  return true;
}

uint32_t RegexParser::repeated(size_t start, uint32_t least) {
  Bounds bound;
  if (!bounds(bound)) return least;
  if (steps.size() == start + 1 && steps[start].kind == Step::kSet) {
    Step& step = steps[start];
    step.kind = Step::kRun;
    step.least = bound.least, step.most = bound.most, step.flag = bound.possessive;
    return bound.least;
  }
  if (bound.possessive) refuse("a group that is repeated possessively");
  if (least == 0) refuse("a repetition of what may be empty");
  // Copies of the group, each behind a fork that leaves where it need not be there.
  const std::vector<Step> once(steps.begin() + static_cast<std::ptrdiff_t>(start), steps.end());
  steps.resize(start);
  const auto copy = [&] {
    const auto by = static_cast<uint32_t>(steps.size() - start);
    for (Step step : once) step.to += by, steps.push_back(step);
    if (steps.size() > kLongestPattern) refuse("so long a pattern");
  };
  for (uint32_t i = 0; i < bound.least; ++i) copy();
  std::vector<size_t> forks;
  const uint32_t optional = bound.most == kNoEnd ? 1 : bound.most - bound.least;
  for (uint32_t i = 0; i < optional; ++i) {
    forks.push_back(steps.size());
    steps.push_back({Step::kFork});
    copy();
  }
  if (bound.most == kNoEnd) {
    Step back{Step::kJump};
    back.to = static_cast<uint32_t>(forks.back());
    steps.push_back(back);
  }
  for (const size_t fork : forks) steps[fork].to = static_cast<uint32_t>(steps.size());
  return least * bound.least;
}

CharSet RegexParser::char_class() {
  CharSet set;
  const bool negate = take(U"^");
  for (bool first = true; first || !take(U"]"); first = false) {
    if (!ends() && (text_[at_] == '[' || (first && text_[at_] == ']'))) refuse("a class in a class");
    if (take(U"&&")) refuse("an intersection of classes");
    char32_t code = next();
    if (code == '\\' && !escape(set, code)) continue;
    char32_t last = code;
    if (at_ + 1 < text_.size() && text_[at_] == '-' && text_[at_ + 1] != ']') {
      ++at_;
      last = next();
      CharSet none;
      if (last == '[' || (last == '\\' && !escape(none, last)) || last < code) refuse("a range");
    }
    set.add_range(code, last);
  }
  if (negate) set.negate();
  return set;
}

bool RegexParser::escape(CharSet& set, char32_t& code) {
  code = next();
  switch (code) {
    case 'n': code = '\n'; return true;
    case 'r': code = '\r'; return true;
    case 't': code = '\t'; return true;
    case 'f': code = '\f'; return true;
    case 'v': code = '\v'; return true;
    case 's': set.add_spaces(false); return false;
    case 'S': set.add_spaces(true); return false;
    case 'd': set.add_categories(category_bits("Nd"), false); return false;
    case 'D': set.add_categories(category_bits("Nd"), true); return false;
    case 'p': property(set, false); return false;
    case 'P': property(set, true); return false;
    default: break;
  }
  if (code >= 0x80 || (code >= '0' && code <= '9') || ((code | 0x20) >= 'a' && (code | 0x20) <= 'z'))
    refuse("an escape of this kind");
  return true;
}

void RegexParser::property(CharSet& set, bool negate) {
  if (!take(U"{")) refuse("an escape of this kind");
  if (take(U"^")) negate = !negate;
  std::string name;
  for (char32_t code = next(); code != '}'; code = next()) append_utf8(name, code);
  const uint32_t bits = category_bits(name);
  if (!bits) refuse("\\p{" + name + "}");
  set.add_categories(bits, negate);
}

}  // namespace c4n

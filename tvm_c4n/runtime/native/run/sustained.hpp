// Tokens per second over minutes: a device that gets warm slows down.
#pragma once

#include <string>

#include "session.hpp"

namespace c4n_run {

constexpr double kMostMinutes = 1440;  // a day

struct Sustained {
  std::string json;  // empty: interrupted before there was anything to tell
  int signal = 0;    // that ended it early
};

// Generates without a pause, from an empty state whenever a text is long; each window of some
// seconds goes to stderr. SIGINT and SIGTERM end it with what there is.
Sustained sustained(Session& model, double minutes);

}  // namespace c4n_run

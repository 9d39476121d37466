#include "generation.hpp"

#include <algorithm>
#include <memory>

#include "text/stop_strings.hpp"
#include "text/text_stream.hpp"

namespace c4n {

Reason generate(Model& model, const Generation& how, const Tokenizer* tokenizer,
                const OnPiece& on_piece, std::vector<int32_t>& unread) {
  if (model.tokens().empty()) throw Error("no tokens to read: give at least one");
  if (how.limit < 1) throw Error("cannot generate 0 tokens: use 1 or more");
  Sampler sampler(how.sampling, model.tokens());
  StopStrings stop(how.stop);
  const auto stream = tokenizer ? std::make_unique<TextStream>(*tokenizer) : nullptr;
  const auto vocab = static_cast<size_t>(model.vocab());
  Reason reason = Reason::kLimit;
  for (size_t made = 0; made < how.limit; ++made) {
    if (!unread.empty()) model.step(unread[0]);
    unread.clear();
    const int32_t token = sampler(model.logits(), vocab);
    if (std::find(how.ends.begin(), how.ends.end(), token) != how.ends.end()) {
      reason = Reason::kEnd;
      break;
    }
    unread = {token};
    const bool goes_on = on_piece(token, stream ? stop.put(stream->put(token)) : "");
    if (stop.found()) return Reason::kEnd;
    if (!goes_on) return Reason::kStopped;
  }
  if (!stream) return reason;
  const std::string rest = stop.put(stream->end()) + stop.end();
  if (!rest.empty()) on_piece(-1, rest);
  return stop.found() ? Reason::kEnd : reason;
}

}  // namespace c4n

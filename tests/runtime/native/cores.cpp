// cores FOLDER NUMBER...: prints the order of these cores, and the counts of their kinds.
#include "cores.hpp"

#include <cstdio>
#include <cstdlib>

namespace {

void print(const char* name, const std::vector<int>& numbers) {
  std::printf("%s", name);
  for (const int number : numbers) std::printf(" %d", number);
  std::printf("\n");
}

}  // namespace

int main(int count, char** words) {
  std::vector<int> allowed;
  for (int i = 2; i < count; ++i) allowed.push_back(std::atoi(words[i]));
  const c4n::Cores found = allowed.empty() ? c4n::find_cores(words[1]) : c4n::find_cores(words[1], allowed);
  print("order", found.order);
  print("counts", found.counts);
  print("two", found.for_threads(2));
}

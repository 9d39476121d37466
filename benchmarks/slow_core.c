// Takes a core for some microseconds again and again: slow_core CORE SPIN_US SLEEP_US
#define _GNU_SOURCE
#include <sched.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

static long now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000L + time.tv_nsec;
}

int main(int count, char **words) {
  if (count != 4) return 2;
  cpu_set_t core;
  CPU_ZERO(&core);
  CPU_SET(atoi(words[1]), &core);
  if (sched_setaffinity(0, sizeof core, &core)) return 1;
  prctl(PR_SET_TIMERSLACK, 1);  // else a sleep lasts 50 us longer
  long spin_ns = atol(words[2]) * 1000;
  struct timespec sleep = {0, atol(words[3]) * 1000};
  for (;;) {
    long end = now_ns() + spin_ns;
    while (now_ns() < end) {
    }
    nanosleep(&sleep, 0);
  }
}

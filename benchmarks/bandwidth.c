/* Read bandwidth of main memory, in the ways a program can ask for it.
 *
 *   bandwidth GIB PASSES THREADS...    prints lines "threads way GB/s", one a pass
 *
 * Ways: `plain` pages of the system's size, `huge` pages of 2 MiB (asked for by madvise), and huge
 * pages with software prefetch, 1 or 2 KiB ahead. Threads read a contiguous part each, four
 * 64-byte lines at a time. Build: cc -O3 -march=native -fopenmp bandwidth.c -o bandwidth
 */
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE = 2 << 20, STRIDE = 256, WORDS = STRIDE / 8 };

static char *allocate(size_t bytes, int advice) {
  char *memory = mmap(NULL, bytes + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    perror("bandwidth: mmap");
    exit(1);
  }
  memory = (char *)(((uintptr_t)memory + HUGE - 1) & ~(uintptr_t)(HUGE - 1));
  madvise(memory, bytes, advice); /* a kernel without huge pages says no, and reads small ones */
  memset(memory, 1, bytes);
  return memory;
}

/* Sums lane by lane, so that the compiler makes it vector code. */
static uint64_t sum(const char *from, const char *to, size_t ahead) {
  uint64_t lanes[WORDS] = {0}, total = 0;
  for (; from < to; from += STRIDE) {
    if (ahead)
      for (int line = 0; line < STRIDE; line += 64) __builtin_prefetch(from + ahead + line);
    const uint64_t *words = (const uint64_t *)from;
    for (int i = 0; i < WORDS; ++i) lanes[i] += words[i];
  }
  for (int i = 0; i < WORDS; ++i) total += lanes[i];
  return total;
}

static uint64_t measure(const char *memory, size_t bytes, int threads, size_t ahead, const char *way) {
  uint64_t total = 0;
  const double began = omp_get_wtime();
#pragma omp parallel num_threads(threads) reduction(+ : total)
  {
    const size_t part = bytes / STRIDE / omp_get_num_threads() * STRIDE;
    const char *from = memory + part * omp_get_thread_num();
    total += sum(from, from + part, ahead);
  }
  printf("%d %s %.3f\n", threads, way, bytes / (omp_get_wtime() - began) / 1e9);
  return total;
}

int main(int argc, char **argv) {
  if (argc < 4) return fprintf(stderr, "use: bandwidth GIB PASSES THREADS...\n"), 2;
  const size_t bytes = (size_t)(atof(argv[1]) * (1 << 30));
  uint64_t total = 0;
  for (int huge = 0; huge < 2; ++huge) {
    char *memory = allocate(bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    for (int pass = 0; pass < atoi(argv[2]); ++pass)
      for (int arg = 3; arg < argc; ++arg) {
        const int threads = atoi(argv[arg]);
        total += measure(memory, bytes, threads, 0, huge ? "huge" : "plain");
        if (huge) total += measure(memory, bytes, threads, 1024, "prefetch-1k");
        if (huge) total += measure(memory, bytes, threads, 2048, "prefetch-2k");
      }
    munmap(memory, bytes);
  }
  return total == 42; /* the sum must be used, or nothing would be read */
}

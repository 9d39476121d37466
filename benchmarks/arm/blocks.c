/* A plugin for qemu-user: how often each block of guest code ran, and where the block lies.
 *
 *   qemu-aarch64 -plugin ./blocks.so,out=FILE PROGRAM ...
 *
 * At exit it writes to FILE one line a block: times run, instructions, offset in the file it was
 * mapped from (hexadecimal), that file. Blocks of no file have "-". One guest thread only: the
 * counters are not atomic. The declarations are those of version 1 of qemu's plugin interface
 * (qemu 4.2 to 8.2), so that no header is needed; a later qemu says so and does not start.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
typedef uint64_t Id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
void *qemu_plugin_insn_haddr(const struct qemu_plugin_insn *insn);
void qemu_plugin_register_vcpu_tb_trans_cb(Id id, void (*callback)(Id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, int operation,
                                              void *counter, uint64_t step);
void qemu_plugin_register_atexit_cb(Id id, void (*callback)(Id, void *), void *data);

EXPORT int qemu_plugin_version = 1;

enum { ADD_U64 = 0, BUCKETS = 1 << 16, MOST = 4096 };
typedef struct {
  uintptr_t first, last;
  uint64_t offset;
  char *file;
} Mapping;
typedef struct Block {
  uintptr_t at; /* in qemu's memory: guest code is mapped there from the same file */
  size_t insns;
  uint64_t offset, runs;
  const char *file;
  struct Block *next;
} Block;
static Mapping g_mappings[MOST];
static size_t g_count;
static Block *g_blocks[BUCKETS];
static const char *g_out;

static void read_mappings(void) {
  FILE *maps = fopen("/proc/self/maps", "r");
  char line[1024], file[512];
  g_count = 0;
  while (maps && g_count < MOST && fgets(line, sizeof line, maps)) {
    Mapping *m = &g_mappings[g_count];
    if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %*s %" SCNx64 " %*s %*s %511[^\n]", &m->first,
               &m->last, &m->offset, file) == 4)
      m->file = strdup(file), g_count++; /* kept: blocks point to it */
  }
  if (maps) fclose(maps);
}

static const Mapping *mapping_of(uintptr_t at) {
  for (size_t i = 0; i < g_count; ++i)
    if (at >= g_mappings[i].first && at < g_mappings[i].last) return &g_mappings[i];
  return NULL;
}

/* While the code is there: at exit its library may be closed. */
static void locate(Block *block) {
  const Mapping *m = mapping_of(block->at);
  if (!m) {
    read_mappings();
    m = mapping_of(block->at);
  }
  block->file = m ? m->file : "-";
  block->offset = m ? block->at - m->first + m->offset : block->at;
}

static void translated(Id id, struct qemu_plugin_tb *tb) {
  (void)id;
  const uintptr_t at = (uintptr_t)qemu_plugin_insn_haddr(qemu_plugin_tb_get_insn(tb, 0));
  const size_t insns = qemu_plugin_tb_n_insns(tb);
  Block **bucket = &g_blocks[at / 4 % BUCKETS], *block = *bucket;
  while (block && (block->at != at || block->insns != insns)) block = block->next;
  if (!block) {
    block = calloc(1, sizeof *block);
    if (!block) abort();
    *block = (Block){.at = at, .insns = insns, .next = *bucket};
    locate(block);
    *bucket = block;
  }
  qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD_U64, &block->runs, 1);
}

static void ended(Id id, void *data) {
  (void)id, (void)data;
  FILE *out = fopen(g_out, "w");
  if (!out) {
    perror(g_out);
    return;
  }
  for (size_t b = 0; b < BUCKETS; ++b)
    for (const Block *block = g_blocks[b]; block; block = block->next)
      if (block->runs)
        fprintf(out, "%" PRIu64 " %zu %" PRIx64 " %s\n", block->runs, block->insns, block->offset,
                block->file);
  fclose(out);
}

EXPORT int qemu_plugin_install(Id id, const void *info, int argc, char **argv) {
  (void)info;
  if (argc != 1 || strncmp(argv[0], "out=", 4)) {
    fprintf(stderr, "blocks: use -plugin blocks.so,out=FILE\n");
    return -1;
  }
  g_out = strdup(argv[0] + 4);
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_atexit_cb(id, ended, NULL);
  return 0;
}

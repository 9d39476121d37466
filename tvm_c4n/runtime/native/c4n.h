/* c4n: run a compiled model of tvm_c4n inside a program of your own. C and C++.
 *
 * A handle is a model with one text: what was read, and what the model carries after it. Every
 * function may be called from any thread; calls on one handle wait for each other, calls on several
 * run at once, each with threads of its own. Tokens are 0 to c4n_vocab(model) - 1. Texts are UTF-8.
 *
 * Functions return C4N_OK or what went wrong; c4n_error() says it in one line. After an error the
 * handle is as it was before the call, or can be put there by c4n_reset or c4n_load_state.
 *
 * docs/guides/embed.md has an example and how to build it. */
#ifndef C4N_H_
#define C4N_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define C4N_API __attribute__((visibility("default")))
#else
#define C4N_API
#endif

typedef enum c4n_status {
  C4N_OK = 0,
  C4N_FAILED = 1,  /* out of memory, or TVM's runtime failed */
  C4N_INVALID = 2, /* a file, a text or an argument is not what it should be */
  C4N_SHORT = 3    /* a buffer is too small; the size that was needed has been set */
} c4n_status;

typedef struct c4n_model c4n_model;

/* What the last call of this thread that failed said: one line, until the next one fails. */
C4N_API const char *c4n_error(void);

/* Opens an artifact folder of `tvm-c4n compile`. threads: the
 * biggest cores are taken; 0: as many of them as a few steps show to be fastest, and all where they
 * are alike (or what TVM_NUM_THREADS says). */
C4N_API c4n_status c4n_open(const char *artifact, int32_t threads, c4n_model **model);
/* May get NULL. No other call may use the handle any more. */
C4N_API void c4n_close(c4n_model *model);

/* Number of tokens that the model knows. */
C4N_API size_t c4n_vocab(const c4n_model *model);
/* Number of threads that its steps take: what was given, or chosen for 0. */
C4N_API int32_t c4n_threads(c4n_model *model);
/* Number of tokens of the text so far. */
C4N_API size_t c4n_length(c4n_model *model);

/* Forgets the text. */
C4N_API c4n_status c4n_reset(c4n_model *model);
/* Reads tokens, which follow the text: many at once, or one. */
C4N_API c4n_status c4n_prefill(c4n_model *model, const int32_t *tokens, size_t count);
C4N_API c4n_status c4n_step(c4n_model *model, int32_t token);
/* Copies the logits of the token after the text: c4n_vocab(model) numbers. */
C4N_API c4n_status c4n_logits(c4n_model *model, float *logits, size_t capacity);

/* Tokens of a text of so many bytes. as_prompt: with what the model's tokenizer puts around a whole
 * text; 0 for what follows a text, and for what a chat template rendered. Sets *count, also where
 * C4N_SHORT is returned. */
C4N_API c4n_status c4n_tokenize(c4n_model *model, const char *text, size_t bytes, int32_t as_prompt,
                                int32_t *tokens, size_t capacity, size_t *count);
/* The text of tokens, without a 0 at its end; special tokens have none. Sets *bytes likewise. */
C4N_API c4n_status c4n_detokenize(c4n_model *model, const int32_t *tokens, size_t count, char *text,
                                  size_t capacity, size_t *bytes);

/* How c4n_generate chooses tokens, and where it ends. Names and meaning are those of `tvm-c4n run`;
 * the same seed gives the same text there. */
typedef struct c4n_options {
  double temperature, top_p, min_p;
  double repeat_penalty, presence_penalty, frequency_penalty;
  int64_t top_k, repeat_last_n;
  uint64_t seed;
  size_t limit;            /* tokens at most */
  const char *const *stop; /* stop_count strings; the text ends before the first that appears */
  size_t stop_count;
  const int32_t *ends; /* end_count tokens that end the text; none: those that the model names */
  size_t end_count;
  int32_t tokens_only; /* not 0: pieces have no text, and the model needs no tokenizer */
} c4n_options;

/* The defaults: always the most likely token, 64 at most. */
C4N_API void c4n_default_options(c4n_options *options);

/* Gets each token as it is chosen, with the text that is complete by it, which may be empty (a part
 * of a character or of a stop string waits). token is -1 for text that comes after the last one.
 * Returns 0 to go on. It may not call functions with the same handle. */
typedef int32_t (*c4n_on_piece)(const char *text, size_t bytes, int32_t token, void *context);

typedef enum c4n_reason {
  C4N_END = 0,    /* a token that ends texts, or a stop string */
  C4N_LIMIT = 1,  /* so many tokens were generated */
  C4N_STOPPED = 2 /* on_piece returned something else than 0 */
} c4n_reason;

/* Continues the text. What is generated belongs to the text afterwards, but for a token that ended
 * it. reason may be NULL. A text that gets longer than the model reads ends with C4N_INVALID. */
C4N_API c4n_status c4n_generate(c4n_model *model, const c4n_options *options, c4n_on_piece on_piece,
                                void *context, c4n_reason *reason);

/* Writes the text and what the model carries after it to a file, and goes on from one: the files of
 * `tvm-c4n run --save-state` and `--load-state` with the same artifact. */
C4N_API c4n_status c4n_save_state(c4n_model *model, const char *path);
C4N_API c4n_status c4n_load_state(c4n_model *model, const char *path);

#ifdef __cplusplus
}
#endif

#endif /* C4N_H_ */

/* Continue a text with a compiled model, in C: how an app embeds libc4n.
 *
 *   embed ARTIFACT TEXT [STATE]
 *
 * Prints the text as it comes. With STATE the text goes on from that file, if it is there, and is
 * saved there at the end. docs/guides/embed.md says how to build it. */
#include <c4n.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Called for each token, with the text that is complete by it. */
static int32_t print_piece(const char *text, size_t bytes, int32_t token, void *context) {
  (void)token;
  fwrite(text, 1, bytes, (FILE *)context);
  fflush((FILE *)context);
  return 0; /* go on */
}

/* Reads the text behind what the model has read. */
static c4n_status read_text(c4n_model *model, const char *text) {
  const size_t bytes = strlen(text), most = bytes + 16;
  int32_t *tokens = malloc(most * sizeof *tokens);
  size_t count = 0;
  if (!tokens) return C4N_FAILED;
  c4n_status status =
      c4n_tokenize(model, text, bytes, c4n_length(model) == 0, tokens, most, &count);
  if (status == C4N_OK) status = c4n_prefill(model, tokens, count);
  free(tokens);
  return status;
}

static c4n_status run(c4n_model *model, const char *text, const char *state) {
  FILE *there = state ? fopen(state, "rb") : NULL;
  c4n_status status = C4N_OK;
  if (there) {
    fclose(there);
    status = c4n_load_state(model, state);
  }
  if (status == C4N_OK) status = read_text(model, text);
  if (status != C4N_OK) return status;
  fputs(text, stdout);
  c4n_options options;
  c4n_default_options(&options);
  options.limit = 32;
  options.repeat_penalty = 1.1;
  status = c4n_generate(model, &options, print_piece, stdout, NULL);
  putchar('\n');
  if (status == C4N_OK && state) status = c4n_save_state(model, state);
  return status;
}

int main(int count, char **arguments) {
  if (count < 3 || count > 4) {
    fputs("usage: embed ARTIFACT TEXT [STATE]\n", stderr);
    return 2;
  }
  c4n_model *model = NULL;
  c4n_status status = c4n_open(arguments[1], 0, &model);
  if (status == C4N_OK) status = run(model, arguments[2], count == 4 ? arguments[3] : NULL);
  if (status != C4N_OK) fprintf(stderr, "error: %s\n", c4n_error());
  c4n_close(model);
  return (int)status;
}

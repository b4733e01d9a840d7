/* classify MODEL PICTURE.ppm: the likeliest class of a picture of the network's size (8-bit colour, binary PPM).
 * cc classify.c -o classify $(pkg-config --cflags --libs pleat) -lm */
#include <math.h>
#include <pleat.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const char* what, const char* why) {
  fprintf(stderr, "classify: %s: %s\n", what, why);
  return 1;
}

int main(int argc, char** argv) {
  if (argc != 3) return fail("usage", "classify MODEL PICTURE.ppm");
  pleat_engine* engine = pleat_load(argv[1], NULL);
  if (!engine) return fail("cannot load", pleat_error());
  int64_t in[4], out[4]; /* batch (1 here), height, width, channels */
  pleat_input_shape(engine, in);
  pleat_output_shape(engine, out);
  const size_t numbers = in[1] * in[2] * in[3], classes = out[3];
  float *input = malloc(numbers * sizeof *input), *logits = malloc(classes * sizeof *logits);

  long width, height, range;
  FILE* file = fopen(argv[2], "rb");
  if (!file || fscanf(file, "P6 %ld %ld %ld", &width, &height, &range) != 3 || fgetc(file) == EOF || in[3] != 3 ||
      width != in[2] || height != in[1] || range != 255)
    return fail(argv[2], "not an 8-bit PPM file of the network's size");
  for (size_t i = 0; i < numbers; ++i)
    input[i] = (fgetc(file) / 255.0f - pleat_mean(engine)[i % 3]) / pleat_std(engine)[i % 3];
  if (feof(file)) return fail(argv[2], "cut short");

  if (pleat_run(engine, input, numbers, logits, classes) != 0) return fail("cannot run", pleat_error());
  size_t best = 0;
  for (size_t c = 1; c < classes; ++c)
    if (logits[c] > logits[best]) best = c;
  double sum = 0;
  for (size_t c = 0; c < classes; ++c) sum += exp(logits[c] - logits[best]);
  const char* name = pleat_class_name(engine, best);
  printf("%.4f  class %zu%s%s\n", 1 / sum, best, name ? ", " : "", name ? name : "");
  free(input), free(logits), fclose(file);
  pleat_free(engine);
  return 0;
}

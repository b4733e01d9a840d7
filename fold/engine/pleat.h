/* Pleat's inference engine for C (C99) and everything that can call C.
 *
 *   pleat_engine *engine = pleat_load("net.safetensors", NULL);
 *   if (!engine || pleat_run(engine, picture, 3 * 32 * 32, logits, 10)) puts(pleat_error());
 *   pleat_free(engine);
 *
 * Errors   Functions that can fail return NULL or -1 and leave a text for pleat_error(); a NULL or a number that makes
 *          no sense is such an error. Nothing is thrown, printed or aborted.
 * Threads  One handle is one thread's at a time; different handles, shared weights or not, may be used on different
 *          threads at once. Each calling thread has a team of Pleat's own threads, as large as its handle asks, which
 *          ends with it. If one cannot be started, that is an error. A caller's floating-point mode and OpenMP settings
 *          are as before after each call, and a process made by fork() may go on calling.
 * Link     cc program.c $(pkg-config --cflags --libs pleat)
 */
#ifndef PLEAT_H
#define PLEAT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the library that runs. */
const char* pleat_version(void);

/* What the last failure on the calling thread was, on one line, or two if there is a hint; "" if nothing failed yet.
 * Valid until the thread's next failure. */
const char* pleat_error(void);

/* A model prepared for one batch size: packed weights, and activations for one call at a time. */
typedef struct pleat_engine pleat_engine;

/* 0 and NULL stand for the defaults, so that `pleat_options options = {.size = sizeof options, .batch = 8};` says
 * enough. The size lets later versions add fields at the end. */
typedef struct pleat_options {
  size_t size;   /* sizeof(pleat_options) */
  int64_t batch; /* Pictures a call, 1 to 65536; 1 by default. */
  const char*
      dtype;   /* "f32", the default, or "bf16", faster where the CPU has AVX512-BF16; input and output are float. */
  int threads; /* That a call computes with, 1 to 1024; the physical cores by default. */
  int untuned; /* 1: ways to compute by rule, which loads at once. By default the fastest, timed once on a machine
                  and remembered in $XDG_CACHE_HOME/pleat or ~/.cache/pleat. */
} pleat_options;

/* Reads a model file and prepares it; `options` may be NULL. NULL if the file cannot be read, is damaged or holds what
 * this version does not know, or if the options are none. */
pleat_engine* pleat_load(const char* path, const pleat_options* options);

/* Another handle on the same packed weights, with activations of its own: for another thread. Both are alike, and
 * either may be freed first. NULL for no handle. */
pleat_engine* pleat_share(const pleat_engine* engine);

/* Ends a handle; NULL is none. */
void pleat_free(pleat_engine* engine);

/* Sizes of the input and the output of a call: batch, height, width, channels. A classifier's output is [batch, 1, 1,
 * classes]. 0, or -1. */
int pleat_input_shape(const pleat_engine* engine, int64_t shape[4]);
int pleat_output_shape(const pleat_engine* engine, int64_t shape[4]);

/* How a pixel of 0 to 255 becomes input: x = (pixel / 255 - mean) / std. One number a channel, the handle's; or NULL.
 */
const float* pleat_mean(const pleat_engine* engine);
const float* pleat_std(const pleat_engine* engine);

/* How many class names the model has: one an output, or 0 where they are unknown; -1 for no handle. */
int64_t pleat_class_count(const pleat_engine* engine);

/* The name of output `index`, in UTF-8, the handle's; NULL if there is none. */
const char* pleat_class_name(const pleat_engine* engine, int64_t index);

/* Runs the network on 1 to batch pictures: `input` in the order picture, height, width, channels, normalised; `output`
 * the logits, in the order picture, class. The counts are of floats, those of so many pictures. Few pictures take as
 * long as the whole batch. 0; or -1, also for a number in the input or the logits that is NaN or infinite, and then
 * `output` is as before. */
int pleat_run(pleat_engine* engine, const float* input, size_t input_count, float* output, size_t output_count);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs an .octavo file once without Python. Inputs are read from files of raw bytes, in the order of
 * the model's inputs (zeros where no file is given); outputs are written to standard output.
 *
 *   cmake --build --preset release --target octavo_shared
 *   cc -Icsrc/capi examples/run_model.c -Lbuild/release -loctavo -o run_model
 *   LD_LIBRARY_PATH=build/release ./run_model model.octavo input.bin > output.bin
 */
#include <stdio.h>
#include <stdlib.h>

#include "octavo.h"

enum { MAX_TENSORS = 16 };

static int fail(const char* what) {
  fprintf(stderr, "run_model: %s: %s\n", what, octavo_last_error());
  return 1;
}

static void describe(const char* role, const octavo_tensor_info* info) {
  fprintf(stderr, "%s %s: dtype %d, %zu bytes, dims", role, info->name, (int)info->dtype,
          info->bytes);
  for (int32_t d = 0; d < info->rank; ++d) fprintf(stderr, " %d", info->dims[d]);
  fprintf(stderr, "\n");
}

/* 1 when the file holds exactly `bytes` bytes. */
static int read_file(const char* path, void* data, size_t bytes) {
  FILE* file = fopen(path, "rb");
  if (file == NULL) return 0;
  const int complete = fread(data, 1, bytes, file) == bytes && fgetc(file) == EOF;
  fclose(file);
  return complete;
}

int main(int argc, char** argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: run_model model.octavo [input.bin ...] > output.bin\n");
    return 2;
  }
  octavo_model* model = NULL;
  if (octavo_load_file(argv[1], NULL, 1, &model) != OCTAVO_OK) return fail(argv[1]);
  const int32_t inputs = octavo_input_count(model), outputs = octavo_output_count(model);
  if (inputs > MAX_TENSORS || outputs > MAX_TENSORS) return fail("too many tensors");

  octavo_tensor_info info;
  void* in[MAX_TENSORS];
  void* out[MAX_TENSORS];
  for (int32_t i = 0; i < inputs; ++i) {
    if (octavo_input_info(model, i, &info) != OCTAVO_OK) return fail("input");
    describe("input", &info);
    in[i] = calloc(info.bytes, 1);
    if (in[i] == NULL) return 1;
    if (2 + i < argc && !read_file(argv[2 + i], in[i], info.bytes)) {
      fprintf(stderr, "run_model: %s does not hold %zu bytes\n", argv[2 + i], info.bytes);
      return 1;
    }
  }
  for (int32_t i = 0; i < outputs; ++i) {
    if (octavo_output_info(model, i, &info) != OCTAVO_OK) return fail("output");
    describe("output", &info);
    out[i] = calloc(info.bytes, 1);
    if (out[i] == NULL) return 1;
  }

  if (octavo_run(model, (const void* const*)in, out) != OCTAVO_OK) return fail("run");

  for (int32_t i = 0; i < outputs; ++i) {
    if (octavo_output_info(model, i, &info) != OCTAVO_OK) return fail("output");
    if (fwrite(out[i], 1, info.bytes, stdout) != info.bytes) return 1;
    free(out[i]);
  }
  for (int32_t i = 0; i < inputs; ++i) free(in[i]);
  octavo_destroy(model);
  return 0;
}

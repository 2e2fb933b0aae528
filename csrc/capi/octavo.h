/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCTAVO_H_
#define OCTAVO_H_
#include <stddef.h>
#include <stdint.h>

/*
 * Runs .octavo files (docs/format.md) from C. Results are the same bits as from Python.
 *
 *   octavo_model* model = NULL;
 *   if (octavo_load_file("m.octavo", NULL, 1, &model) != OCTAVO_OK) puts(octavo_last_error());
 *   octavo_run(model, inputs, outputs);
 *   octavo_destroy(model);
 *
 * Functions that can fail return a status; octavo_last_error() then tells why. No function throws
 * or aborts. One model may run on many threads at once.
 */
#ifdef __cplusplus
extern "C" {
#endif

#if defined(OCTAVO_BUILDING)
#define OCTAVO_API __attribute__((visibility("default")))
#else
#define OCTAVO_API
#endif

typedef struct octavo_model octavo_model;

typedef enum {
  OCTAVO_OK = 0,
  OCTAVO_FORMAT = 1,      /* not an .octavo file, or a damaged one */
  OCTAVO_UNSUPPORTED = 2, /* well-formed, but beyond this build */
  OCTAVO_SHAPE = 3,
  OCTAVO_LIMIT = 4, /* beyond a documented limit, or no memory */
  OCTAVO_ISA = 5,   /* unknown or unusable instruction set */
  OCTAVO_INVALID_ARGUMENT = 6,
  OCTAVO_INTERNAL = 7
} octavo_status;

typedef enum {
  OCTAVO_F32 = 1,
  OCTAVO_U8 = 2,
  OCTAVO_S8 = 3,
  OCTAVO_S16 = 4,
  OCTAVO_S32 = 5,
  OCTAVO_S64 = 6,
  OCTAVO_U32 = 7,
  OCTAVO_BOOL = 8
} octavo_dtype;

typedef struct {
  const char* name; /* UTF-8, valid as long as the model */
  octavo_dtype dtype;
  int32_t rank;    /* 0 to 8 */
  int32_t dims[8]; /* 1 beyond rank */
  float scale;     /* real = scale * (q - zero_point); 1 and 0 unless 8-bit */
  int32_t zero_point;
  size_t bytes; /* of the array, C order, no gaps */
} octavo_tensor_info;

/* isa: "scalar", "avx2", "avx512vnni", ... or NULL for the best of this CPU. threads: 0 for every
 * CPU this process may use. */
OCTAVO_API octavo_status octavo_load_file(const char* path, const char* isa, int threads,
                                          octavo_model** model);
/* The bytes are copied. */
OCTAVO_API octavo_status octavo_load_memory(const void* data, size_t size, const char* isa,
                                            int threads, octavo_model** model);
/* NULL is allowed. No run may be in progress. */
OCTAVO_API void octavo_destroy(octavo_model* model);

OCTAVO_API int32_t octavo_input_count(const octavo_model* model);
OCTAVO_API int32_t octavo_output_count(const octavo_model* model);
OCTAVO_API octavo_status octavo_input_info(const octavo_model* model, int32_t index,
                                           octavo_tensor_info* info);
OCTAVO_API octavo_status octavo_output_info(const octavo_model* model, int32_t index,
                                            octavo_tensor_info* info);

/* One array per input and output in order, each of info.bytes bytes, aligned to its element type.
 * Inputs are not written. An output may overlap nothing. */
OCTAVO_API octavo_status octavo_run(octavo_model* model, const void* const* inputs,
                                    void* const* outputs);

/* Message of the last failure on this thread; never NULL. */
OCTAVO_API const char* octavo_last_error(void);

#ifdef __cplusplus
}
#endif
#endif /* OCTAVO_H_ */

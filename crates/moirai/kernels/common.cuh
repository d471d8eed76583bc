// What all kernels share: storage types, asynchronous copies, warp sums.
//
// Every kernel computes a row from that row's inputs alone and sums in one
// order whatever the size of the grid, so that a forecast does not depend on
// what else is in the batch, to the bit.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stddef.h>
#include <stdint.h>

typedef __nv_bfloat16 bf16;
typedef __half f16;

#define KERNEL extern "C" __global__ void

// A structure of parameters is declared here and again on the host. `LAYOUT` makes a
// kernel that says where its fields stand: first the structure with its size and its
// alignment, then each field with its place and its size. The host compares that with
// its own (src/cuda/layout.rs) before it launches anything else. A kernel, because the
// compiler keeps variables to the module.
struct LayoutRow {
  char name[24];
  uint32_t place, size;
};
#define MOST_ROWS 32  // the host has room for so many
#define LAYOUT(TYPE, ...)                                                                      \
  namespace layout_of_##TYPE {                                                                 \
  typedef TYPE It;                                                                             \
  __device__ const LayoutRow own[] = {{#TYPE, sizeof(It), alignof(It)}, __VA_ARGS__};          \
  static_assert(sizeof(own) <= MOST_ROWS * sizeof(LayoutRow), "more fields than rows");        \
  KERNEL layout_##TYPE(LayoutRow* rows) {                                                      \
    for (size_t row = 0; row < sizeof(own) / sizeof(LayoutRow); row++) rows[row] = own[row];   \
  }                                                                                            \
  }
#define AT(FIELD) {#FIELD, offsetof(It, FIELD), sizeof(It::FIELD)}

template <typename T> __device__ __forceinline__ T narrow(float value);
template <> __device__ __forceinline__ float narrow<float>(float value) { return value; }
template <> __device__ __forceinline__ bf16 narrow<bf16>(float value) { return __float2bfloat16_rn(value); }
// Saturates: an infinity would become NaN in the next product.
template <> __device__ __forceinline__ f16 narrow<f16>(float value) {
  return __float2half_rn(fminf(fmaxf(value, -65504.f), 65504.f));
}

__device__ __forceinline__ float wide(float value) { return value; }
__device__ __forceinline__ float wide(bf16 value) { return __bfloat162float(value); }
__device__ __forceinline__ float wide(f16 value) { return __half2float(value); }

// Four neighbouring numbers; the address is a multiple of four of them.
template <typename T> struct alignas(4 * sizeof(T)) Four { T number[4]; };

template <typename T> __device__ __forceinline__ float4 load4(const T* from) {
  Four<T> four = *reinterpret_cast<const Four<T>*>(from);
  return make_float4(wide(four.number[0]), wide(four.number[1]), wide(four.number[2]), wide(four.number[3]));
}
template <typename T> __device__ __forceinline__ void store4(T* to, float4 v) {
  Four<T> four = {{narrow<T>(v.x), narrow<T>(v.y), narrow<T>(v.z), narrow<T>(v.w)}};
  *reinterpret_cast<Four<T>*>(to) = four;
}
template <typename T> struct alignas(2 * sizeof(T)) Two { T number[2]; };
template <typename T> __device__ __forceinline__ void store2(T* to, float a, float b) {
  Two<T> two = {{narrow<T>(a), narrow<T>(b)}};
  *reinterpret_cast<Two<T>*>(to) = two;
}

template <int WIDTH = 32> __device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int offset = WIDTH / 2; offset; offset >>= 1) value += __shfl_xor_sync(~0u, value, offset);
  return value;
}
template <int WIDTH = 32> __device__ __forceinline__ float warp_max(float value) {
#pragma unroll
  for (int offset = WIDTH / 2; offset; offset >>= 1) value = fmaxf(value, __shfl_xor_sync(~0u, value, offset));
  return value;
}

// What becomes of queries, keys and values: RMS norm of each head's queries and keys and rotary embedding of the
// head's first half.
struct Heads {
  const float* query_weight;  // [64], with the factor of the scores
  const float* key_weight;    // [64]
  const float* turns;         // [times, 16, 2]: cosine and sine
  const uint32_t* time;       // [rows]
  void* queries;              // [rows, width]
  void* keys;
  void* values;
  int width, now;             // now: added to every time
  int by_lane;                // whether keys and values are laid out by lane, too
};
LAYOUT(Heads, AT(query_weight), AT(key_weight), AT(turns), AT(time), AT(queries), AT(keys), AT(values), AT(width),
       AT(now), AT(by_lane))

// Where a head's 64 numbers stand "by lane": four lanes hold a row, lane l numbers
// 8 j + 2 l and the next of each eight, and its sixteen stand together.
__device__ __forceinline__ int by_lane(int lane, int eight) { return (lane & 3) * 16 + eight * 2; }

__device__ __forceinline__ float silu(float x) { return x / (1.f + expf(-x)); }

// Where kernels of several shapes compute the same number, fused products are
// written out: the compiler would choose them anew for each.
__device__ __forceinline__ float add_squares(float4 v, float sum) {
  return fmaf(v.w, v.w, fmaf(v.z, v.z, fmaf(v.y, v.y, fmaf(v.x, v.x, sum))));
}

// Copies 16 bytes to shared memory, or zeros.
__device__ __forceinline__ void copy16(uint32_t to, const void* from, bool is_there) {
  int bytes = is_there ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(to), "l"(from), "r"(bytes));
}
__device__ __forceinline__ void copies_end() { asm volatile("cp.async.commit_group;\n"); }
template <int LEFT> __device__ __forceinline__ void copies_wait() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(LEFT));
}
__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// ---- tensor cores: products of 16 by 8 over 16, sums in f32 ----

template <typename T> struct Mma;
template <> struct Mma<bf16> {
  static __device__ __forceinline__ void run(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
};
template <> struct Mma<f16> {
  static __device__ __forceinline__ void run(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
};

__device__ __forceinline__ void load_matrices(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address));
}
// The same, each matrix turned.
__device__ __forceinline__ void load_turned(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address));
}

// What all kernels share: storage types, asynchronous copies, warp sums.
//
// Every kernel computes a row from that row's inputs alone and sums in one
// order whatever the size of the grid, so that a forecast does not depend on
// what else is in the batch, to the bit.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

typedef __nv_bfloat16 bf16;
typedef __half f16;

#define KERNEL extern "C" __global__ void

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

__device__ __forceinline__ float silu(float x) { return x / (1.f + expf(-x)); }

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

// Norms, rotary embedding, routing. One warp takes a token.
#include "common.cuh"

// Registers for a row: 8 times four numbers of 32 threads, widths up to 1,024.
#define FOURS 8
#define NORM_EPSILON 1e-5f

struct Norm {
  float* x;               // [all rows, width], the residual stream
  const void* answers;    // [2 * rows, width]: added first, two to a row; null adds nothing
  const float* weight;    // [width]
  const uint32_t* rows_of;  // rows of x that are wanted; null is all
  void* out;              // [rows, width]
  uint32_t* counts;       // set to zero for the next routing; null for none
  int rows, width, experts;
};

// Adds the experts' answers to the residual stream and norms it.
template <typename T, typename OUT> __device__ __forceinline__ void norm(const Norm& p) {
  if (p.counts && blockIdx.x == 0)
    for (int i = threadIdx.x; i < p.experts; i += blockDim.x) p.counts[i] = 0;
  int row = (blockIdx.x * blockDim.x + threadIdx.x) >> 5, lane = threadIdx.x & 31;
  if (row >= p.rows) return;
  size_t source = p.rows_of ? p.rows_of[row] : row;
  float* x = p.x + source * p.width;
  float4 values[FOURS];
  float squares = 0.f;
#pragma unroll
  for (int i = 0; i < FOURS; i++) {
    int at = (i * 32 + lane) * 4;
    if (at >= p.width) break;
    float4 v = *reinterpret_cast<const float4*>(x + at);
    if (p.answers) {
      const T* first = static_cast<const T*>(p.answers) + 2 * source * p.width + at;
      float4 a = load4<T>(first), b = load4<T>(first + p.width);
      v.x += a.x + b.x, v.y += a.y + b.y, v.z += a.z + b.z, v.w += a.w + b.w;
      *reinterpret_cast<float4*>(x + at) = v;
    }
    squares += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
    values[i] = v;
  }
  float factor = rsqrtf(warp_sum(squares) / p.width + NORM_EPSILON);
#pragma unroll
  for (int i = 0; i < FOURS; i++) {
    int at = (i * 32 + lane) * 4;
    if (at >= p.width) break;
    float4 v = values[i], w = *reinterpret_cast<const float4*>(p.weight + at);
    v = make_float4(v.x * factor * w.x, v.y * factor * w.y, v.z * factor * w.z, v.w * factor * w.w);
    store4<OUT>(static_cast<OUT*>(p.out) + size_t(row) * p.width + at, v);
  }
}

struct Route {
  const float* x;          // [rows, width]
  const float* weight;     // [width], of the norm
  const float* centroids;  // [width, experts padded to 32]
  const float* squared;    // [experts]: squared lengths of the centroids
  void* out;               // [rows, width]: normed
  uint32_t* chosen;        // [2 * rows]: the farther expert first
  float* pair_weight;      // [2 * rows]
  uint32_t* rank;          // [2 * rows]: place among an expert's pairs
  uint32_t* counts;        // [experts]: pairs of each expert
  float* distances;        // [rows, experts] for who wants to see them, or null
  int rows, width, experts;
};

// Tokens that a warp routes at once, so that it reads centroids once for them.
#define ROUTED 4
#define MOST_EXPERTS 128

// Norms and chooses the two experts whose centroids are farthest. Distances are
// computed as |x|² + |c|² - 2 x·c, like the reference's, all in f32: with less
// precision near ties go to other experts.
template <typename T> __device__ __forceinline__ void route(const Route& p) {
  extern __shared__ float normed[];  // [warps, ROUTED, width]
  __shared__ uint32_t here[MOST_EXPERTS], base[MOST_EXPERTS];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
  const int first = (blockIdx.x * warps + warp) * ROUTED;
  const int width = p.width, slots = (p.experts + 31) / 32 * 32;
  float* own = normed + warp * ROUTED * width;
  for (int i = threadIdx.x; i < p.experts; i += blockDim.x) here[i] = 0;
  float length[ROUTED];
#pragma unroll
  for (int t = 0; t < ROUTED; t++) {
    int row = min(first + t, p.rows - 1);
    const float* x = p.x + size_t(row) * width;
    float4 values[FOURS];
    float squares = 0.f;
#pragma unroll
    for (int i = 0; i < FOURS; i++) {
      int at = (i * 32 + lane) * 4;
      if (at >= width) break;
      float4 v = *reinterpret_cast<const float4*>(x + at);
      squares += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
      values[i] = v;
    }
    float factor = rsqrtf(warp_sum(squares) / width + NORM_EPSILON);
    squares = 0.f;
#pragma unroll
    for (int i = 0; i < FOURS; i++) {
      int at = (i * 32 + lane) * 4;
      if (at >= width) break;
      float4 v = values[i], w = *reinterpret_cast<const float4*>(p.weight + at);
      v = make_float4(v.x * factor * w.x, v.y * factor * w.y, v.z * factor * w.z, v.w * factor * w.w);
      squares += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
      *reinterpret_cast<float4*>(own + t * width + at) = v;
      if (first + t < p.rows) store4<T>(static_cast<T*>(p.out) + size_t(row) * width + at, v);
    }
    length[t] = warp_sum(squares);
  }
  __syncthreads();
  // The two largest so far; the smaller index wins ties.
  float far[ROUTED], near[ROUTED];
  int far_id[ROUTED], near_id[ROUTED];
#pragma unroll
  for (int t = 0; t < ROUTED; t++) far[t] = near[t] = -1.f, far_id[t] = 0, near_id[t] = 1;
  for (int start = 0; start < slots; start += 32) {
    float sums[ROUTED] = {};
    const float* c = p.centroids + start + lane;
    // Sixteen at a time, so that many loads are under way at once.
    for (int k = 0; k < width; k += 16) {
      float own_c[16];
#pragma unroll
      for (int i = 0; i < 16; i++) own_c[i] = __ldg(c + size_t(k + i) * slots);
#pragma unroll
      for (int t = 0; t < ROUTED; t++) {
#pragma unroll
        for (int i = 0; i < 16; i += 4) {
          float4 v = *reinterpret_cast<const float4*>(own + t * width + k + i);
          sums[t] = fmaf(v.x, own_c[i], sums[t]);
          sums[t] = fmaf(v.y, own_c[i + 1], sums[t]);
          sums[t] = fmaf(v.z, own_c[i + 2], sums[t]);
          sums[t] = fmaf(v.w, own_c[i + 3], sums[t]);
        }
      }
    }
    int expert = start + lane;
#pragma unroll
    for (int t = 0; t < ROUTED; t++) {
      float distance = -1.f;
      if (expert < p.experts) {
        distance = sqrtf(fmaxf(length[t] + p.squared[expert] - 2.f * sums[t], 0.f));
        if (isnan(distance)) distance = -0.5f;
        if (p.distances && first + t < p.rows) p.distances[size_t(first + t) * p.experts + expert] = distance;
      }
      for (int round = 0; round < 2; round++) {
        float best = distance;
        int id = expert;
#pragma unroll
        for (int offset = 16; offset; offset >>= 1) {
          float other = __shfl_xor_sync(~0u, best, offset);
          int other_id = __shfl_xor_sync(~0u, id, offset);
          if (other > best || (other == best && other_id < id)) best = other, id = other_id;
        }
        if (best > far[t]) {
          near[t] = far[t], near_id[t] = far_id[t], far[t] = best, far_id[t] = id;
        } else if (best > near[t]) {
          near[t] = best, near_id[t] = id;
        }
        if (expert == id) distance = -2.f;
      }
    }
  }
  // Lanes 2t and 2t + 1 place the pairs of token t.
  uint32_t expert = 0, place = 0;
  bool is_pair = lane < 2 * ROUTED && first + lane / 2 < p.rows;
#pragma unroll
  for (int t = 0; t < ROUTED; t++) {
    if (lane / 2 != t || !is_pair) continue;
    float second = expf(near[t] - far[t]), total = 1.f + second;
    expert = lane & 1 ? near_id[t] : far_id[t];
    size_t pair = 2 * size_t(first + t) + (lane & 1);
    p.chosen[pair] = expert;
    p.pair_weight[pair] = (lane & 1 ? second : 1.f) / total;
    place = atomicAdd(&here[expert], 1u);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < p.experts; i += blockDim.x)
    base[i] = here[i] ? atomicAdd(&p.counts[i], here[i]) : 0;
  __syncthreads();
  if (is_pair) p.rank[2 * size_t(first) + lane] = base[expert] + place;
}

struct Place {
  const uint32_t* chosen;  // [pairs]
  const uint32_t* rank;
  const uint32_t* counts;  // [experts]
  uint32_t* perm;          // [pairs], sorted by expert
  uint32_t* offsets;       // [experts + 1]
  uint32_t* tile_expert;   // [tiles]
  uint32_t* tile_row;
  unsigned long long* usage;  // [experts]: pairs since the model was loaded
  int pairs, experts, tiles, tile_rows;
};

// Sorts the pairs by expert and lists the tiles of the experts' products. Which
// place a pair gets within its expert depends on which block came first; its
// result does not.
KERNEL place(const Place p) {
  __shared__ uint32_t offsets[MOST_EXPERTS + 1], tiles[MOST_EXPERTS + 1];
  if (threadIdx.x == 0) {
    uint32_t rows = 0, count = 0;
    for (int i = 0; i < p.experts; i++) {
      offsets[i] = rows, tiles[i] = count;
      rows += p.counts[i], count += (p.counts[i] + p.tile_rows - 1) / p.tile_rows;
    }
    offsets[p.experts] = rows, tiles[p.experts] = count;
  }
  __syncthreads();
  if (blockIdx.x == 0) {
    for (int i = threadIdx.x; i <= p.experts; i += blockDim.x) {
      p.offsets[i] = offsets[i];
      if (i == p.experts) break;
      p.usage[i] += offsets[i + 1] - offsets[i];
      for (uint32_t t = tiles[i]; t < tiles[i + 1]; t++)
        p.tile_expert[t] = i, p.tile_row[t] = (t - tiles[i]) * p.tile_rows;
    }
    for (int t = tiles[p.experts] + threadIdx.x; t < p.tiles; t += blockDim.x) p.tile_expert[t] = ~0u;
  }
  int pair = blockIdx.x * blockDim.x + threadIdx.x;
  if (pair < p.pairs) p.perm[offsets[p.chosen[pair]] + p.rank[pair]] = pair;
}

struct Rotate {
  const float* projected;  // [rows, 3 * width]: queries, keys, values
  const float* query_weight;  // [64], with the factor of the scores
  const float* key_weight;    // [64]
  const float* turns;      // [times, 16, 2]: cosine and sine
  const uint32_t* time;    // [rows]
  void* queries;           // [rows, width]
  void* keys;              // [rows, width]
  void* values;            // [rows, width]
  int rows, width, now;  // now: added to every time
};

// RMS norm of each head's queries and keys and rotary embedding of the head's
// first half, in neighbouring pairs; values are copied. A warp takes one head.
template <typename T> __device__ __forceinline__ void rotate(const Rotate& p) {
  int lane = threadIdx.x & 31, heads = p.width / 64;
  size_t item = (size_t(blockIdx.x) * blockDim.x + threadIdx.x) >> 5, row = item / heads;
  if (row >= p.rows) return;
  int column = int(item % heads) * 64 + lane * 2;
  const float* from = p.projected + row * 3 * p.width + column;
  uint32_t time = p.time[row] + p.now;
  float cosine = 1.f, sine = 0.f;
  if (lane < 16) {
    float2 turn = *reinterpret_cast<const float2*>(p.turns + (size_t(time) * 16 + lane) * 2);
    cosine = turn.x, sine = turn.y;
  }
  size_t to = row * p.width + column;
#pragma unroll
  for (int part = 0; part < 2; part++) {
    float2 v = *reinterpret_cast<const float2*>(from + part * p.width);
    float factor = rsqrtf(warp_sum(v.x * v.x + v.y * v.y) / 64.f + NORM_EPSILON);
    float2 w = *reinterpret_cast<const float2*>((part ? p.key_weight : p.query_weight) + lane * 2);
    float a = v.x * factor * w.x, b = v.y * factor * w.y;
    store2<T>(static_cast<T*>(part ? p.keys : p.queries) + to, a * cosine - b * sine, b * cosine + a * sine);
  }
  float2 v = *reinterpret_cast<const float2*>(from + 2 * p.width);
  store2<T>(static_cast<T*>(p.values) + to, v.x, v.y);
}

#define BY_TYPE(SUFFIX, T)                                                          \
  KERNEL __launch_bounds__(256) norm_##SUFFIX(const Norm p) { norm<T, T>(p); }      \
  KERNEL __launch_bounds__(256) norm_##SUFFIX##_wide(const Norm p) { norm<T, float>(p); } \
  KERNEL __launch_bounds__(256) route_##SUFFIX(const Route p) { route<T>(p); }      \
  KERNEL __launch_bounds__(256) rotate_##SUFFIX(const Rotate p) { rotate<T>(p); }
BY_TYPE(f32, float)
BY_TYPE(bf16, bf16)
BY_TYPE(f16, f16)

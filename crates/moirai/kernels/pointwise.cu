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
LAYOUT(Norm, AT(x), AT(answers), AT(weight), AT(rows_of), AT(out), AT(counts), AT(rows), AT(width), AT(experts))

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
    squares = add_squares(v, squares);
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
  const float* centroids;  // [width, experts padded to 32], times the norm's weight
  const float* squared;    // [experts]: squared lengths of the centroids
  void* out;               // [rows, width]: normed
  uint32_t* chosen;        // [2 * rows]: the farther expert first
  float* pair_weight;      // [2 * rows]
  uint32_t* rank;          // [2 * rows]: place among an expert's pairs
  uint32_t* counts;        // [experts]: pairs of each expert
  float* distances;        // [rows, experts] for who wants to see them, or null
  int rows, width, experts;
};
LAYOUT(Route, AT(x), AT(weight), AT(centroids), AT(squared), AT(out), AT(chosen), AT(pair_weight), AT(rank), AT(counts),
       AT(distances), AT(rows), AT(width), AT(experts))

#define MOST_EXPERTS 128
#define ROUTE_THREADS 128
#define DEPTH 32

// Norms and chooses the two experts whose centroids are farthest. Distances are
// computed as |x|² + |c|² - 2 x·c, like the reference's, all in f32: with less
// precision near ties go to other experts. The norm's factor is known only when
// the row has been read, so products are of the row as it is, with centroids
// that hold the norm's weight.
//
// A block takes TOKENS rows; a thread TOKENS / 16 rows by four experts.
template <typename T, int TOKENS> __device__ __forceinline__ void route(const Route& p) {
  constexpr int OWN = TOKENS / 16;
  extern __shared__ float distances[];  // [TOKENS, experts + 1]
  __shared__ __align__(16) float xs[DEPTH][TOKENS + 4], cs[DEPTH][36];
  __shared__ float factors[TOKENS], lengths[TOKENS];
  __shared__ uint32_t here[MOST_EXPERTS], base[MOST_EXPERTS], experts[2 * TOKENS], places[2 * TOKENS];
  const int thread = threadIdx.x;
  const int tx = thread & 7, ty = thread >> 3, k4 = tx * 4;
  const int first = blockIdx.x * TOKENS, width = p.width, line = p.experts + 1;
  const int slots = (p.experts + 31) / 32 * 32;
  for (int i = thread; i < p.experts; i += ROUTE_THREADS) here[i] = 0;
  const float* rows[OWN];
#pragma unroll
  for (int i = 0; i < OWN; i++) rows[i] = p.x + size_t(min(first + ty + 16 * i, p.rows - 1)) * width + k4;
  float squares[OWN] = {}, weighted[OWN] = {};
  for (int start = 0; start < slots; start += 32) {
    float sums[OWN][4] = {};
    float4 next[OWN], centroid[2];
    const float* c = p.centroids + start + (thread & 7) * 4;
    auto load = [&](int k) {
#pragma unroll
      for (int i = 0; i < OWN; i++) next[i] = *reinterpret_cast<const float4*>(rows[i] + k);
#pragma unroll
      for (int i = 0; i < 2; i++) centroid[i] = *reinterpret_cast<const float4*>(c + size_t(k + ty + 16 * i) * slots);
    };
    load(0);
    for (int k = 0; k < width; k += DEPTH) {
      __syncthreads();
#pragma unroll
      for (int i = 0; i < OWN; i++) {
        int row = ty + 16 * i;
        float4 v = next[i];
        xs[k4][row] = v.x, xs[k4 + 1][row] = v.y, xs[k4 + 2][row] = v.z, xs[k4 + 3][row] = v.w;
        if (start == 0) {
          float4 w = *reinterpret_cast<const float4*>(p.weight + k + k4);
          squares[i] = add_squares(v, squares[i]);
          v.x *= w.x, v.y *= w.y, v.z *= w.z, v.w *= w.w;
          weighted[i] = add_squares(v, weighted[i]);
        }
      }
#pragma unroll
      for (int i = 0; i < 2; i++) *reinterpret_cast<float4*>(&cs[ty + 16 * i][(thread & 7) * 4]) = centroid[i];
      __syncthreads();
      if (k + DEPTH < width) load(k + DEPTH);
#pragma unroll
      for (int kk = 0; kk < DEPTH; kk++) {
        float4 four = *reinterpret_cast<const float4*>(&cs[kk][tx * 4]);
        float own[OWN];
        if constexpr (OWN == 4) {
          float4 v = *reinterpret_cast<const float4*>(&xs[kk][ty * 4]);
          own[0] = v.x, own[1] = v.y, own[2] = v.z, own[3] = v.w;
        } else {
          own[0] = xs[kk][ty];
        }
#pragma unroll
        for (int i = 0; i < OWN; i++) {
          float v = own[i];
          sums[i][0] = fmaf(v, four.x, sums[i][0]), sums[i][1] = fmaf(v, four.y, sums[i][1]);
          sums[i][2] = fmaf(v, four.z, sums[i][2]), sums[i][3] = fmaf(v, four.w, sums[i][3]);
        }
      }
    }
    if (start == 0) {
#pragma unroll
      for (int i = 0; i < OWN; i++) {
        float square = warp_sum<8>(squares[i]), length = warp_sum<8>(weighted[i]);
        float factor = rsqrtf(square / width + NORM_EPSILON);
        if (tx == 0) factors[ty + 16 * i] = factor, lengths[ty + 16 * i] = length * factor * factor;
      }
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < OWN; i++) {
      int row = ty * OWN + i;
#pragma unroll
      for (int j = 0; j < 4; j++) {
        int expert = start + tx * 4 + j;
        if (expert >= p.experts) continue;
        float square = fmaf(-2.f * factors[row], sums[i][j], lengths[row] + p.squared[expert]);
        distances[row * line + expert] = sqrtf(fmaxf(square, 0.f));
      }
    }
  }
  __syncthreads();
  // A thread chooses for a token; the smaller index wins ties.
  if (thread < TOKENS && first + thread < p.rows) {
    const float* own = distances + thread * line;
    float far = -1.f, near = -1.f;
    int far_id = 0, near_id = 1;
    for (int expert = 0; expert < p.experts; expert++) {
      float distance = own[expert];
      if (distance > far) {
        near = far, near_id = far_id, far = distance, far_id = expert;
      } else if (distance > near) {
        near = distance, near_id = expert;
      }
    }
    float second = expf(near - far), total = 1.f + second;
    size_t pair = 2 * size_t(first + thread);
    p.chosen[pair] = far_id, p.chosen[pair + 1] = near_id;
    p.pair_weight[pair] = 1.f / total, p.pair_weight[pair + 1] = second / total;
    experts[2 * thread] = far_id, experts[2 * thread + 1] = near_id;
    places[2 * thread] = atomicAdd(&here[far_id], 1u);
    places[2 * thread + 1] = atomicAdd(&here[near_id], 1u);
  }
  if (p.distances) {
    for (int i = thread; i < TOKENS * p.experts && first + i / p.experts < p.rows; i += ROUTE_THREADS)
      p.distances[size_t(first) * p.experts + i] = distances[i / p.experts * line + i % p.experts];
  }
  const int fours = width / 4, count = min(TOKENS, p.rows - first) * fours;
#pragma unroll 4
  for (int i = thread; i < count; i += ROUTE_THREADS) {
    int row = i / fours, at = (i - row * fours) * 4;
    size_t place = size_t(first + row) * width + at;
    float4 v = *reinterpret_cast<const float4*>(p.x + place), w = *reinterpret_cast<const float4*>(p.weight + at);
    float factor = factors[row];
    v = make_float4(v.x * factor * w.x, v.y * factor * w.y, v.z * factor * w.z, v.w * factor * w.w);
    store4<T>(static_cast<T*>(p.out) + place, v);
  }
  __syncthreads();
  for (int i = thread; i < p.experts; i += ROUTE_THREADS) base[i] = here[i] ? atomicAdd(&p.counts[i], here[i]) : 0;
  __syncthreads();
  for (int i = thread; i < 2 * TOKENS && first + i / 2 < p.rows; i += ROUTE_THREADS)
    p.rank[2 * size_t(first) + i] = base[experts[i]] + places[i];
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
LAYOUT(Place, AT(chosen), AT(rank), AT(counts), AT(perm), AT(offsets), AT(tile_expert), AT(tile_row), AT(usage),
       AT(pairs), AT(experts), AT(tiles), AT(tile_rows))

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
  Heads heads;
  int rows;
};
LAYOUT(Rotate, AT(projected), AT(heads), AT(rows))

// RMS norm of each head's queries and keys and rotary embedding of the head's
// first half, in neighbouring pairs; values are copied. A warp takes one head.
template <typename T> __device__ __forceinline__ void rotate(const Rotate& r) {
  const Heads& p = r.heads;
  int lane = threadIdx.x & 31, heads = p.width / 64;
  size_t item = (size_t(blockIdx.x) * blockDim.x + threadIdx.x) >> 5, row = item / heads;
  if (row >= r.rows) return;
  int column = int(item % heads) * 64 + lane * 2;
  const float* from = r.projected + row * 3 * p.width + column;
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
  KERNEL __launch_bounds__(ROUTE_THREADS) route_##SUFFIX##_64(const Route p) { route<T, 64>(p); } \
  KERNEL __launch_bounds__(ROUTE_THREADS) route_##SUFFIX##_16(const Route p) { route<T, 16>(p); }
BY_TYPE(f32, float)
BY_TYPE(bf16, bf16)
BY_TYPE(f16, f16)
KERNEL __launch_bounds__(256) rotate_f32(const Rotate p) { rotate<float>(p); }

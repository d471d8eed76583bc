// Attention of 64 queries of one head: first to keys that all of them share,
// then to keys of their own, with a running softmax in f32.
#include "common.cuh"

// Some queries that share keys.
struct Span {
  uint32_t first_query;  // row of the queries
  uint32_t queries;
  uint32_t first_key;    // row of the shared keys
  uint32_t keys;
  uint32_t tokens;       // tokens of a sample path in one step
};

struct Attention {
  const void* queries;      // [query rows, width], with the factor of the scores
  const void* keys;         // [key rows, width]
  const void* values;
  const Span* spans;        // [spans]
  const uint2* tiles;       // [tiles]: span, first query within it
  const uint32_t* time;     // [key rows] of contexts; null where all keys are seen
  const uint32_t* sample;   // [key rows]; tokens of different samples do not see each other
  const uint32_t* variate;  // [key rows]
  const uint32_t* own_variate;  // [query rows]
  const void* own_keys;     // [steps, own rows, width]; a path's earlier tokens and its newest ones
  const void* own_values;
  const float2* bias;       // [heads]: another variate, the same
  void* out;                // [query rows, width]
  int width, steps, own_rows;
};

#define QUERIES 64
#define KEYS 32
#define HEAD 64

template <typename T> __device__ __forceinline__ void attend(const Attention& p) {
  // Four queries by two keys of scores, four queries by four dimensions of
  // mixed values for each of 16 by 16 threads.
  __shared__ float q[HEAD][QUERIES + 4], k[HEAD][KEYS + 2], v[KEYS][HEAD], weights[QUERIES][KEYS + 1];
  const uint2 tile = p.tiles[blockIdx.x];
  const Span span = p.spans[tile.x];
  const int head = blockIdx.y, column = head * HEAD, width = p.width;
  const int thread = threadIdx.x, tx = thread & 15, ty = thread >> 4;
  const int count = min(QUERIES, int(span.queries - tile.y));
  const size_t first = span.first_query + tile.y;
  const float2 bias = p.bias[head];
  for (int at = thread; at < QUERIES * (HEAD / 4); at += 256) {
    int row = at >> 4, d = (at & 15) * 4;
    float4 four = make_float4(0.f, 0.f, 0.f, 0.f);
    if (row < count) four = load4<T>(static_cast<const T*>(p.queries) + (first + row) * width + column + d);
    q[d][row] = four.x, q[d + 1][row] = four.y, q[d + 2][row] = four.z, q[d + 3][row] = four.w;
  }
  float most[4], total[4], mixed[4][4] = {};
  uint32_t variate[4], time[4], sample[4];
#pragma unroll
  for (int i = 0; i < 4; i++) {
    most[i] = -INFINITY, total[i] = 0.f;
    size_t row = first + min(ty * 4 + i, count - 1);
    variate[i] = p.own_variate[row];
    time[i] = p.time ? p.time[row] : 0, sample[i] = p.time ? p.sample[row] : 0;
  }
  for (int start = 0; start < span.keys; start += KEYS) {
    __syncthreads();
    for (int at = thread; at < KEYS * (HEAD / 4); at += 256) {
      int row = at >> 4, d = (at & 15) * 4;
      float4 key = make_float4(0.f, 0.f, 0.f, 0.f), value = key;
      if (start + row < span.keys) {
        size_t from = size_t(span.first_key + start + row) * width + column + d;
        key = load4<T>(static_cast<const T*>(p.keys) + from);
        value = load4<T>(static_cast<const T*>(p.values) + from);
      }
      k[d][row] = key.x, k[d + 1][row] = key.y, k[d + 2][row] = key.z, k[d + 3][row] = key.w;
      *reinterpret_cast<float4*>(&v[row][d]) = value;
    }
    __syncthreads();
    float scores[4][2] = {};
#pragma unroll 16
    for (int d = 0; d < HEAD; d++) {
      float4 four = *reinterpret_cast<const float4*>(&q[d][ty * 4]);
      float2 two = *reinterpret_cast<const float2*>(&k[d][tx * 2]);
      float a[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
      for (int i = 0; i < 4; i++) scores[i][0] = fmaf(a[i], two.x, scores[i][0]), scores[i][1] = fmaf(a[i], two.y, scores[i][1]);
    }
#pragma unroll
    for (int j = 0; j < 2; j++) {
      int index = start + tx * 2 + j;
      bool is_key = index < span.keys;
      size_t key = span.first_key + (is_key ? index : 0);
      uint32_t of_key = p.variate[key];
      uint32_t when = p.time ? p.time[key] : 0, whose = p.time ? p.sample[key] : 0;
#pragma unroll
      for (int i = 0; i < 4; i++) {
        bool is_seen = is_key && when <= time[i] && whose == sample[i];
        scores[i][j] = is_seen ? scores[i][j] + (of_key == variate[i] ? bias.y : bias.x) : -INFINITY;
      }
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
      float largest = fmaxf(most[i], warp_max<16>(fmaxf(scores[i][0], scores[i][1])));
      // Nothing seen yet: any finite number will do.
      float from = largest == -INFINITY ? 0.f : largest;
      float factor = expf(most[i] - from);
      float w0 = expf(scores[i][0] - from), w1 = expf(scores[i][1] - from);
      total[i] = total[i] * factor + warp_sum<16>(w0 + w1);
      most[i] = largest;
      weights[ty * 4 + i][tx * 2] = w0, weights[ty * 4 + i][tx * 2 + 1] = w1;
#pragma unroll
      for (int d = 0; d < 4; d++) mixed[i][d] *= factor;
    }
    __syncthreads();
#pragma unroll 8
    for (int key = 0; key < KEYS; key++) {
      float4 four = *reinterpret_cast<const float4*>(&v[key][tx * 4]);
#pragma unroll
      for (int i = 0; i < 4; i++) {
        float w = weights[ty * 4 + i][key];
        mixed[i][0] = fmaf(w, four.x, mixed[i][0]), mixed[i][1] = fmaf(w, four.y, mixed[i][1]);
        mixed[i][2] = fmaf(w, four.z, mixed[i][2]), mixed[i][3] = fmaf(w, four.w, mixed[i][3]);
      }
    }
  }
  // Their own keys: the 16 threads of a row share its dimensions.
  if (p.own_keys) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      int row = ty * 4 + i;
      uint32_t within = tile.y + min(row, count - 1);
      size_t path = span.first_query + within / span.tokens * span.tokens;
      float a[4];
#pragma unroll
      for (int d = 0; d < 4; d++) a[d] = q[tx * 4 + d][row];
      for (int step = 0; step < p.steps; step++) {
        for (int token = 0; token < span.tokens; token++) {
          size_t from = (size_t(step) * p.own_rows + path + token) * width + column + tx * 4;
          float4 key = load4<T>(static_cast<const T*>(p.own_keys) + from);
          float4 value = load4<T>(static_cast<const T*>(p.own_values) + from);
          float score = warp_sum<16>(a[0] * key.x + a[1] * key.y + a[2] * key.z + a[3] * key.w);
          score += p.own_variate[path + token] == variate[i] ? bias.y : bias.x;
          float largest = fmaxf(most[i], score);
          float factor = expf(most[i] - largest), w = expf(score - largest);
          total[i] = total[i] * factor + w, most[i] = largest;
          mixed[i][0] = mixed[i][0] * factor + w * value.x, mixed[i][1] = mixed[i][1] * factor + w * value.y;
          mixed[i][2] = mixed[i][2] * factor + w * value.z, mixed[i][3] = mixed[i][3] * factor + w * value.w;
        }
      }
    }
  }
#pragma unroll
  for (int i = 0; i < 4; i++) {
    int row = ty * 4 + i;
    if (row >= count) continue;
    float f = 1.f / total[i];
    T* out = static_cast<T*>(p.out) + (first + row) * width + column + tx * 4;
    store4<T>(out, make_float4(mixed[i][0] * f, mixed[i][1] * f, mixed[i][2] * f, mixed[i][3] * f));
  }
}

KERNEL __launch_bounds__(256) attend_f32(const Attention p) { attend<float>(p); }
KERNEL __launch_bounds__(256) attend_bf16(const Attention p) { attend<bf16>(p); }
KERNEL __launch_bounds__(256) attend_f16(const Attention p) { attend<f16>(p); }

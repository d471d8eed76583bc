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
LAYOUT(Span, AT(first_query), AT(queries), AT(first_key), AT(keys), AT(tokens))
LAYOUT(uint2, AT(x), AT(y))

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
LAYOUT(Attention, AT(queries), AT(keys), AT(values), AT(spans), AT(tiles), AT(time), AT(sample), AT(variate),
       AT(own_variate), AT(own_keys), AT(own_values), AT(bias), AT(out), AT(width), AT(steps), AT(own_rows))

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

// ---- tensor cores: four warps of 16 queries, keys in tiles of 32 ----

// Rows of 64 numbers, 128 bytes in eight pieces of 16, mixed with the row.
__device__ __forceinline__ uint32_t head_piece(int row, int index) { return row * 128 + ((index ^ (row & 7)) << 4); }

template <typename T> __device__ __forceinline__ float2 wide2(uint32_t word) {
  Two<T> two = *reinterpret_cast<Two<T>*>(&word);
  return make_float2(wide(two.number[0]), wide(two.number[1]));
}
template <typename T> __device__ __forceinline__ uint32_t narrow2(float a, float b) {
  Two<T> two = {{narrow<T>(a), narrow<T>(b)}};
  return *reinterpret_cast<uint32_t*>(&two);
}

// Sixteen numbers that stand together.
template <typename T> __device__ __forceinline__ void load8(uint32_t (&words)[8], const T* from) {
  const uint4* wide = reinterpret_cast<const uint4*>(from);
  uint4 a = wide[0], b = wide[1];
  words[0] = a.x, words[1] = a.y, words[2] = a.z, words[3] = a.w;
  words[4] = b.x, words[5] = b.y, words[6] = b.z, words[7] = b.w;
}

template <typename T> __device__ __forceinline__ void attend_tensor(const Attention& p) {
  constexpr int TILE = KEYS * 128;
  __shared__ __align__(128) unsigned char memory[2][2][TILE];  // [stage][keys, values]
  const uint2 tile = p.tiles[blockIdx.x];
  const Span span = p.spans[tile.x];
  const int head = blockIdx.y, column = head * HEAD, width = p.width;
  const int thread = threadIdx.x, lane = thread & 31, warp = thread >> 5;
  const int count = min(QUERIES, int(span.queries - tile.y));
  const size_t first = span.first_query + tile.y;
  const float2 bias = p.bias[head];
  const uint32_t base = shared_address(memory);
  const int tiles = (span.keys + KEYS - 1) / KEYS;
  auto copy = [&](int index) {
    uint32_t to = base + (index & 1) * 2 * TILE;
#pragma unroll
    for (int i = 0; i < 2; i++) {
      int at = thread + i * 128, row = at >> 3, piece = at & 7;
      bool is_key = index * KEYS + row < span.keys;
      size_t from = size_t(span.first_key + (is_key ? index * KEYS + row : 0)) * width + column + piece * 8;
      copy16(to + head_piece(row, piece), static_cast<const T*>(p.keys) + from, is_key);
      copy16(to + TILE + head_piece(row, piece), static_cast<const T*>(p.values) + from, is_key);
    }
    copies_end();
  };
  if (tiles > 0) copy(0);
  // This thread's two rows, and of them two of every eight dimensions.
  int rows[2];
  size_t places[2];
  uint32_t variate[2], time[2], sample[2], queries[4][4];
#pragma unroll
  for (int i = 0; i < 2; i++) {
    rows[i] = warp * 16 + i * 8 + (lane >> 2);
    places[i] = first + min(rows[i], count - 1);
    variate[i] = p.own_variate[places[i]];
    time[i] = p.time ? p.time[places[i]] : 0, sample[i] = p.time ? p.sample[places[i]] : 0;
    const T* from = static_cast<const T*>(p.queries) + places[i] * width + column + by_lane(lane, 0);
    uint32_t words[8];
    load8(words, from);
#pragma unroll
    for (int k = 0; k < 4; k++) queries[k][i] = words[2 * k], queries[k][i + 2] = words[2 * k + 1];
  }
  float most[2] = {-INFINITY, -INFINITY}, total[2] = {}, mixed[8][4] = {};
  for (int index = 0; index < tiles; index++) {
    copies_wait<0>();
    __syncthreads();
    if (index + 1 < tiles) copy(index + 1);
    uint32_t keys = base + (index & 1) * 2 * TILE, values = keys + TILE;
    float scores[4][4] = {};
#pragma unroll
    for (int k = 0; k < 4; k++) {
#pragma unroll
      for (int j = 0; j < 4; j += 2) {
        uint32_t four[4];
        int row = j * 8 + (lane & 7) + ((lane >> 4) << 3);
        load_matrices(four, keys + head_piece(row, k * 2 + ((lane >> 3) & 1)));
        const uint32_t low[2] = {four[0], four[1]}, high[2] = {four[2], four[3]};
        Mma<T>::run(scores[j], queries[k], low);
        Mma<T>::run(scores[j + 1], queries[k], high);
      }
    }
#pragma unroll
    for (int j = 0; j < 4; j++) {
#pragma unroll
      for (int c = 0; c < 2; c++) {
        int at = index * KEYS + j * 8 + (lane & 3) * 2 + c;
        bool is_key = at < span.keys;
        size_t key = span.first_key + (is_key ? at : 0);
        uint32_t of_key = p.variate[key];
        uint32_t when = p.time ? p.time[key] : 0, whose = p.time ? p.sample[key] : 0;
#pragma unroll
        for (int i = 0; i < 2; i++) {
          float& score = scores[j][i * 2 + c];
          bool is_seen = is_key && when <= time[i] && whose == sample[i];
          score = is_seen ? score + (of_key == variate[i] ? bias.y : bias.x) : -INFINITY;
        }
      }
    }
    uint32_t weights[2][4];
#pragma unroll
    for (int i = 0; i < 2; i++) {
      float largest = most[i];
#pragma unroll
      for (int j = 0; j < 4; j++) largest = fmaxf(largest, fmaxf(scores[j][i * 2], scores[j][i * 2 + 1]));
      largest = warp_max<4>(largest);
      float from = largest == -INFINITY ? 0.f : largest, sum = 0.f;
#pragma unroll
      for (int j = 0; j < 4; j++) {
        float w0 = __expf(scores[j][i * 2] - from), w1 = __expf(scores[j][i * 2 + 1] - from);
        sum += w0 + w1;
        // Two neighbouring tiles of eight scores are one operand of sixteen.
        weights[j >> 1][(j & 1) * 2 + i] = narrow2<T>(w0, w1);
      }
      float factor = __expf(most[i] - from);
      total[i] = total[i] * factor + warp_sum<4>(sum), most[i] = largest;
#pragma unroll
      for (int d = 0; d < 8; d++) mixed[d][i * 2] *= factor, mixed[d][i * 2 + 1] *= factor;
    }
#pragma unroll
    for (int k = 0; k < 2; k++) {
#pragma unroll
      for (int d = 0; d < 8; d += 2) {
        uint32_t four[4];
        int row = k * 16 + (lane & 15);
        load_turned(four, values + head_piece(row, d + (lane >> 4)));
        const uint32_t low[2] = {four[0], four[1]}, high[2] = {four[2], four[3]};
        Mma<T>::run(mixed[d], weights[k], low);
        Mma<T>::run(mixed[d + 1], weights[k], high);
      }
    }
  }
  // Their own keys: four threads share a row's dimensions.
  if (p.own_keys) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      uint32_t within = tile.y + min(rows[i], count - 1);
      size_t path = span.first_query + within / span.tokens * span.tokens;
      for (int step = 0; step < p.steps; step++) {
        for (int token = 0; token < span.tokens; token++) {
          size_t from = (size_t(step) * p.own_rows + path + token) * width + column + by_lane(lane, 0);
          uint32_t of_key[8], of_value[8];
          load8(of_key, static_cast<const T*>(p.own_keys) + from);
          load8(of_value, static_cast<const T*>(p.own_values) + from);
          float score = 0.f;
#pragma unroll
          for (int d = 0; d < 8; d++) {
            float2 a = wide2<T>(queries[d >> 1][(d & 1) * 2 + i]), b = wide2<T>(of_key[d]);
            score += a.x * b.x + a.y * b.y;
          }
          score = warp_sum<4>(score) + (p.own_variate[path + token] == variate[i] ? bias.y : bias.x);
          float largest = fmaxf(most[i], score), factor = __expf(most[i] - largest), w = __expf(score - largest);
          total[i] = total[i] * factor + w, most[i] = largest;
#pragma unroll
          for (int d = 0; d < 8; d++) {
            float2 b = wide2<T>(of_value[d]);
            mixed[d][i * 2] = mixed[d][i * 2] * factor + w * b.x;
            mixed[d][i * 2 + 1] = mixed[d][i * 2 + 1] * factor + w * b.y;
          }
        }
      }
    }
  }
#pragma unroll
  for (int i = 0; i < 2; i++) {
    if (rows[i] >= count) continue;
    float f = 1.f / total[i];
    T* out = static_cast<T*>(p.out) + places[i] * width + column + (lane & 3) * 2;
#pragma unroll
    for (int d = 0; d < 8; d++) store2<T>(out + d * 8, mixed[d][i * 2] * f, mixed[d][i * 2 + 1] * f);
  }
}

KERNEL __launch_bounds__(256) attend_f32(const Attention p) { attend<float>(p); }
KERNEL __launch_bounds__(128) attend_bf16(const Attention p) { attend_tensor<bf16>(p); }
KERNEL __launch_bounds__(128) attend_f16(const Attention p) { attend_tensor<f16>(p); }

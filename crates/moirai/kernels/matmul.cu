// Products of rows with weights: out[row, n] = sum over k of a[row, k] * w[n, k].
//
// One kernel serves linear layers and experts. With `offsets` the rows are
// sorted by expert: tile t holds rows `tile_row[t]` and on of expert
// `tile_expert[t]`, whose weights begin `expert * columns * inner` numbers in.
// Grids are sized by an upper bound, so no count has to come to the host; a
// tile that holds nothing has expert -1.
//
// `inner` is a multiple of 32; weights have as many rows as whole blocks of 128
// columns need (zeros beyond). Tensor cores through mma.sync, which cards from
// compute capability 8.0 on have; f32 without them.
#include "common.cuh"

enum Finish { STORE_WIDE, SILU, ADD, GLU, WEIGH, ROTATE };

struct Product {
  const void* a;        // [rows, inner]
  const void* weights;  // [columns padded to 128, inner], for each expert
  const float* bias;    // [columns] or null
  void* out;            // [rows, stride]
  const uint32_t* perm;        // pair at each sorted place; null for linear layers
  const uint32_t* offsets;     // [experts + 1]
  const uint32_t* tile_expert; // -1 is none
  const uint32_t* tile_row;
  const float* pair_weight;    // what WEIGH multiplies with
  int rows, columns, inner, stride, padded;  // padded: columns to 128
};
LAYOUT(Product, AT(a), AT(weights), AT(bias), AT(out), AT(perm), AT(offsets), AT(tile_expert), AT(tile_row),
       AT(pair_weight), AT(rows), AT(columns), AT(inner), AT(stride), AT(padded))

struct Projection {
  Product product;
  Heads heads;
};
LAYOUT(Projection, AT(product), AT(heads))

struct Tile {
  int expert, first, rows, segment;
};

template <int BM, bool GROUPED> __device__ __forceinline__ bool find_tile(const Product& p, Tile& tile) {
  if (!GROUPED) {
    tile = {0, int(blockIdx.y) * BM, p.rows, 0};
    return true;
  }
  uint32_t expert = p.tile_expert[blockIdx.y];
  if (expert == ~0u) return false;
  uint32_t segment = p.offsets[expert];
  tile = {int(expert), int(p.tile_row[blockIdx.y]), int(p.offsets[expert + 1] - segment), int(segment)};
  return true;
}

// The row of `a` that a row of a tile is: experts' first product gathers tokens,
// each of which has two pairs; the second reads what the first wrote, in order.
template <int FINISH, bool GROUPED> __device__ __forceinline__ size_t source_row(const Product& p, const Tile& tile, int row) {
  if (!GROUPED) return row;
  return FINISH == GLU ? p.perm[tile.segment + row] >> 1 : size_t(tile.segment + row);
}

// Writes two neighbouring columns of a row; for GLU `left` and `right` are gates
// and `up0`, `up1` their values, and `column` counts hidden units.
template <typename T, int FINISH, bool GROUPED>
__device__ __forceinline__ void finish2(const Product& p, const Tile& tile, int row, int column, float left, float right,
                                        float up0, float up1) {
  if (row >= tile.rows || column >= p.columns) return;
  if (FINISH == GLU) {
    T* out = static_cast<T*>(p.out) + size_t(tile.segment + row) * p.stride + column;
    store2<T>(out, silu(left) * up0, silu(right) * up1);
    return;
  }
  if (p.bias) {
    left += p.bias[column];
    if (column + 1 < p.columns) right += p.bias[column + 1];
  }
  if (FINISH == WEIGH) {
    uint32_t pair = p.perm[tile.segment + row];
    float weight = p.pair_weight[pair];
    store2<T>(static_cast<T*>(p.out) + size_t(pair) * p.stride + column, weight * left, weight * right);
    return;
  }
  size_t at = size_t(row) * p.stride + column;
  if (FINISH == SILU) store2<T>(static_cast<T*>(p.out) + at, silu(left), silu(right));
  if (FINISH == STORE_WIDE || FINISH == ADD) {
    float2* out = reinterpret_cast<float2*>(static_cast<float*>(p.out) + at);
    float2 before = FINISH == ADD ? *out : make_float2(0.f, 0.f);
    *out = make_float2(before.x + left, before.y + right);
  }
}

// Norms and rotates a head of some rows; four lanes hold a row, each two of
// eight neighbouring columns.
template <typename T, int MT, int NT>
__device__ __forceinline__ void finish_heads(const Product& p, const Heads& heads, int first, int part, int column,
                                             const float (&sums)[MT][NT][4]) {
  const int lane = threadIdx.x & 31, own = (lane & 3) * 2;
  T* out = static_cast<T*>(part == 0 ? heads.queries : part == 1 ? heads.keys : heads.values) + column;
  const bool is_by_lane = part == 0 || heads.by_lane;
  const float* weights = (part ? heads.key_weight : heads.query_weight) + own;
#pragma unroll
  for (int i = 0; i < MT; i++) {
#pragma unroll
    for (int upper = 0; upper < 2; upper++) {
      int row = first + i * 16 + upper * 8 + (lane >> 2);
      float squares = 0.f;
#pragma unroll
      for (int j = 0; j < NT; j++) {
        float a = sums[i][j][upper * 2], b = sums[i][j][upper * 2 + 1];
        squares = fmaf(b, b, fmaf(a, a, squares));
      }
      squares = warp_sum<4>(squares);
      if (row >= p.rows) continue;
      float factor = part < 2 ? rsqrtf(squares / 64.f + 1e-5f) : 1.f;
      const float* turns = heads.turns + (size_t(heads.time[row] + heads.now) * 16 + (lane & 3)) * 2;
      alignas(16) Two<T> pairs[NT];
#pragma unroll
      for (int j = 0; j < NT; j++) {
        float a = sums[i][j][upper * 2], b = sums[i][j][upper * 2 + 1];
        if (part < 2) {
          float2 w = *reinterpret_cast<const float2*>(weights + j * 8);
          a *= factor * w.x, b *= factor * w.y;
          if (j < 4) {
            float2 turn = *reinterpret_cast<const float2*>(turns + j * 8);
            float turned = fmaf(a, turn.x, -(b * turn.y));
            b = fmaf(b, turn.x, a * turn.y), a = turned;
          }
        }
        pairs[j] = {{narrow<T>(a), narrow<T>(b)}};
      }
      T* to = out + size_t(row) * heads.width;
      if (is_by_lane) {
        static_assert(NT == 8 && sizeof(pairs) == 32, "sixteen numbers of 16 bits");
        const uint4* from = reinterpret_cast<const uint4*>(pairs);
        uint4* wide = reinterpret_cast<uint4*>(to + by_lane(lane, 0));
        wide[0] = from[0], wide[1] = from[1];
      } else {
#pragma unroll
        for (int j = 0; j < NT; j++) *reinterpret_cast<Two<T>*>(to + j * 8 + own) = pairs[j];
      }
    }
  }
}

// Writes a warp's products, MT times 16 rows from `wm` on by NT times 8 columns
// from `n0` on.
template <typename T, int FINISH, bool GROUPED, int MT, int NT>
__device__ __forceinline__ void finish_tile(const Product& p, const Tile& tile, int wm, int n0,
                                            const float (&sums)[MT][NT][4]) {
  const int lane = threadIdx.x & 31;
#pragma unroll
  for (int i = 0; i < MT; i++) {
#pragma unroll
    for (int upper = 0; upper < 2; upper++) {
      int row = tile.first + wm + i * 16 + upper * 8 + (lane >> 2);
      if constexpr (FINISH == ADD) {
        // Loads before stores, or each would wait for the one before.
        float* out = static_cast<float*>(p.out) + size_t(row) * p.stride + n0 + (lane & 3) * 2;
        bool is_row = row < tile.rows;
#pragma unroll
        for (int first = 0; first < NT; first += 8 < NT ? 8 : NT) {
          constexpr int SOME = 8 < NT ? 8 : NT;
          float2 before[SOME];
#pragma unroll
          for (int j = 0; j < SOME; j++)
            if (is_row && n0 + (first + j) * 8 < p.columns) before[j] = *reinterpret_cast<const float2*>(out + (first + j) * 8);
#pragma unroll
          for (int j = 0; j < SOME; j++) {
            int column = n0 + (first + j) * 8 + (lane & 3) * 2;
            if (!is_row || column >= p.columns) continue;
            float left = sums[i][first + j][upper * 2], right = sums[i][first + j][upper * 2 + 1];
            if (p.bias) left += p.bias[column], right += p.bias[column + 1];
            *reinterpret_cast<float2*>(out + (first + j) * 8) = make_float2(before[j].x + left, before[j].y + right);
          }
        }
      }
#pragma unroll
      for (int j = 0; FINISH != ADD && j < NT; j += FINISH == GLU ? 2 : 1) {
        // Gates and values of a unit stand in turns of eight columns.
        int column = n0 + j * 8;
        column = (FINISH == GLU ? column / 2 : column) + (lane & 3) * 2;
        const float* left = &sums[i][j][upper * 2];
        const float* up = &sums[i][FINISH == GLU ? j + 1 : j][upper * 2];
        finish2<T, FINISH, GROUPED>(p, tile, row, column, left[0], left[1], up[0], up[1]);
      }
    }
  }
}

// ---- tensor cores, 16-bit operands, sums in f32 ----

// A stage holds rows of 32 numbers, 64 bytes in four pieces of 16; a piece's
// place is mixed with its row so that eight rows fall on all banks.
__device__ __forceinline__ uint32_t piece(int row, int index) { return row * 64 + ((index ^ ((row >> 1) & 3)) << 4); }

// Warps lie WARPS_M by WARPS_N over a tile of BM by 128; each takes MT by NT
// products of 16 by 8.
template <typename T, int FINISH, bool GROUPED, int BM, int WARPS_M, int WARPS_N, int STAGES>
__device__ __forceinline__ void product_tensor(const Product& p, const Heads& heads = {}) {
  constexpr int BN = 128, BK = 32, THREADS = 32 * WARPS_M * WARPS_N;
  constexpr int MT = BM / WARPS_M / 16, NT = BN / WARPS_N / 8;
  constexpr int A_COPIES = BM * 4 / THREADS, B_COPIES = BN * 4 / THREADS;
  constexpr int STAGE = (BM + BN) * 64;
  extern __shared__ __align__(1024) unsigned char memory[];
  Tile tile;
  if (!find_tile<BM, GROUPED>(p, tile)) return;
  const int n0 = blockIdx.x * BN, thread = threadIdx.x, lane = thread & 31, warp = thread >> 5;
  const int wm = (warp / WARPS_N) * (BM / WARPS_M), wn = (warp % WARPS_N) * (BN / WARPS_N);
  const T* a = static_cast<const T*>(p.a);
  const T* b = static_cast<const T*>(p.weights) + size_t(tile.expert) * p.padded * p.inner;
  const uint32_t base = shared_address(memory);

  const T* from_a[A_COPIES];
  bool is_row[A_COPIES];
  uint32_t to_a[A_COPIES];
#pragma unroll
  for (int i = 0; i < A_COPIES; i++) {
    int at = thread + i * THREADS, row = at >> 2, index = at & 3;
    is_row[i] = tile.first + row < tile.rows;
    size_t source = is_row[i] ? source_row<FINISH, GROUPED>(p, tile, tile.first + row) : 0;
    from_a[i] = a + source * p.inner + index * 8;
    to_a[i] = piece(row, index);
  }
  auto copy = [&](int stage, int k) {
    uint32_t at = base + stage * STAGE;
#pragma unroll
    for (int i = 0; i < A_COPIES; i++) copy16(at + to_a[i], from_a[i] + k, is_row[i]);
#pragma unroll
    for (int i = 0; i < B_COPIES; i++) {
      int place = thread + i * THREADS, row = place >> 2, index = place & 3;
      copy16(at + BM * 64 + piece(row, index), b + size_t(n0 + row) * p.inner + k + index * 8, true);
    }
  };

  if constexpr (FINISH == ADD) {
    // What the result is added to, on its way while the product is made: 128
    // columns of f32 are four lines.
    for (int at = thread; at < BM * 4; at += THREADS) {
      int row = tile.first + (at >> 2), column = n0 + (at & 3) * 32;
      const float* line = static_cast<const float*>(p.out) + size_t(row) * p.stride + column;
      if (row < tile.rows && column < p.columns) asm volatile("prefetch.global.L2 [%0];\n" ::"l"(line));
    }
  }
  float sums[MT][NT][4] = {};
  const int steps = p.inner / BK;
#pragma unroll
  for (int stage = 0; stage < STAGES - 1; stage++) {
    if (stage < steps) copy(stage, stage * BK);
    copies_end();
  }
  for (int step = 0; step < steps; step++) {
    copies_wait<STAGES - 2>();
    __syncthreads();
    int next = step + STAGES - 1;
    if (next < steps) copy(next % STAGES, next * BK);
    copies_end();
    uint32_t at = base + (step % STAGES) * STAGE, at_b = at + BM * 64;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      uint32_t fa[MT][4], fb[NT][2];
#pragma unroll
      for (int i = 0; i < MT; i++) {
        int row = wm + i * 16 + (lane & 15);
        load_matrices(fa[i], at + piece(row, half * 2 + (lane >> 4)));
      }
#pragma unroll
      for (int j = 0; j < NT; j += 2) {
        uint32_t four[4];
        int row = wn + j * 8 + (lane & 7) + ((lane >> 4) << 3);
        load_matrices(four, at_b + piece(row, half * 2 + ((lane >> 3) & 1)));
        fb[j][0] = four[0], fb[j][1] = four[1], fb[j + 1][0] = four[2], fb[j + 1][1] = four[3];
      }
#pragma unroll
      for (int i = 0; i < MT; i++)
#pragma unroll
        for (int j = 0; j < NT; j++) Mma<T>::run(sums[i][j], fa[i], fb[j]);
    }
  }
  if constexpr (FINISH == ROTATE) {
    static_assert(NT == 8, "a warp takes whole heads");
    int part = (n0 + wn) / heads.width, column = (n0 + wn) % heads.width;
    if (part < 3) finish_heads<T, MT, NT>(p, heads, tile.first + wm, part, column, sums);
  } else {
    finish_tile<T, FINISH, GROUPED, MT, NT>(p, tile, wm, n0 + wn, sums);
  }
}
// ---- Hopper: products by warpgroups (compute capability 9.0 alone) ----
//
// A warpgroup of four warps multiplies 64 rows by 128 columns, both operands in
// shared memory; two of them share a tile of 128 by 128. A stage holds rows of
// 64 numbers, 128 bytes, in the layout that the hardware calls 128-byte
// swizzle: a piece of 16 bytes stands at its index mixed with its row.

template <typename T> struct Group;
#define GROUP(T, NAME)                                                                                                                               \
  template <> struct Group<T> {                                                                                                                      \
    static __device__ __forceinline__ void run(float (&d)[16][4], uint64_t a, uint64_t b) {                                                          \
      asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32." NAME "." NAME " {"                                                                 \
                   "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"                                                                          \
                   "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"                                                                \
                   "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"                                                                \
                   "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"                                                                 \
                   "}, %64, %65, 1, 1, 1, 0, 0;\n"                                                                                                   \
                   : "+f"(d[0][0]), "+f"(d[0][1]), "+f"(d[0][2]), "+f"(d[0][3]), "+f"(d[1][0]), "+f"(d[1][1]), "+f"(d[1][2]), "+f"(d[1][3]),         \
                     "+f"(d[2][0]), "+f"(d[2][1]), "+f"(d[2][2]), "+f"(d[2][3]), "+f"(d[3][0]), "+f"(d[3][1]), "+f"(d[3][2]), "+f"(d[3][3]),         \
                     "+f"(d[4][0]), "+f"(d[4][1]), "+f"(d[4][2]), "+f"(d[4][3]), "+f"(d[5][0]), "+f"(d[5][1]), "+f"(d[5][2]), "+f"(d[5][3]),         \
                     "+f"(d[6][0]), "+f"(d[6][1]), "+f"(d[6][2]), "+f"(d[6][3]), "+f"(d[7][0]), "+f"(d[7][1]), "+f"(d[7][2]), "+f"(d[7][3]),         \
                     "+f"(d[8][0]), "+f"(d[8][1]), "+f"(d[8][2]), "+f"(d[8][3]), "+f"(d[9][0]), "+f"(d[9][1]), "+f"(d[9][2]), "+f"(d[9][3]),         \
                     "+f"(d[10][0]), "+f"(d[10][1]), "+f"(d[10][2]), "+f"(d[10][3]), "+f"(d[11][0]), "+f"(d[11][1]), "+f"(d[11][2]), "+f"(d[11][3]), \
                     "+f"(d[12][0]), "+f"(d[12][1]), "+f"(d[12][2]), "+f"(d[12][3]), "+f"(d[13][0]), "+f"(d[13][1]), "+f"(d[13][2]), "+f"(d[13][3]), \
                     "+f"(d[14][0]), "+f"(d[14][1]), "+f"(d[14][2]), "+f"(d[14][3]), "+f"(d[15][0]), "+f"(d[15][1]), "+f"(d[15][2]), "+f"(d[15][3])  \
                   : "l"(a), "l"(b));                                                                                                                \
    }                                                                                                                                                \
  };
GROUP(bf16, "bf16")
GROUP(f16, "f16")

// Describes a matrix of such rows to the hardware: eight rows are 1,024 bytes.
__device__ __forceinline__ uint64_t describe(uint32_t address) {
  return uint64_t((address & 0x3FFFF) >> 4) | uint64_t(1) << 16 | uint64_t(1024 >> 4) << 32 | uint64_t(1) << 62;
}

template <typename T, int FINISH, bool GROUPED>
__device__ __forceinline__ void product_group(const Product& p, const Heads& heads = {}) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  constexpr int BM = 128, BN = 128, BK = 64, STAGES = 3, THREADS = 256;
  constexpr int COPIES = BM * 8 / THREADS, STAGE = (BM + BN) * 128;
  extern __shared__ __align__(1024) unsigned char memory[];
  Tile tile;
  if (!find_tile<BM, GROUPED>(p, tile)) return;
  const int n0 = blockIdx.x * BN, thread = threadIdx.x, group = thread >> 7;
  const T* b = static_cast<const T*>(p.weights) + (size_t(tile.expert) * p.padded + n0) * p.inner;
  const uint32_t base = shared_address(memory);
  const T *from_a[COPIES], *from_b[COPIES];
  bool is_row[COPIES];
  uint32_t to[COPIES];
#pragma unroll
  for (int i = 0; i < COPIES; i++) {
    int at = thread + i * THREADS, row = at >> 3, index = at & 7;
    is_row[i] = tile.first + row < tile.rows;
    size_t source = is_row[i] ? source_row<FINISH, GROUPED>(p, tile, tile.first + row) : 0;
    from_a[i] = static_cast<const T*>(p.a) + source * p.inner + index * 8;
    from_b[i] = b + size_t(row) * p.inner + index * 8;
    to[i] = row * 128 + ((index ^ (row & 7)) << 4);
  }
  auto copy = [&](int stage, int k) {
    uint32_t at = base + stage * STAGE;
#pragma unroll
    for (int i = 0; i < COPIES; i++) {
      copy16(at + to[i], from_a[i] + k, is_row[i]);
      copy16(at + BM * 128 + to[i], from_b[i] + k, true);
    }
  };
  float sums[1][16][4] = {};
  const int steps = p.inner / BK;
#pragma unroll
  for (int stage = 0; stage < STAGES - 1; stage++) {
    if (stage < steps) copy(stage, stage * BK);
    copies_end();
  }
  for (int step = 0; step < steps; step++) {
    copies_wait<STAGES - 2>();
    // What ordinary stores wrote, the tensor cores read by another way.
    asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory");
    __syncthreads();
    // Both groups are done with the step before: its stage is free. Keeping one
    // product under way instead, with copies a step ahead, was 4 % slower.
    int next = step + STAGES - 1;
    if (next < steps) copy(next % STAGES, next * BK);
    copies_end();
    uint32_t at = base + (step % STAGES) * STAGE;
    asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory");
#pragma unroll
    for (int k = 0; k < BK / 16; k++)
      Group<T>::run(sums[0], describe(at + group * 64 * 128 + k * 32), describe(at + BM * 128 + k * 32));
    asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory");
    asm volatile("wgmma.wait_group.sync.aligned 0;\n" ::: "memory");
  }
  const int wm = group * 64 + ((thread >> 5) & 3) * 16;
  if constexpr (FINISH == ROTATE) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      int column = n0 + half * 64, part = column / heads.width;
      if (part >= 3) break;
      float head[1][8][4];
#pragma unroll
      for (int j = 0; j < 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) head[0][j][i] = sums[0][half * 8 + j][i];
      finish_heads<T, 1, 8>(p, heads, tile.first + wm, part, column % heads.width, head);
    }
  } else {
    finish_tile<T, FINISH, GROUPED, 1, 16>(p, tile, wm, n0, sums);
  }
#endif
}

// ---- f32, without tensor cores: 64 by 64, each thread 4 rows by 4 columns ----

template <int FINISH, bool GROUPED, typename OUT> __device__ __forceinline__ void product_f32(const Product& p) {
  constexpr int BM = 64, BN = 64, BK = 16;
  __shared__ float as[BK][BM + 4], bs[BK][BN + 4];
  Tile tile;
  if (!find_tile<BM, GROUPED>(p, tile)) return;
  const int n0 = blockIdx.x * BN, thread = threadIdx.x, tx = thread & 15, ty = thread >> 4;
  const int row = thread >> 2, k0 = (thread & 3) * 4;
  const bool is_row = tile.first + row < tile.rows;
  const float* a = static_cast<const float*>(p.a) + k0;
  if (is_row) a += source_row<FINISH, GROUPED>(p, tile, tile.first + row) * p.inner;
  const float* b = static_cast<const float*>(p.weights) + (size_t(tile.expert) * p.padded + n0 + row) * p.inner + k0;
  // Columns of a thread: two neighbours, and the two eight further on.
  const int column = (tx >> 2) * 16 + (tx & 3) * 2;
  float sums[4][4] = {};
  for (int k = 0; k < p.inner; k += BK) {
    float4 na = is_row ? *reinterpret_cast<const float4*>(a + k) : make_float4(0.f, 0.f, 0.f, 0.f);
    float4 nb = *reinterpret_cast<const float4*>(b + k);
    __syncthreads();
    as[k0][row] = na.x, as[k0 + 1][row] = na.y, as[k0 + 2][row] = na.z, as[k0 + 3][row] = na.w;
    bs[k0][row] = nb.x, bs[k0 + 1][row] = nb.y, bs[k0 + 2][row] = nb.z, bs[k0 + 3][row] = nb.w;
    __syncthreads();
#pragma unroll
    for (int kk = 0; kk < BK; kk++) {
      float4 four = *reinterpret_cast<const float4*>(&as[kk][ty * 4]);
      float2 low = *reinterpret_cast<const float2*>(&bs[kk][column]);
      float2 high = *reinterpret_cast<const float2*>(&bs[kk][column + 8]);
      float fa[4] = {four.x, four.y, four.z, four.w}, fb[4] = {low.x, low.y, high.x, high.y};
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) sums[i][j] = fmaf(fa[i], fb[j], sums[i][j]);
    }
  }
#pragma unroll
  for (int i = 0; i < 4; i++) {
    int at = tile.first + ty * 4 + i;
    const float* s = sums[i];
    if (FINISH == GLU) {
      finish2<OUT, GLU, GROUPED>(p, tile, at, n0 / 2 + (tx >> 2) * 8 + (tx & 3) * 2, s[0], s[1], s[2], s[3]);
    } else {
      finish2<OUT, FINISH, GROUPED>(p, tile, at, n0 + column, s[0], s[1], 0.f, 0.f);
      finish2<OUT, FINISH, GROUPED>(p, tile, at, n0 + column + 8, s[2], s[3], 0.f, 0.f);
    }
  }
}

// Names: what is done at the end, the operands, the rows of a tile.
#define TENSOR(NAME, T, FINISH, GROUPED)                                                  \
  KERNEL __launch_bounds__(256) NAME##_128(const Product p) {                             \
    product_tensor<T, FINISH, GROUPED, 128, 2, 4, 4>(p);                                  \
  }                                                                                       \
  KERNEL __launch_bounds__(128) NAME##_32(const Product p) {                              \
    product_tensor<T, FINISH, GROUPED, 32, 1, 4, 4>(p);                                   \
  }                                                                                       \
  KERNEL __launch_bounds__(256, 2) NAME##_group(const Product p) {                        \
    product_group<T, FINISH, GROUPED>(p);                                                 \
  }
#define NARROW(SUFFIX, T)                            \
  KERNEL __launch_bounds__(256) project_##SUFFIX##_128(const Projection p) { \
    product_tensor<T, ROTATE, false, 128, 4, 2, 4>(p.product, p.heads); \
  }                                                  \
  KERNEL __launch_bounds__(128) project_##SUFFIX##_32(const Projection p) { \
    product_tensor<T, ROTATE, false, 32, 2, 2, 4>(p.product, p.heads); \
  }                                                  \
  KERNEL __launch_bounds__(256, 2) project_##SUFFIX##_group(const Projection p) { \
    product_group<T, ROTATE, false>(p.product, p.heads); \
  }                                                  \
  TENSOR(linear_add_##SUFFIX, T, ADD, false)         \
  TENSOR(experts_glu_##SUFFIX, T, GLU, true)         \
  TENSOR(experts_down_##SUFFIX, T, WEIGH, true)
NARROW(bf16, bf16)
NARROW(f16, f16)

#define PLAIN(NAME, OUT, FINISH, GROUPED) \
  KERNEL __launch_bounds__(256) NAME(const Product p) { product_f32<FINISH, GROUPED, OUT>(p); }
PLAIN(linear_wide_f32, float, STORE_WIDE, false)
PLAIN(linear_add_f32, float, ADD, false)
PLAIN(linear_silu_f32, float, SILU, false)
PLAIN(linear_silu_f32_bf16, bf16, SILU, false)
PLAIN(linear_silu_f32_f16, f16, SILU, false)
PLAIN(experts_glu_f32, float, GLU, true)
PLAIN(experts_down_f32, float, WEIGH, true)

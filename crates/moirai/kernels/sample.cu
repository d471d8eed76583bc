// Drawing from the head's distribution, feeding back, and quantiles.
//
// Random numbers are Philox4x32-10 (Salmon et al. 2011, "Parallel random
// numbers: as easy as 1, 2, 3"): the key is the task's seed, the counter is
// path, step and variate, position, and the number of the draw. So what a path
// draws depends on its task alone.
#include "common.cuh"

struct Philox {
  uint32_t key0, key1, path, place, position, index = 0, left = 0, words[4];

  __device__ uint32_t next() {
    if (left == 0) {
      uint32_t c0 = path, c1 = place, c2 = position, c3 = index++, k0 = key0, k1 = key1;
#pragma unroll
      for (int round = 0; round < 10; round++) {
        uint32_t h0 = __umulhi(0xD2511F53u, c0), l0 = 0xD2511F53u * c0;
        uint32_t h1 = __umulhi(0xCD9E8D57u, c2), l1 = 0xCD9E8D57u * c2;
        c0 = h1 ^ c1 ^ k0, c1 = l1, c2 = h0 ^ c3 ^ k1, c3 = l0;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
      }
      words[0] = c0, words[1] = c1, words[2] = c2, words[3] = c3;
      left = 4;
    }
    // Without a running index, which would move the words to local memory.
    left--;
    uint32_t word = words[0];
    words[0] = words[1], words[1] = words[2], words[2] = words[3];
    return word;
  }
  // In (0, 1).
  __device__ float uniform() { return (next() >> 8) * 0x1p-24f + 0x1p-25f; }
  __device__ double uniform_double() {
    uint64_t high = next() >> 5, low = next() >> 6;
    return (high * 67108864.0 + low + 0.5) * 0x1p-53;
  }
  __device__ float normal() {
    // (0, 1] in steps of 2^-32: the tails reach 6.7.
    float radius = sqrtf(-2.f * logf((next() + 1.f) * 0x1p-32f));
    return radius * cospif(2.f * uniform());
  }
  __device__ float exponential() { return -logf(uniform()); }

  // Gamma variable of this shape and scale 1 (Marsaglia and Tsang 2000).
  __device__ float gamma(float shape) {
    float boost = 1.f;
    if (shape < 1.f) boost = expf(logf(uniform()) / shape), shape += 1.f;
    float d = shape - 1.f / 3.f, c = rsqrtf(9.f * d);
    for (int attempt = 0; attempt < 256; attempt++) {
      float x = normal(), v = 1.f + c * x;
      if (v <= 0.f) continue;
      v = v * v * v;
      if (logf(uniform()) < 0.5f * x * x + d * (1.f - v + logf(v))) return boost * d * v;
    }
    return boost * d;
  }

  // Poisson variable: products of uniform numbers below 10, else transformed
  // rejection (Hörmann 1993, PTRS).
  __device__ double poisson(double rate) {
    if (rate < 10.0) {
      double limit = exp(-rate), product = uniform_double();
      int count = 0;
      while (product > limit && count < 256) product *= uniform_double(), count++;
      return count;
    }
    double log_rate = log(rate), b = 0.931 + 2.53 * sqrt(rate), a = -0.059 + 0.02483 * b;
    double inverse_alpha = 1.1239 + 1.1328 / (b - 3.4), v_r = 0.9277 - 3.6224 / (b - 2.0);
    for (int attempt = 0; attempt < 256; attempt++) {
      double u = uniform_double() - 0.5, v = uniform_double(), us = 0.5 - fabs(u);
      double k = floor((2.0 * a / us + b) * u + rate + 0.43);
      if (us >= 0.07 && v <= v_r) return k;
      if (k < 0.0 || (us < 0.013 && v > us)) continue;
      if (log(v) + log(inverse_alpha) - log(a / (us * us) + b) <= -rate + k * log_rate - lgamma(k + 1.0)) return k;
    }
    return floor(rate);
  }
};

enum Kind { STUDENT_T, NORMAL, NORMAL_FIXED, NEGATIVE_BINOMIAL, LOG_NORMAL, LAPLACE, LAPLACE_FIXED, PARETO, PARETO_FIXED };
#define MOST_COMPONENTS 16
#define MOST_POINTS 32

struct Output {
  int components;
  int is_mixture;
  int kind[MOST_COMPONENTS];
  int first[MOST_COMPONENTS];    // where the parameters of a component begin
  float fixed[MOST_COMPONENTS];  // the parameter that is fixed
};
LAYOUT(Output, AT(components), AT(is_mixture), AT(kind), AT(first), AT(fixed))

struct Series {
  uint32_t seed_low, seed_high;
  uint32_t first_row;     // of its tokens in one step: path by path
  uint32_t tokens;        // of a path in one step: the variates, then covariates known ahead
  uint32_t variates;
  uint32_t paths;
  uint32_t first_head;    // of its head rows in one step, path by path
  uint32_t context_head;  // of the context's head rows, one for each variate
  uint32_t first_column;  // of its variates and covariates
  uint32_t covariates;    // where its scaled future covariates begin, [covariates, patches, padded]
  uint32_t patches;
  uint32_t horizon;
  uint32_t first_result;  // of its results, [variates, horizon]
  uint32_t unused;
  unsigned long long first_value;  // of its sample paths, [paths, variates, patches * patch size]
};
LAYOUT(Series, AT(seed_low), AT(seed_high), AT(first_row), AT(tokens), AT(variates), AT(paths), AT(first_head),
       AT(context_head), AT(first_column), AT(covariates), AT(patches), AT(horizon), AT(first_result), AT(unused),
       AT(first_value))
LAYOUT(uint2, AT(x), AT(y))

// The values that a variate can have, and how they are standardised.
struct Held {
  double location, scale;
  double least, largest;  // infinite: no bound
  int is_whole;
  int is_held;            // 0: it can have any
};
LAYOUT(Held, AT(location), AT(scale), AT(least), AT(largest), AT(is_whole), AT(is_held))

struct Draw {
  const float* head;         // [head rows, stride]
  const Series* series;
  const uint32_t* series_of; // [rows]
  const Held* held;          // by variate and covariate
  const float* covariates;
  float* values;             // sample paths
  float* input;              // [rows, padded]: the next step's tokens, or null
  float* points;             // of the paths' distributions, [values, points of a step], or null
  int rows, step, stride, patch_size, patch_width, padded;
  int is_drawn;              // 0: values are there already
  int points_of_step;        // points of a path at each step; 0: its value is all that is drawn
  Output output;
};
LAYOUT(Draw, AT(head), AT(series), AT(series_of), AT(held), AT(covariates), AT(values), AT(input), AT(points), AT(rows),
       AT(step), AT(stride), AT(patch_size), AT(patch_width), AT(padded), AT(is_drawn), AT(points_of_step), AT(output))

__device__ __forceinline__ float softplus(float x) { return x > 20.f ? x : log1pf(expf(x)); }

// A draw from one component. `uniform`, if it lies in (0, 1), says as much of it as it cheaply
// can (all of a normal and what is made of one, the numerator of Student's t, nothing of
// counts), and `random` the rest; below 0 it says nothing.
__device__ float component(const Output& o, int chosen, const float* row, int width, float uniform, Philox& random) {
  const float* raw = row + o.first[chosen] * width;
  float a = raw[0], fixed = o.fixed[chosen], smallest = 1.1920929e-7f;
  bool is_said = uniform >= 0.f;
  switch (o.kind[chosen]) {
    case STUDENT_T: {
      float df = 2.f + softplus(a), scale = fmaxf(softplus(raw[2 * width]), smallest);
      if (isnan(df)) return NAN;
      float z = is_said ? normcdfinvf(uniform) : random.normal(), chi = 2.f * random.gamma(0.5f * df);
      return raw[width] + scale * z / sqrtf(chi / df);
    }
    case NORMAL:
    case NORMAL_FIXED: {
      float scale = o.kind[chosen] == NORMAL ? fmaxf(softplus(raw[width]), smallest) : fixed;
      return a + scale * (is_said ? normcdfinvf(uniform) : random.normal());
    }
    case LOG_NORMAL:
      return expf(a + fmaxf(softplus(raw[width]), smallest) * (is_said ? normcdfinvf(uniform) : random.normal()));
    case LAPLACE:
    case LAPLACE_FIXED: {
      float scale = o.kind[chosen] == LAPLACE ? fmaxf(softplus(raw[width]), smallest) : fixed;
      if (is_said) return uniform < 0.5f ? a + scale * logf(2.f * uniform) : a - scale * logf(2.f * (1.f - uniform));
      float size = scale * random.exponential();
      return a + (random.next() & 1 ? size : -size);
    }
    case PARETO:
    case PARETO_FIXED: {
      float alpha = o.kind[chosen] == PARETO ? 2.f + fmaxf(softplus(raw[width]), smallest) : fixed;
      float size = is_said ? -log1pf(-uniform) : random.exponential();
      return fmaxf(softplus(a), smallest) * expf(size / alpha);
    }
    default: {
      float shape = softplus(a), logits = raw[width];
      if (isnan(shape) || isnan(logits)) return NAN;
      if (shape <= 0.f) return 0.f;
      double rate = double(random.gamma(shape)) * exp(double(logits));
      // From here on its relative spread is below the resolution of f32.
      if (rate >= 1e15) return float(rate);
      return rate > 0.0 ? float(random.poisson(rate)) : 0.f;
    }
  }
}

// The largest logit of a mixture, and the sum of its weights in units of that one's.
__device__ float2 weights(const Output& o, const float* row, int width) {
  float largest = -INFINITY, total = 0.f;
  for (int c = 0; c < o.components; c++) largest = fmaxf(largest, row[c * width]);
  for (int c = 0; c < o.components; c++) total += expf(row[c * width] - largest);
  return make_float2(largest, total);
}

__device__ float sample(const Output& o, const float* row, int width, Philox& random) {
  int chosen = 0;
  if (o.is_mixture) {
    float2 all = weights(o, row, width);
    if (isnan(all.y)) return NAN;
    float left = random.uniform() * all.y;
    for (chosen = 0; chosen < o.components - 1; chosen++) {
      left -= expf(row[chosen * width] - all.x);
      if (left < 0.f) break;
    }
  }
  return component(o, chosen, row, width, -1.f, random);
}

// The shuffles of `strata.rs`, number for number: SplitMix64's finaliser, and the place of
// an index in a permutation of so many.
__device__ __forceinline__ uint64_t mixed(uint64_t number) {
  number += 0x9E3779B97F4A7C15ull;
  number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9ull;
  number = (number ^ (number >> 27)) * 0x94D049BB133111EBull;
  return number ^ (number >> 31);
}

__device__ uint32_t permuted(uint32_t index, uint32_t count, uint64_t key) {
  if (count <= 1) return 0;
  int bits = 32 - __clz(count - 1);
  uint32_t mask = 0xFFFFFFFFu >> (32 - bits), place = index;
  do {
    uint64_t round_key = key;
#pragma unroll
    for (int round = 0; round < 4; round++) {
      round_key = mixed(round_key);
      place = (place + uint32_t(round_key)) * (uint32_t(round_key >> 32) | 1u) & mask;
      place ^= place >> ((bits + 1) / 2);
    }
  } while (place >= count);
  return place;
}

// Draws the point at `uniform` of a distribution, as `Prepared` of `distribution.rs` does.
__device__ float draw_at(const Output& o, const float* row, int width, float2 all, float uniform, Philox& random) {
  if (isnan(all.y)) return NAN;
  int chosen = 0;
  if (o.is_mixture) {
    float up_to = 0.f, weight;
    for (;; chosen++) {
      weight = expf(row[chosen * width] - all.x) / all.y;
      if (chosen == o.components - 1 || uniform < up_to + weight) break;
      up_to += weight;
    }
    uniform = (uniform - up_to) / weight;
  }
  return component(o, chosen, row, width, fminf(fmaxf(uniform, 1e-7f), 1.f - 6e-8f), random);
}

// Draws the points of a path at one position, one in each of its parts of (0, 1), writes
// them in order of size, and returns the one that goes on.
__device__ float stratified(const Draw& p, const Series& s, uint32_t path, uint32_t token, int position,
                            const float* row, Philox& random, float* points) {
  const Output& o = p.output;
  const uint64_t seed = uint64_t(s.seed_high) << 32 | s.seed_low;
  const uint64_t place = uint64_t(token) << 34 | uint64_t(p.step * p.patch_size + position) << 2;
  const uint32_t part = permuted(path, s.paths, mixed(seed ^ mixed(place | 1)));
  const float2 all = o.is_mixture ? weights(o, row, p.patch_width) : make_float2(0.f, 1.f);
  const float share = 1.f / (float(s.paths) * p.points_of_step);
  float sorted[MOST_POINTS];
  for (int k = 0; k < p.points_of_step; k++) {
    float uniform = (float(k * s.paths + part) + random.uniform()) * share;
    float z = draw_at(o, row, p.patch_width, all, uniform, random);
    if (isinf(z)) z = copysignf(3.402823466e38f, z);
    int at = k;
    for (; at > 0 && sorted[at - 1] > z; at--) sorted[at] = sorted[at - 1];
    sorted[at] = z;
  }
  for (int k = 0; k < p.points_of_step; k++) points[k] = sorted[k];
  const double within = double(mixed(mixed(seed ^ mixed(place | 3)) ^ path) >> 11) * 0x1p-53;
  const uint32_t next = permuted(path, s.paths, mixed(seed ^ mixed(place | 2)));
  const int chosen = int((double(next) + within) / s.paths * p.points_of_step);
  return sorted[min(chosen, p.points_of_step - 1)];
}

// Brings a standardised value to the nearest that the variate can have: `Domain::nearest`
// between `undo` and `apply` of `Scaling`.
__device__ float nearest(const Held& h, float z) {
  if (!h.is_held || isnan(z)) return z;
  const double most = 1.7976931348623157e308, farthest = 1e12;
  double value = fmin(fmax(__dadd_rn(h.location, __dmul_rn(h.scale, double(z))), -most), most);
  if (h.is_whole) value = round(value);
  value = value < h.least ? h.least : value > h.largest ? h.largest : value;
  return float(fmin(fmax((value - h.location) / h.scale, -farthest), farthest));
}

// Draws a patch of each path and variate and writes the tokens of the next
// step: what was drawn and the covariates known ahead, scaled. At step 0 all
// paths draw from the context's head rows. A thread takes one position.
KERNEL __launch_bounds__(128) draw(const Draw p) {
  size_t item = size_t(blockIdx.x) * blockDim.x + threadIdx.x;
  int row = item / p.padded, position = item % p.padded;
  if (row >= p.rows) return;
  const Series& s = p.series[p.series_of[row]];
  uint32_t within = row - s.first_row, path = within / s.tokens, token = within % s.tokens;
  float scaled = 0.f;
  if (token < s.variates) {
    if (position < p.patch_size) {
      size_t at = s.first_value + (size_t(path) * s.variates + token) * s.patches * p.patch_size + size_t(p.step) * p.patch_size + position;
      if (p.is_drawn) {
        size_t from = p.step ? s.first_head + size_t(path) * s.variates + token : s.context_head + token;
        Philox random;
        random.key0 = s.seed_low, random.key1 = s.seed_high;
        random.path = path, random.place = uint32_t(p.step) << 16 | token, random.position = position;
        const float* head = p.head + from * p.stride + position;
        float z = p.points_of_step
                      ? stratified(p, s, path, token, position, head, random, p.points + at * p.points_of_step)
                      : sample(p.output, head, p.patch_width, random);
        // A draw beyond the range of f32 becomes the largest finite number; NaN stays.
        if (isinf(z)) z = copysignf(3.402823466e38f, z);
        scaled = p.values[at] = nearest(p.held[s.first_column + token], z);
      } else {
        scaled = p.values[at];
      }
    }
  } else {
    scaled = p.covariates[s.covariates + (size_t(token - s.variates) * s.patches + p.step) * p.padded + position];
  }
  if (p.input) p.input[size_t(row) * p.padded + position] = scaled;
}

// The patches of a variate's context that are looked back at.
struct Looked {
  uint32_t seed_low, seed_high;
  uint32_t variate;
  uint32_t first_head;   // of the head's rows before the patches
  uint32_t first_patch;  // among what happened
  uint32_t patches;
};
LAYOUT(Looked, AT(seed_low), AT(seed_high), AT(variate), AT(first_head), AT(first_patch), AT(patches))

struct Hindsight {
  const float* head;      // [head rows, stride]
  const float* happened;  // [patches, patch size]; NaN where nothing was observed
  const Looked* looked;   // [variates]
  float* together;        // [variates, 6]
  int stride, patch_size, patch_width;
  int points;             // among which what happened is placed
  Output output;
};
LAYOUT(Hindsight, AT(head), AT(happened), AT(looked), AT(together), AT(stride), AT(patch_size), AT(patch_width),
       AT(points), AT(output))

// Places what happened in patches of a context in what the model had said of them, and sums
// up how steps hang together: `Hindsight` and `Together` of `coupling.rs`. A block takes a
// variate.
KERNEL __launch_bounds__(128) look_back(const Hindsight p) {
  extern __shared__ float places[];
  __shared__ float sums[4][6];
  const Looked l = p.looked[blockIdx.x];
  const int count = l.patches * p.patch_size;
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    const int patch = i / p.patch_size, position = i % p.patch_size;
    const float happened = p.happened[size_t(l.first_patch) * p.patch_size + i];
    float place = NAN;
    if (!isnan(happened)) {
      Philox random;
      random.key0 = l.seed_low, random.key1 = l.seed_high;
      random.path = ~0u, random.place = uint32_t(patch) << 16 | l.variate, random.position = position;
      const float* row = p.head + size_t(l.first_head + patch) * p.stride + position;
      const float2 all = p.output.is_mixture ? weights(p.output, row, p.patch_width) : make_float2(0.f, 1.f);
      float below = 0.f;
      for (int k = 0; k < p.points; k++) {
        const float drawn = draw_at(p.output, row, p.patch_width, all, (k + random.uniform()) / p.points, random);
        below += isnan(drawn) ? NAN : drawn < happened ? 1.f : drawn == happened ? 0.5f : 0.f;
      }
      place = normcdfinvf((below + 0.5f) / (p.points + 1));
    }
    places[i] = place;
  }
  __syncthreads();
  float own[6] = {};
  for (int patch = threadIdx.x; patch < l.patches; patch += blockDim.x) {
    float found = 0.f, sum = 0.f, squares = 0.f, before = NAN;
    for (int position = 0; position < p.patch_size; position++) {
      const float place = places[patch * p.patch_size + position];
      if (!isnan(place)) found += 1.f, sum += place, squares += place * place;
      if (!isnan(place) && !isnan(before)) own[2] += 1.f, own[3] += before * place;
      before = place;
    }
    own[0] += found, own[1] += squares;
    own[4] += 0.5f * found * (found - 1.f), own[5] += 0.5f * (sum * sum - squares);
  }
#pragma unroll
  for (int k = 0; k < 6; k++) {
    float sum = own[k];
#pragma unroll
    for (int offset = 16; offset; offset >>= 1) sum += __shfl_xor_sync(~0u, sum, offset);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32][k] = sum;
  }
  __syncthreads();
  if (threadIdx.x < 6) {
    float sum = 0.f;
    for (int warp = 0; warp < 4; warp++) sum += sums[warp][threadIdx.x];
    p.together[blockIdx.x * 6 + threadIdx.x] = sum;
  }
}

struct Quantiles {
  const float* values;
  const float* points;  // [values, points of a step]: what is summed up if there are any
  const Series* series;
  const uint2* items;   // [results]: series, variate and step within the series
  const double* levels;
  double* means;        // [results]
  float* quantiles;     // [results, levels]
  uint32_t* counts;     // [results]: paths, or their points, that are no NaN
  int levels_count, patch_size, size;  // size: a power of two, at least the paths, or their points
  int points_of_step;   // of a path; 0: its value counts
};
LAYOUT(Quantiles, AT(values), AT(points), AT(series), AT(items), AT(levels), AT(means), AT(quantiles), AT(counts),
       AT(levels_count), AT(patch_size), AT(size), AT(points_of_step))

// Mean and quantiles over the paths of one variate and step; paths that broke
// (NaN) are left out. Quantile q of n values is number round((n - 1) q) in order,
// halves to the even one.
KERNEL quantiles(const Quantiles p) {
  extern __shared__ float sorted[];
  const uint2 item = p.items[blockIdx.x];
  const Series& s = p.series[item.x];
  const uint32_t variate = item.y / s.horizon, step = item.y % s.horizon;
  const size_t length = size_t(s.patches) * p.patch_size;
  __shared__ uint32_t found;
  if (threadIdx.x == 0) found = 0;
  __syncthreads();
  uint32_t own = 0;
  for (int i = threadIdx.x; i < p.size; i += blockDim.x) {
    const int path = p.points_of_step ? i / p.points_of_step : i;
    float value = NAN;
    if (path < s.paths) {
      const size_t at = s.first_value + (size_t(path) * s.variates + variate) * length + step;
      value = p.points_of_step ? p.points[at * p.points_of_step + i % p.points_of_step] : p.values[at];
    }
    own += !isnan(value);
    sorted[i] = isnan(value) ? INFINITY : value;
  }
  if (own) atomicAdd(&found, own);
  for (int size = 2; size <= p.size; size *= 2) {
    for (int stride = size / 2; stride; stride /= 2) {
      __syncthreads();
      for (int i = threadIdx.x; i < p.size / 2; i += blockDim.x) {
        int low = 2 * i - (i & (stride - 1)), high = low + stride;
        float a = sorted[low], b = sorted[high];
        if ((a > b) == ((low & size) == 0)) sorted[low] = b, sorted[high] = a;
      }
    }
  }
  __syncthreads();
  uint32_t count = found;
  for (int i = threadIdx.x; i < p.levels_count; i += blockDim.x) {
    uint32_t at = count ? uint32_t(rint(double(count - 1) * p.levels[i])) : 0;
    p.quantiles[size_t(blockIdx.x) * p.levels_count + i] = sorted[at];
  }
  if (threadIdx.x < 32) {
    double sum = 0.0;
    for (int i = threadIdx.x; i < count; i += 32) sum += sorted[i];
#pragma unroll
    for (int offset = 16; offset; offset >>= 1) sum += __shfl_xor_sync(~0u, sum, offset);
    if (threadIdx.x == 0) p.means[blockIdx.x] = count ? sum / count : NAN, p.counts[blockIdx.x] = count;
  }
}

// Layers of a network on a GPU, each with all that follows it, for many images at once. Values are
// [channels][places][images]: places are row by row. Images are innermost, so that all reads are contiguous for any kernel.

constexpr int THREADS = 256, WARPS = THREADS / 32;

// To the nearest number of 10 bits, which tensor cores use (they truncate the others). Non-finite values are unchanged.
__device__ __forceinline__ float round_tf32(float value) {
    const unsigned bits = __float_as_uint(value);
    const bool is_finite = (bits & 0x7f800000u) != 0x7f800000u;
    return is_finite ? __uint_as_float((bits + 0x1000u) & 0xffffe000u) : value;
}

// Writes the sums of four neighbouring images, with the operations that follow.
template <bool TF32>
__device__ __forceinline__ void store(float* __restrict__ out, float4 sums, float bias, const float* __restrict__ addend,
                                      int rectifies) {
    const float4 more = addend ? *reinterpret_cast<const float4*>(addend) : make_float4(0, 0, 0, 0);
    const auto finished = [=](float sum, float more) {
        sum += bias;
        if (addend) sum += more;
        if (rectifies && sum < 0) sum = 0;  // nan stays
        return TF32 ? round_tf32(sum) : sum;
    };
    *reinterpret_cast<float4*>(out) =
        make_float4(finished(sums.x, more.x), finished(sums.y, more.y), finished(sums.z, more.z), finished(sums.w, more.w));
}

// A layer: out[o][q][n] = relu(bias[o] + addend[o][q][n] + sum over taps and c of weight[tap][c][o] x[c][place][n])
//
// For place q, `taps` [Q][T] has the input places and the taps that read them, and `counts` [Q] their number. Weights have O
// rounded up to BO, and the number of images is a multiple of BN. A block computes BO outputs of BN images at one place, BK of
// the summands at a time. Each warp copies every WARPS-th row of both factors into shared memory, STAGES - 1 steps ahead. Sums
// are in the order of taps and channels, in float32. With TF32, the factors have 10 bits, and outputs are rounded to them.
//
// `more` is the addend. With TWO it is a second input instead, of C2 channels on P2 places, which the last tap of every place
// reads; its weights follow the others.
template <int BO, int BN, int BK, int STAGES, bool TF32, bool TWO>
__global__ void __launch_bounds__(THREADS, 2)
layer(float* __restrict__ out, const float* __restrict__ x, const float* __restrict__ weight, const float* __restrict__ bias,
      const float* __restrict__ more, const int2* __restrict__ taps, const int* __restrict__ counts, int T, int C, int P,
      int O, int Q, int N, int C2, int P2, int adds, int rectifies) {
    constexpr int LINES = BK / WARPS;
    constexpr int SKEW = TF32 ? 8 : 0;  // keeps the rows that a warp reads together in different banks
    constexpr int XS = BN + SKEW, WS = BO + SKEW, STAGE = BK * (XS + WS);
    extern __shared__ float4 shared4[];
    float* shared = reinterpret_cast<float*>(shared4);

    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int tiles = (O + BO - 1) / BO, columns = tiles * BO;
    const int o0 = blockIdx.x % tiles * BO;
    const int q = blockIdx.x / tiles % Q;
    const size_t n0 = static_cast<size_t>(blockIdx.x / tiles / Q) * BN;
    const int count = counts[q];
    taps += q * T;

    int tap[LINES] = {}, channel[LINES] = {};
    int2 where[LINES];
    const auto is_second = [=](int t) { return TWO && t == count - 1; };
    const auto find_tap = [&](int l) {
        while (channel[l] >= (is_second(tap[l]) ? C2 : C) && tap[l] < count) {
            channel[l] -= is_second(tap[l]) ? C2 : C;
            ++tap[l];
        }
        where[l] = taps[tap[l] < count ? tap[l] : 0];
    };
#pragma unroll
    for (int l = 0; l < LINES; ++l) {
        channel[l] = warp + l * WARPS;
        find_tap(l);
    }
    const auto fetch = [&](int slot) {
        float* xs = shared + slot * STAGE;
        float* ws = xs + BK * XS;
#pragma unroll
        for (int l = 0; l < LINES; ++l) {
            const bool is_there = tap[l] < count;
            const int line = warp + l * WARPS;
            const int places = is_second(tap[l]) ? P2 : P;
            const float* from =
                (is_second(tap[l]) ? more : x) + static_cast<size_t>(is_there ? channel[l] * places + where[l].x : 0) * N + n0;
#pragma unroll
            for (int j = 0; j < BN; j += 128)
                copy16(xs + line * XS + j + lane * 4, from + j + lane * 4, is_there);
            const float* row = weight + static_cast<size_t>(is_there ? where[l].y * C + channel[l] : 0) * columns + o0;
            if (lane < BO / 4) copy16(ws + line * WS + lane * 4, row + lane * 4, is_there);
            channel[l] += BK;
            find_tap(l);
        }
    };
    const int steps = ((TWO ? (count - 1) * C + C2 : count * C) + BK - 1) / BK;
#pragma unroll
    for (int s = 0; s < STAGES - 1; ++s) {
        if (s < steps) fetch(s);
        close_group();
    }

    // Waits for the factors of a step, and starts the copy of a later step.
    const auto arrived = [&](int step) {
        wait_for_groups<STAGES - 2>();
        __syncthreads();
        if (step + STAGES - 1 < steps) fetch((step + STAGES - 1) % STAGES);
        close_group();
        return shared + step % STAGES * STAGE;
    };

    if constexpr (TF32) {
        constexpr int DOWN = BO / 32, ACROSS = BN / (WARPS / DOWN) / 8;  // a warp: 32 outputs of 8 x ACROSS images
        const int wo = warp % DOWN * 32, wn = warp / DOWN * ACROSS * 8;
        const int g = lane / 4, t = lane % 4;
        float sums[2][ACROSS][4] = {};
        for (int step = 0; step < steps; ++step) {
            const float *factors = arrived(step), *xs = factors + wn, *ws = factors + BK * XS + wo;
#pragma unroll
            for (int k = 0; k < BK; k += 8) {
                // The mapping of a product's rows and columns to outputs and images is free. It is chosen so that the values
                // that a thread reads are contiguous, and so are those that it writes.
                float a[2][4], b[ACROSS][2];
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const float4 four = *reinterpret_cast<const float4*>(ws + (k + t + 4 * half) * WS + 4 * g);
                    a[0][2 * half] = four.x, a[0][2 * half + 1] = four.y, a[1][2 * half] = four.z, a[1][2 * half + 1] = four.w;
#pragma unroll
                    for (int j = 0; j < ACROSS; j += 2) {
                        const float2 two = *reinterpret_cast<const float2*>(xs + (k + t + 4 * half) * XS + 8 * j + 2 * g);
                        b[j][half] = two.x, b[j + 1][half] = two.y;
                    }
                }
#pragma unroll
                for (int i = 0; i < 2; ++i)
#pragma unroll
                    for (int j = 0; j < ACROSS; ++j) multiply_tf32(sums[i][j], a[i], b[j]);
            }
        }
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int o = o0 + wo + 4 * g + i;
            if (o >= O) continue;
#pragma unroll
            for (int j = 0; j < ACROSS; j += 2) {
                const size_t at = (static_cast<size_t>(o) * Q + q) * N + n0 + wn + 8 * j + 4 * t;
                const float *even = sums[i / 2][j] + i % 2 * 2, *odd = sums[i / 2][j + 1] + i % 2 * 2;
                const float4 four = make_float4(even[0], odd[0], even[1], odd[1]);
                store<TF32>(out + at, four, bias[o], !TWO && adds ? more + at : nullptr, rectifies);
            }
        }
    } else {
        constexpr int FOURS = BO * BN / THREADS / 32;  // a thread: 4 x FOURS outputs of 8 images
        constexpr int ACROSS = BN / 64;                // a warp: 8 threads of images, 4 of outputs
        const int tn = (warp % ACROSS * 8 + lane % 8) * 4, to = (warp / ACROSS * 4 + lane / 8) * 4;
        float sums[FOURS][4][8] = {};
        for (int step = 0; step < steps; ++step) {
            const float *factors = arrived(step), *xs = factors + tn, *ws = factors + BK * XS + to;
#pragma unroll
            for (int k = 0; k < BK; ++k) {
                float4 values[2], weights[FOURS];
#pragma unroll
                for (int i = 0; i < 2; ++i) values[i] = *reinterpret_cast<const float4*>(xs + k * XS + i * (BN / 2));
#pragma unroll
                for (int i = 0; i < FOURS; ++i) weights[i] = *reinterpret_cast<const float4*>(ws + k * WS + i * (BO / FOURS));
#pragma unroll
                for (int i = 0; i < FOURS; ++i)
#pragma unroll
                    for (int j = 0; j < 4; ++j)
#pragma unroll
                        for (int m = 0; m < 8; ++m)
                            sums[i][j][m] += reinterpret_cast<float*>(&weights[i])[j] * reinterpret_cast<float*>(values)[m];
            }
        }
#pragma unroll
        for (int i = 0; i < FOURS; ++i)
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                const int o = o0 + i * (BO / FOURS) + to + j;
                if (o >= O) continue;
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const size_t at = (static_cast<size_t>(o) * Q + q) * N + n0 + half * (BN / 2) + tn;
                    const float* sum = sums[i][j] + 4 * half;
                    const float4 four = make_float4(sum[0], sum[1], sum[2], sum[3]);
                    store<TF32>(out + at, four, bias[o], !TWO && adds ? more + at : nullptr, rectifies);
                }
            }
    }
}

// out[c][q][n], the largest of x[c][place][n] over the places in `taps` of q; nan if any of them is
__global__ void largest(float* __restrict__ out, const float* __restrict__ x, const int2* __restrict__ taps,
                        const int* __restrict__ counts, int T, int C, int P, int Q, int N) {
    const size_t at = (static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x) * 4;
    const int n = at % N, q = at / N % Q, c = at / N / Q;
    if (c >= C) return;
    float4 most{};
    for (int t = 0; t < counts[q]; ++t) {
        const float4 value = *reinterpret_cast<const float4*>(x + (static_cast<size_t>(c) * P + taps[q * T + t].x) * N + n);
        const auto take = [t](float& most, float value) {
            if (t == 0 || value > most || value != value) most = value;
        };
        take(most.x, value.x);
        take(most.y, value.y);
        take(most.z, value.z);
        take(most.w, value.w);
    }
    *reinterpret_cast<float4*>(out + at) = most;
}

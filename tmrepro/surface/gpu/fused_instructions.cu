// The instructions of NVIDIA's GPUs that fused.cu uses, for compute capability 8.0 and later.

// Copies 16 bytes to shared memory in the background, or writes zeros if there is nothing to copy.
__device__ __forceinline__ void copy16(float* to, const float* from, bool is_there) {
    const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(to));
    const int bytes = is_there ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(bytes));
}

__device__ __forceinline__ void close_group() { asm volatile("cp.async.commit_group;"); }

template <int OPEN>
__device__ __forceinline__ void wait_for_groups() { asm volatile("cp.async.wait_group %0;" ::"n"(OPEN)); }

// sums[16 x 8] += a[16 x 8] b[8 x 8] on tensor cores, spread over a warp as PTX defines it (m16n8k8)
__device__ __forceinline__ void multiply_tf32(float (&sums)[4], const float (&a)[4], const float (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])), "r"(__float_as_uint(a[3])),
          "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
}

// workgroup_sum(lane, x) = Σ x, workgroup_max(lane, x) = max x over the WG invocations of a workgroup
// WG is the kernel's, a power of two. Every invocation must call, and gets the result; the order of the sum is fixed.
var<workgroup> partial: array<f32, WG>;

fn workgroup_sum(lane: u32, x: f32) -> f32 {
    partial[lane] = x;
    workgroupBarrier();
    for (var width = WG / 2u; width > 0u; width = width / 2u) {
        if lane < width {
            partial[lane] = partial[lane] + partial[lane + width];
        }
        workgroupBarrier();
    }
    let sum = partial[0u];
    workgroupBarrier();
    return sum;
}

fn workgroup_max(lane: u32, x: f32) -> f32 {
    partial[lane] = x;
    workgroupBarrier();
    for (var width = WG / 2u; width > 0u; width = width / 2u) {
        if lane < width {
            partial[lane] = max(partial[lane], partial[lane + width]);
        }
        workgroupBarrier();
    }
    let greatest = partial[0u];
    workgroupBarrier();
    return greatest;
}

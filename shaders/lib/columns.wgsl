// column_sum(lane, x) = Σ x over the invocations of a workgroup whose lanes agree with lane modulo COLUMNS
// WG and COLUMNS are the kernel's, powers of two. Every invocation must call; the order of the sum is fixed.
//!use reduce
fn column_sum(lane: u32, x: f32) -> f32 {
    partial[lane] = x;
    workgroupBarrier();
    for (var width = WG / 2u; width >= COLUMNS; width = width / 2u) {
        if lane < width {
            partial[lane] = partial[lane] + partial[lane + width];
        }
        workgroupBarrier();
    }
    let sum = partial[lane % COLUMNS];
    workgroupBarrier();
    return sum;
}

// y = f(x · Wᵀ · scale + bias) + residual. BACKWARD: y = (x · W) · f'(residual), where x is dy and y is dx.
// For few rows, where no other kernel has work for a whole GPU: one workgroup makes ROWS rows × 4·GROUPS columns, and
// SLICES invocations share each of these sums, every SLICES-th term each.
//!use fold
//!use linear_block
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(3) var<storage, read> bias: array<f32>;         // [bias_rows, n], absent if 0
@group(0) @binding(4) var<storage, read> residual: array<f32>;     // [residual_rows, n], absent if 0
@group(0) @binding(5) var<storage, read_write> y: array<f32>;      // [m, n]

const ROWS = 4u;  //!tune 1 4 8
const GROUPS = 8u;
const SLICES = 8u;
const_assert ROWS <= SLICES;
const ROUND = ROWS;  // whose sums pass through workgroup memory at once  //!dx12 1
const ACT = NONE;  // f, as in lib/function.wgsl
const BACKWARD = false;

var<workgroup> partial: array<vec4<f32>, SLICES * ROUND * GROUPS>;

//!tile ROWS 4*GROUPS
@compute @workgroup_size(GROUPS * SLICES)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tiles_m = (p.m + ROWS - 1u) / ROWS;
    let groups_n = (p.n + 3u) / 4u;
    let group = group_index(wg);
    let row = group % tiles_m * ROWS;
    let col = group / tiles_m * GROUPS + lane % GROUPS;
    let slice = lane / GROUPS;

    var rows: array<Row, ROWS>;
    for (var r = 0u; r < ROWS; r++) {  //!unroll
        rows[r] = row_at(row + r);
    }
    var sum: array<vec4<f32>, ROWS>;
    for (var i = slice; i < p.inner; i += SLICES) {
        let w = factors(min(col, groups_n - 1u), i);
        let part = group_at(i);
        for (var r = 0u; r < ROWS; r++) {  //!unroll
            sum[r] = add_product(sum[r], left(rows[r], part), w);
        }
    }
    var total = vec4<f32>(0.0);
    for (var t = 0u; t < ROWS / ROUND; t++) {  //!unroll
        for (var r = 0u; r < ROUND; r++) {  //!unroll
            partial[(slice * ROUND + r) * GROUPS + lane % GROUPS] = sum[t * ROUND + r];
        }
        workgroupBarrier();
        if slice / ROUND == t {
            for (var s = 0u; s < SLICES; s++) {  //!unroll
                total += partial[(s * ROUND + slice % ROUND) * GROUPS + lane % GROUPS];
            }
        }
        if ROUND < ROWS {
            workgroupBarrier();
        }
    }
    if slice < ROWS {
        finish(row + slice, col, total);
    }
}

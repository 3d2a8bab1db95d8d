// y = f(x · Wᵀ · scale + bias) + residual, and x · W with BACKWARD
// One invocation makes ROWS rows × four columns, one workgroup 64 rows × 64 columns. Parts of x and W, 16 deep, pass
// through workgroup memory.
//!use fold
//!use linear_block
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(3) var<storage, read> bias: array<f32>;         // [bias_rows, n], absent if 0
@group(0) @binding(4) var<storage, read> residual: array<f32>;     // [residual_rows, n], absent if 0
@group(0) @binding(5) var<storage, read_write> y: array<f32>;      // [m, n]

const SIDE = 16u;  // groups of columns
const ROWS = 8u;
const WG = SIDE * 64u / ROWS;
const DEPTH = 4u;  // groups of x
const ACT = 9u;    // f, as in lib/function.wgsl
const AFTER = false;  // f comes after the residual
const BACKWARD = false;

var<workgroup> part_x: array<vec4<f32>, 64u * DEPTH>;          // [row][group]
var<workgroup> part_w: array<vec4<f32>, DEPTH * 4u * SIDE>;    // [group][number in it][column]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tiles_m = (p.m + 63u) / 64u;
    let groups_n = (p.n + 3u) / 4u;
    let group = group_index(wg);
    let row = group % tiles_m * 64u;
    let col = group / tiles_m * SIDE;

    var sum: array<vec4<f32>, ROWS>;
    for (var i = 0u; i < p.inner; i += DEPTH) {
        for (var j = lane; j < 64u * DEPTH; j += WG) {
            part_x[j] = vec4<f32>(0.0);
            if i + j % DEPTH < p.inner {
                part_x[j] = left(row + j / DEPTH, i + j % DEPTH);
            }
        }
        for (var j = lane; j < SIDE * DEPTH; j += WG) {
            let w = factors(min(col + j % SIDE, groups_n - 1u), min(i + j / SIDE, p.inner - 1u));
            let at = j / SIDE * 4u * SIDE + j % SIDE;
            part_w[at] = w[0];
            part_w[at + SIDE] = w[1];
            part_w[at + 2u * SIDE] = w[2];
            part_w[at + 3u * SIDE] = w[3];
        }
        workgroupBarrier();
        for (var d = 0u; d < DEPTH; d++) {
            let w_at = d * 4u * SIDE + lane % SIDE;
            let w = mat4x4<f32>(part_w[w_at], part_w[w_at + SIDE], part_w[w_at + 2u * SIDE], part_w[w_at + 3u * SIDE]);
            for (var r = 0u; r < ROWS; r++) {
                let v = part_x[(lane / SIDE * ROWS + r) * DEPTH + d];
                sum[r] = add_product(sum[r], v, w);
            }
        }
        workgroupBarrier();
    }
    for (var r = 0u; r < ROWS; r++) {
        finish(row + lane / SIDE * ROWS + r, col + lane % SIDE, sum[r]);
    }
}

// y = f(x · Wᵀ · scale + bias) + residual. BACKWARD: y = (x · W) · f'(residual), where x is dy and y is dx.
// For products that fill a GPU: one invocation makes ROWS rows, LANES apart, × four columns, one workgroup TILE rows ×
// 4·SIDE columns. Parts of x and W, 4·DEPTH deep, pass through workgroup memory.
//!use fold
//!use linear_block
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(3) var<storage, read> bias: array<f32>;         // [bias_rows, n], absent if 0
@group(0) @binding(4) var<storage, read> residual: array<f32>;     // [residual_rows, n], absent if 0
@group(0) @binding(5) var<storage, read_write> y: array<f32>;      // [m, n]

const SIDE = 16u;  // groups of columns
const ROWS = 8u;
const LANES = 8u;
const TILE = ROWS * LANES;
const WG = SIDE * LANES;
const DEPTH = 4u;  // groups of x  //!dx12 1
const_assert WG % DEPTH == 0u;
const LOADS_X = (TILE * DEPTH + WG - 1u) / WG;  // an invocation
const ALL_X = TILE * DEPTH % WG == 0u;          // no invocation loads less
const LOADS_W = (4u * SIDE * DEPTH + WG - 1u) / WG;
const ALL_W = 4u * SIDE * DEPTH % WG == 0u;
const ACT = NONE;  // f, as in lib/function.wgsl
const BACKWARD = false;

var<workgroup> part_x: array<array<array<vec4<f32>, DEPTH>, LANES>, ROWS>;  // [row / LANES][row % LANES][group]
// [group][number in it][column]. The last two columns are not used: without them invocations that store the four numbers
// of a group would meet in one bank.
var<workgroup> part_w: array<array<array<vec4<f32>, SIDE + 2u>, 4>, DEPTH>;

//!tile TILE 4*SIDE
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tiles_m = (p.m + TILE - 1u) / TILE;
    let groups_n = (p.n + 3u) / 4u;
    let group = group_index(wg);
    let row = group % tiles_m * TILE;
    let col = group / tiles_m * SIDE;
    let up = lane / SIDE;
    let across = lane % SIDE;

    var rows: array<Row, LOADS_X>;
    for (var t = 0u; t < LOADS_X; t++) {  //!unroll
        rows[t] = row_at(row + (lane + t * WG) / DEPTH);
    }
    var sum: array<vec4<f32>, ROWS>;
    for (var i = 0u; i < p.inner; i += DEPTH) {
        var from_x: array<vec4<f32>, LOADS_X>;
        var from_w: array<vec4<f32>, LOADS_W>;
        let part = group_at(i + lane % DEPTH);
        for (var t = 0u; t < LOADS_X; t++) {  //!unroll
            let j = lane + t * WG;
            from_x[t] = vec4<f32>(0.0);  // naga 0.13 does so once only, not for each i
            if i + lane % DEPTH < p.inner && (ALL_X || j < TILE * DEPTH) {
                from_x[t] = left(rows[t], part);
            }
        }
        for (var t = 0u; t < LOADS_W; t++) {  //!unroll
            let j = lane + t * WG;
            from_w[t] = factor(min(col + j / 4u % SIDE, groups_n - 1u), min(i + j / (4u * SIDE), p.inner - 1u), j % 4u);
        }
        for (var t = 0u; t < LOADS_X; t++) {  //!unroll
            let j = lane + t * WG;
            if ALL_X || j < TILE * DEPTH {
                part_x[j / DEPTH / LANES][j / DEPTH % LANES][j % DEPTH] = from_x[t];
            }
        }
        for (var t = 0u; t < LOADS_W; t++) {  //!unroll
            let j = lane + t * WG;
            if ALL_W || j < 4u * SIDE * DEPTH {
                part_w[j / (4u * SIDE)][j % 4u][j / 4u % SIDE] = from_w[t];
            }
        }
        workgroupBarrier();
        for (var d = 0u; d < DEPTH; d++) {  //!unroll
            let w = mat4x4<f32>(part_w[d][0][across], part_w[d][1][across], part_w[d][2][across], part_w[d][3][across]);
            for (var r = 0u; r < ROWS; r++) {  //!unroll
                sum[r] = add_product(sum[r], part_x[r][up][d], w);
            }
        }
        workgroupBarrier();
    }
    for (var r = 0u; r < ROWS; r++) {  //!unroll
        finish(row + r * LANES + up, col + across, sum[r]);
    }
}

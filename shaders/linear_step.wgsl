// y = f(x · Wᵀ · scale + bias) + residual. BACKWARD: y = (x · W) · f'(residual), where x is dy and y is dx.
// For software drivers, whose loads are much code: each step takes one vec4 of every block, and what it does fits in
// the cache of decoded instructions.
// One invocation makes ROWS rows × GROUPS groups of four columns, WG apart; one workgroup ROWS rows × 4·GROUPS·WG
// columns. Loads from x are the same for the whole workgroup, each block of W is used ROWS times.
//!use fold
//!use linear
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Step>;           // [m, 4·inner / STEP]
@group(0) @binding(3) var<storage, read> bias: array<f32>;         // [bias_rows, n], absent if 0
@group(0) @binding(4) var<storage, read> residual: array<f32>;     // [residual_rows, n], absent if 0
@group(0) @binding(5) var<storage, read_write> y: array<f32>;      // [m, n]

const WG = 8u;  // as wide as a CPU's vectors: more would idle where y is narrow
const ROWS = 10u;
const GROUPS = 2u;  //!tune 2 4
const ACT = NONE;  // f, as in lib/function.wgsl
const PARTS = 4u / STEP;  // of a block
const BACKWARD = false;

//!tile ROWS 4*GROUPS*WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    // Neighbouring workgroups share their columns of W.
    let tiles_m = (p.m + ROWS - 1u) / ROWS;
    let groups_n = (p.n + 3u) / 4u;
    let group = group_index(wg);
    let row = group % tiles_m * ROWS;
    let col = group / tiles_m * GROUPS * WG + lane;
    if col >= groups_n {
        return;
    }
    let steps = p.inner * PARTS;
    var x_at: array<u32, ROWS>;
    for (var r = 0u; r < ROWS; r++) {
        x_at[r] = min(row + r, p.m - 1u) * steps;
    }
    var sum: array<array<vec4<f32>, GROUPS>, ROWS>;
    for (var i = 0u; i < steps; i++) {
        var rows: array<Rows, GROUPS>;
        for (var g = 0u; g < GROUPS; g++) {
            rows[g] = factors(min(col + g * WG, groups_n - 1u), i / PARTS, i % PARTS);
        }
        for (var r = 0u; r < ROWS; r++) {
            var v = x[x_at[r] + i];
            if BACKWARD {
                v = scale_step(v, block_at(p.first + i / PARTS, p.depth - 1u, p.blocks, p.depth), i % PARTS);
            }
            for (var g = 0u; g < GROUPS; g++) {
                sum[r][g] = add_step(sum[r][g], v, rows[g]);
            }
        }
    }
    for (var r = 0u; r < ROWS; r++) {
        for (var g = 0u; g < GROUPS; g++) {
            finish(row + r, col + g * WG, sum[r][g]);
        }
    }
}

// factors(col, i, part) takes the numbers of a step in x's group i to the four of y's group col.
fn factors(col: u32, i: u32, part: u32) -> Rows {
    if BACKWARD {
        return columns_w(block_at(p.first + i, col, p.blocks, p.depth), part);
    }
    return rows_w(block_at(p.first + col, i, p.blocks, p.depth), part);
}

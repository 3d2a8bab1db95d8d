// y = f(x · Wᵀ · scale + bias) + residual, and x · W with BACKWARD
// One invocation makes ROWS rows × GROUPS groups of four columns, WG apart; one workgroup ROWS rows × 4·GROUPS·WG
// columns. Loads from x are the same for the whole workgroup, each block of W is used ROWS times.
//!use fold
//!use linear_block
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(3) var<storage, read> bias: array<f32>;         // [bias_rows, n], absent if 0
@group(0) @binding(4) var<storage, read> residual: array<f32>;     // [residual_rows, n], absent if 0
@group(0) @binding(5) var<storage, read_write> y: array<f32>;      // [m, n]

const WG = 32u;
const ROWS = 8u;  //!tune 4 8
const GROUPS = 2u;
const ACT = 9u;     // f, as in lib/function.wgsl
const AFTER = false;  // f comes after the residual
const BACKWARD = false;

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
    var sum: array<array<vec4<f32>, GROUPS>, ROWS>;
    for (var i = 0u; i < p.inner; i++) {
        var w: array<mat4x4<f32>, GROUPS>;
        for (var g = 0u; g < GROUPS; g++) {
            w[g] = factors(min(col + g * WG, groups_n - 1u), i);
        }
        for (var r = 0u; r < ROWS; r++) {
            let v = left(row + r, i);
            for (var g = 0u; g < GROUPS; g++) {
                sum[r][g] = add_product(sum[r][g], v, w[g]);
            }
        }
    }
    for (var r = 0u; r < ROWS; r++) {
        for (var g = 0u; g < GROUPS; g++) {
            finish(row + r, col + g * WG, sum[r][g]);
        }
    }
}

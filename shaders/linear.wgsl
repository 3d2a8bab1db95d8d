// y = f(x · Wᵀ + bias) + residual, and x · W with BACKWARD
// One invocation makes ROWS × 8 results, one workgroup ROWS rows × 8·WG columns: the groups of four columns lane and
// WG + lane. Loads from x are the same for the whole workgroup, each block of W is used ROWS times.
//!use fold
//!use linear
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;      // [m, inner]
@group(0) @binding(3) var<storage, read> bias: array<f32>;         // absent unless has_bias
@group(0) @binding(4) var<storage, read> residual: array<f32>;     // [m, n], absent unless has_residual
@group(0) @binding(5) var<storage, read_write> y: array<f32>;      // [m, n]

const WG = 32u;
const ROWS = 8u;  //!tune 4 8 12
const ACT = 9u;   // f, as in lib/function.wgsl
const BACKWARD = false;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    // Neighbouring workgroups share their columns of W.
    let tiles_m = (p.m + ROWS - 1u) / ROWS;
    let groups_n = (p.n + 3u) / 4u;
    let group = group_index(wg);
    let row = group % tiles_m * ROWS;
    let col0 = group / tiles_m * 2u * WG + lane;
    if col0 >= groups_n {
        return;
    }
    let col1 = min(col0 + WG, groups_n - 1u);

    var sum0: array<vec4<f32>, ROWS>;
    var sum1: array<vec4<f32>, ROWS>;
    for (var i = 0u; i < p.inner; i++) {
        let w0 = factors(col0, i);
        let w1 = factors(col1, i);
        for (var r = 0u; r < ROWS; r++) {
            let v = left(row + r, i);
            sum0[r] = fma(vec4<f32>(v.x), w0[0], sum0[r]);
            sum0[r] = fma(vec4<f32>(v.y), w0[1], sum0[r]);
            sum0[r] = fma(vec4<f32>(v.z), w0[2], sum0[r]);
            sum0[r] = fma(vec4<f32>(v.w), w0[3], sum0[r]);
            sum1[r] = fma(vec4<f32>(v.x), w1[0], sum1[r]);
            sum1[r] = fma(vec4<f32>(v.y), w1[1], sum1[r]);
            sum1[r] = fma(vec4<f32>(v.z), w1[2], sum1[r]);
            sum1[r] = fma(vec4<f32>(v.w), w1[3], sum1[r]);
        }
    }
    for (var r = 0u; r < ROWS; r++) {
        finish(row + r, col0, sum0[r]);
        if col0 + WG < groups_n {
            finish(row + r, col1, sum1[r]);
        }
    }
}

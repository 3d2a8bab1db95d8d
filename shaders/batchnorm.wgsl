// y[r,c] = (x[r,c] − mean[c]) / √(variance[c] + eps) · w[c] + b[c]
// x, y: n elements in rows of cols. One invocation makes one element of y, one workgroup WG of them.
//!use fold
struct Params { n: u32, cols: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;         // [rows, cols]
@group(0) @binding(2) var<storage, read> w: array<f32>;         // [cols]
@group(0) @binding(3) var<storage, read> b: array<f32>;         // [cols]
@group(0) @binding(4) var<storage, read> mean: array<f32>;      // [cols]
@group(0) @binding(5) var<storage, read> variance: array<f32>;  // [cols]
@group(0) @binding(6) var<storage, read_write> y: array<f32>;   // [rows, cols]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let c = i % p.cols;
    y[i] = fma((x[i] - mean[c]) / sqrt(variance[c] + p.eps), w[c], b[c]);
}

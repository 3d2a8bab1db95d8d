// y[1,c] = w[c] / √(variance[c] + eps), y[0,c] = b[c] − mean[c] · y[1,c]: batchnorm is x · y[1] + y[0]
// One invocation makes one column of y, one workgroup WG of them, n in all.
//!use fold
struct Params { n: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<f32>;         // [n]
@group(0) @binding(2) var<storage, read> b: array<f32>;         // [n]
@group(0) @binding(3) var<storage, read> mean: array<f32>;      // [n]
@group(0) @binding(4) var<storage, read> variance: array<f32>;  // [n]
@group(0) @binding(5) var<storage, read_write> y: array<f32>;   // [2, n]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let c = group_index(wg) * WG + lane;
    if c >= p.n {
        return;
    }
    let scale = w[c] / sqrt(variance[c] + p.eps);
    y[c] = fma(-mean[c], scale, b[c]);
    y[p.n + c] = scale;
}

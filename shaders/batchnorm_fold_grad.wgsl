// dw[c] = (dy[1,c] − mean[c] · dy[0,c]) / √(variance[c] + eps), of batchnorm_fold's y
// One invocation makes one column of dw, one workgroup WG of them, n in all.
//!use fold
struct Params { n: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> mean: array<f32>;      // [n]
@group(0) @binding(2) var<storage, read> variance: array<f32>;  // [n]
@group(0) @binding(3) var<storage, read> dy: array<f32>;        // [2, n]
@group(0) @binding(4) var<storage, read_write> dw: array<f32>;  // [n]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let c = group_index(wg) * WG + lane;
    if c >= p.n {
        return;
    }
    dw[c] = fma(-mean[c], dy[c], dy[p.n + c]) / sqrt(variance[c] + p.eps);
}

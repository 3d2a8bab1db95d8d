// dv[c] = −½ · w[c] · dw[c] / (variance[c] + eps)
// The gradient of batchnorm's variance from that of its weight.
// One invocation makes one of the n elements of dv, one workgroup WG of them.
//!use fold
struct Params { n: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<f32>;         // [n]
@group(0) @binding(2) var<storage, read> dw: array<f32>;        // [n]
@group(0) @binding(3) var<storage, read> variance: array<f32>;  // [n]
@group(0) @binding(4) var<storage, read_write> dv: array<f32>;  // [n]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let c = group_index(wg) * WG + lane;
    if c >= p.n {
        return;
    }
    dv[c] = -0.5 * w[c] * dw[c] / (variance[c] + p.eps);
}

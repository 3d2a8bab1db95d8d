// dmean[c] = −w[c] · db[c] / √(variance[c] + eps), dvariance[c] = −½ · w[c] · dw[c] / (variance[c] + eps)
// These are the gradients of batchnorm's mean and variance. dw and db already are the sums over rows that they need.
// One invocation makes one of the n elements of each, one workgroup WG of them.
//!use fold
struct Params { n: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<f32>;                // [n]
@group(0) @binding(2) var<storage, read> variance: array<f32>;         // [n]
@group(0) @binding(3) var<storage, read> dw: array<f32>;               // [n]
@group(0) @binding(4) var<storage, read> db: array<f32>;               // [n]
@group(0) @binding(5) var<storage, read_write> dmean: array<f32>;      // [n]
@group(0) @binding(6) var<storage, read_write> dvariance: array<f32>;  // [n]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let c = group_index(wg) * WG + lane;
    if c >= p.n {
        return;
    }
    let width = variance[c] + p.eps;
    dmean[c] = -w[c] * db[c] / sqrt(width);
    dvariance[c] = -0.5 * w[c] * dw[c] / width;
}

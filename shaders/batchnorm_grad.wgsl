// dx[r,c] = dy[r,c] · w[c] · rstd[c], dw[r,c] = dy[r,c] · (x[r,c] − mean[c]) · rstd[c], rstd = 1 / √(variance + eps)
// The gradients of batchnorm: of x, and the row's part of that of w.
// One invocation makes one of the n elements of each, one workgroup WG of them.
//!use fold
struct Params { n: u32, cols: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;         // [rows, cols]
@group(0) @binding(2) var<storage, read> w: array<f32>;         // [cols]
@group(0) @binding(3) var<storage, read> mean: array<f32>;      // [cols]
@group(0) @binding(4) var<storage, read> variance: array<f32>;  // [cols]
@group(0) @binding(5) var<storage, read> dy: array<f32>;        // [rows, cols]
@group(0) @binding(6) var<storage, read_write> dx: array<f32>;  // [rows, cols]
@group(0) @binding(7) var<storage, read_write> dw: array<f32>;  // [rows, cols]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let c = i % p.cols;
    let rstd = 1.0 / sqrt(variance[c] + p.eps);
    dx[i] = dy[i] * w[c] * rstd;
    dw[i] = dy[i] * (x[i] - mean[c]) * rstd;
}

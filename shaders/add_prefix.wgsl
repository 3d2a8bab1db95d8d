// y[i] = x[i] + (b[i] where i < prefix)
// One invocation makes one of the n elements of y, one workgroup WG of them.
//!use fold
struct Params { n: u32, prefix: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // [n]
@group(0) @binding(2) var<storage, read> b: array<f32>;        // [prefix]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;  // [n]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    var v = x[i];
    if i < p.prefix {
        v += b[i];
    }
    y[i] = v;
}

// y[i] = x[i], whatever the 32 bits of an element mean
// x, y: n elements. One invocation copies one element, one workgroup WG of them.
//!use fold
struct Params { n: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;        // [n]
@group(0) @binding(2) var<storage, read_write> y: array<u32>;  // [n]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i < p.n {
        y[i] = x[i];
    }
}

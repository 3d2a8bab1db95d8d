// y[o,k] = max_l x[o,l,k], NaN where one of them is
// One invocation makes one of the n elements of y, one workgroup WG of them.
//!use fold
struct Params { n: u32, len: u32, inner: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // [outer, len, inner]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;  // [outer, inner]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let first = i / p.inner * p.len * p.inner + i % p.inner;
    var greatest = x[first];
    for (var l = 1u; l < p.len; l++) {
        let v = x[first + l * p.inner];
        greatest = select(v, greatest, v <= greatest || greatest != greatest);  // not max, which would lose a NaN
    }
    y[i] = greatest;
}

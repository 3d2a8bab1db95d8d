// y[1,c] = s[c], y[0,c] = b[c] · s[c]: (x + b) · s is x · y[1] + y[0]
// One invocation makes one column of y, one workgroup WG of them, n in all.
//!use fold
struct Params { n: u32, has_bias: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> b: array<f32>;        // [n], absent unless has_bias
@group(0) @binding(2) var<storage, read> s: array<f32>;        // [n]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;  // [2, n]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let c = group_index(wg) * WG + lane;
    if c >= p.n {
        return;
    }
    var bias = 0.0;
    if p.has_bias != 0u {
        bias = b[c];
    }
    y[c] = bias * s[c];
    y[p.n + c] = s[c];
}

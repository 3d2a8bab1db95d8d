// y[o,c,k] = scale · Σ_l x[o,l,k] over l = c, c + chunks, c + 2·chunks, …
// One pass over the middle axis of x: chunks = 1 ends the sum, a greater one leaves that many terms for the next pass.
// The elements of a chunk lie apart so that neighbours read neighbours even where inner is 1.
// One invocation makes one element of y, one workgroup WG of them, n in all.
//!use fold
struct Params { n: u32, len: u32, inner: u32, chunks: u32, scale: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // [outer, len, inner]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;  // [outer, chunks, inner]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let k = i % p.inner;
    let c = i / p.inner % p.chunks;
    let o = i / (p.inner * p.chunks);
    var sum = 0.0;
    for (var l = c; l < p.len; l += p.chunks) {
        sum += x[(o * p.len + l) * p.inner + k];
    }
    y[i] = p.scale * sum;
}

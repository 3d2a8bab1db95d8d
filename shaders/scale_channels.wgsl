// y[b,i,c] = x[b,i,c] · s[b,c]
// One invocation makes one of the n elements of y, one workgroup WG of them.
//!use fold
struct Params { n: u32, pixels: u32, channels: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // [batch, pixels, channels]
@group(0) @binding(2) var<storage, read> s: array<f32>;        // [batch, channels]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;  // [batch, pixels, channels]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    y[i] = x[i] * s[i / (p.pixels * p.channels) * p.channels + i % p.channels];
}

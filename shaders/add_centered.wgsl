// y[v,u,o] = a[v,u,o] + b[v − off, u − off, o] + (v, u in the middle ? plus : 0), b 0 outside its window
// The window of a convolution and a smaller one in its middle, or what is added to the channel itself.
// One invocation makes one of the n elements of y, one workgroup WG of them.
//!use fold
struct Params { n: u32, side: u32, small: u32, out: u32, plus: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;        // [side, side, out]
@group(0) @binding(2) var<storage, read> b: array<f32>;        // [small, small, out], absent if small is 0
@group(0) @binding(3) var<storage, read_write> y: array<f32>;  // [side, side, out]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let tap = i / p.out;
    let off = (p.side - p.small) / 2u;
    let v = tap / p.side - off;  // before the smaller window it wraps around to a great number
    let u = tap % p.side - off;
    var sum = a[i];
    if v < p.small && u < p.small {
        sum += b[(v * p.small + u) * p.out + i % p.out];
    }
    if tap == p.side * p.side / 2u {
        sum += p.plus;
    }
    y[i] = sum;
}

// y[y_at + o·y_outer + l·inner + k] = x[x_at + o·x_outer + l·x_step + k], whatever the 32 bits of an element mean
// Copies n = outer · len · inner elements, where o < outer, l < len, k < inner, between places in two tensors:
// concat and split move one operand's share of an axis, expand repeats with x_step = 0.
// One invocation copies one element, one workgroup WG of them.
//!use fold
struct Params { n: u32, len: u32, inner: u32, x_at: u32, x_outer: u32, x_step: u32, y_at: u32, y_outer: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;        // from x_at on
@group(0) @binding(2) var<storage, read_write> y: array<u32>;  // from y_at on

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let o = i / (p.len * p.inner);
    let rest = i % (p.len * p.inner);
    y[p.y_at + o * p.y_outer + rest] = x[p.x_at + o * p.x_outer + rest / p.inner * p.x_step + rest % p.inner];
}

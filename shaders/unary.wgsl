// y[i] = f(x[i])
// x, y: n elements. One invocation makes one element, one workgroup WG of them.
//!use fold
//!use function
struct Params { n: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // [n]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;  // [n]

const WG = 64u;
const F = 0u;  // as in lib/function.wgsl
const_assert F < NONE;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    y[i] = apply(F, x[i]);
}

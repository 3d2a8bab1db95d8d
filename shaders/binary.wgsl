// y[i] = a[i] OP b[(i / inner) mod nb]
// a, y: n elements. b: nb elements, each for inner neighbours, the whole repeated along a:
// nb = n, inner = 1 is elementwise; nb = C, inner = 1 adds a row of C; nb = 1 combines with a scalar.
// One invocation makes one element of y, one workgroup WG of them.
//!use fold
struct Params { n: u32, nb: u32, inner: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;        // [n]
@group(0) @binding(2) var<storage, read> b: array<f32>;        // [nb]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;  // [n]

const WG = 64u;
const OP = 0u;  // 0 add, 1 subtract, 2 multiply
const_assert OP < 3u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let left = a[i];
    let right = b[(i / p.inner) % p.nb];
    switch OP {
        case 1u: { y[i] = left - right; }
        case 2u: { y[i] = left * right; }
        default: { y[i] = left + right; }
    }
}

// dx[o,l,k] = dy[o,k] where l is the first place of max_l x[o,l,k], else 0: the gradient of max_axis
// One invocation makes the column dx[o,:,k] of one of the n elements of dy, one workgroup WG of them.
//!use fold
struct Params { n: u32, len: u32, inner: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;         // [outer, len, inner]
@group(0) @binding(2) var<storage, read> dy: array<f32>;        // [outer, inner]
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;  // [outer, len, inner]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let first = i / p.inner * p.len * p.inner + i % p.inner;
    var at = 0u;
    var greatest = x[first];
    for (var l = 1u; l < p.len; l++) {
        let v = x[first + l * p.inner];
        if v > greatest {
            greatest = v;
            at = l;
        }
    }
    for (var l = 0u; l < p.len; l++) {
        dx[first + l * p.inner] = select(0.0, dy[i], l == at);
    }
}

// values[i] = number_of(order), indices[i] = index, where (order, index) = pairs[i]; 0 and -1 where the order is 0
// One invocation makes one of the n values, one workgroup WG of them.
//!use fold
//!use order
struct Params { n: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> pairs: array<vec2<u32>>;       // [n]
@group(0) @binding(2) var<storage, read_write> values: array<f32>;      // [n]
@group(0) @binding(3) var<storage, read_write> indices: array<f32>;     // [n]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let pair = pairs[i];
    values[i] = 0.0;
    indices[i] = -1.0;
    if pair.x != 0u {
        values[i] = number_of(pair.x);
        indices[i] = f32(pair.y);
    }
}

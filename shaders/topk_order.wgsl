// orders[q,i] = order_of(x[q,i]) where mask takes i in, else 0
// One invocation makes one of the n orders, one workgroup WG of them.
//!use fold
//!use order
struct Params { n: u32, width: u32, has_mask: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;             // [n / width, width]
@group(0) @binding(2) var<storage, read> mask: array<u32>;          // [width / 32], i's bit is i % 32 of word i / 32; absent unless has_mask
@group(0) @binding(3) var<storage, read_write> orders: array<u32>;  // [n / width, width]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    var order = order_of(x[i]);
    let column = i % p.width;
    if p.has_mask != 0u && (mask[column / 32u] >> (column % 32u) & 1u) == 0u {
        order = 0u;
    }
    orders[i] = order;
}

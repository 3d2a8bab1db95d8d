// pairs[q,b,k] = (order_of(x[q,i]), i) of the kth greatest of block b, for k < kept: k = Σ_s [x[q,s] before x[q,i]]
// Of equal ones the lower index is before, NaN are after all numbers, and what mask leaves out or lies past the end
// after these, with 0 as its order.
// One workgroup sorts a block of WG numbers, each invocation places one.
//!use fold
//!use order
struct Params { queries: u32, n: u32, kept: u32, has_mask: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;                  // [queries, n]
@group(0) @binding(2) var<storage, read> mask: array<u32>;               // [n / 32], bit i % 32 of word i / 32 takes i in; absent unless has_mask
@group(0) @binding(3) var<storage, read_write> pairs: array<vec2<u32>>;  // [queries, blocks, kept]

const WG = 64u;

var<workgroup> orders: array<u32, WG>;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let blocks = (p.n + WG - 1u) / WG;
    let group = group_index(wg);
    let query = group / blocks;
    if query >= p.queries {
        return;
    }
    let i = group % blocks * WG + lane;
    var order = 0u;
    if i < p.n {
        order = order_of(x[query * p.n + i]);
        if p.has_mask != 0u && (mask[i / 32u] >> (i % 32u) & 1u) == 0u {
            order = 0u;
        }
    }
    orders[lane] = order;
    workgroupBarrier();
    var k = 0u;
    for (var s = 0u; s < WG; s++) {
        let other = orders[s];
        k += select(0u, 1u, other > order || (other == order && s < lane));
    }
    if k < p.kept {
        pairs[group * p.kept + k] = vec2<u32>(order, i);
    }
}

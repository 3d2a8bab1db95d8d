// greatest[q,b] = max_j orders[q,j] over the part b of a row: the j from b · part on
// One invocation makes one of the n maxima, one workgroup WG of them.
//!use fold
struct Params { n: u32, width: u32, part: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> orders: array<u32>;          // [queries, width]
@group(0) @binding(2) var<storage, read_write> greatest: array<u32>;  // [queries, parts]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let parts = (p.width + p.part - 1u) / p.part;
    let row = i / parts * p.width;
    let first = i % parts * p.part;
    var most = 0u;
    for (var j = first; j < min(first + p.part, p.width); j++) {
        most = max(most, orders[row + j]);
    }
    greatest[i] = most;
}

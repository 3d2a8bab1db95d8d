// next[r] = the least s > r with id_s = id_r, or n; start[r] = 1 where no s < r has id_s = id_r, else 0
// Chains the occurrences of each id, so that a sum over them has one order. Ids are clamped as in gather.
// One invocation makes one element of both, one workgroup WG of them.
//!use fold
struct Params { n: u32, rows: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> id: array<i32>;           // [n]
@group(0) @binding(2) var<storage, read_write> next: array<u32>;   // [n]
@group(0) @binding(3) var<storage, read_write> start: array<u32>;  // [n]

const WG = 64u;

fn row(r: u32) -> i32 { return clamp(id[r], 0, i32(p.rows) - 1); }

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let own = row(i);
    var s = i + 1u;
    while s < p.n && row(s) != own {
        s += 1u;
    }
    next[i] = s;
    s = 0u;
    while row(s) != own {  // ends at i
        s += 1u;
    }
    start[i] = select(0u, 1u, s == i);
}

// merged[q,r] = the first kept of pairs[q,2r] and pairs[q,2r+1] in one order (merge sort)
// A pair moves by as many places as the other run has pairs before it, which binary search counts. A last run without
// another is filled up with NOTHING.
// One invocation moves one of the n pairs, one workgroup WG of them.
//!use fold
//!use pairs
struct Params { n: u32, runs: u32, run: u32, kept: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> pairs: array<vec2<u32>>;         // [queries, runs, run]
@group(0) @binding(2) var<storage, read_write> merged: array<vec2<u32>>;  // [queries, halves, kept]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let halves = (p.runs + 1u) / 2u;
    let query = i / (2u * halves * p.run);
    let r = i / p.run % (2u * halves);
    let place = i % p.run;
    let first = query * p.runs * p.run;
    let other = first + (r ^ 1u) * p.run;
    var own = NOTHING;
    var lo = 0u;
    var hi = select(0u, p.run, (r ^ 1u) < p.runs);
    if r < p.runs {
        own = pairs[first + r * p.run + place];
    } else {
        lo = p.run;
    }
    while lo < hi {
        let mid = (lo + hi) / 2u;
        if before(pairs[other + mid], own, r % 2u == 1u) {
            lo = mid + 1u;
        } else {
            hi = mid;
        }
    }
    if place + lo < p.kept {
        merged[(query * halves + r / 2u) * p.kept + place + lo] = own;
    }
}

// merged = pairs with its sorted runs of length run merged two by two (merge sort)
// A pair moves by as many places as the other run has pairs before it, which binary search counts. Of pairs with
// one id those of the earlier run come first, so that they stay in the order of their rows.
// One invocation moves one of the n pairs, one workgroup WG of them.
//!use fold
struct Params { n: u32, run: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> pairs: array<vec2<u32>>;         // [n]
@group(0) @binding(2) var<storage, read_write> merged: array<vec2<u32>>;  // [n]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let own = pairs[i];
    let later = i / p.run % 2u;                                      // 1 in the second run of the two
    let first = i / p.run * p.run;                                   // of the own run
    let other = select(first + p.run, first - p.run, later == 1u);  // of the other
    let bound = own.x + later;                                       // ids below it are before own
    var lo = min(other, p.n);
    var hi = min(other + p.run, p.n);
    let start = lo;
    while lo < hi {
        let mid = (lo + hi) / 2u;
        if pairs[mid].x < bound {
            lo = mid + 1u;
        } else {
            hi = mid;
        }
    }
    merged[i - later * p.run + lo - start] = own;
}

// pairs[k] = (id_r, r), in ascending order within every block of WG: k = the block's start + Σ_s [(id_s, s) < (id_r, r)]
// The order is that of the ids and, of one id, that of the rows. Ids are clamped as in gather; the id padding
// becomes rows, which no table has.
// One invocation places one of the n pairs, one workgroup a block.
//!use fold
struct Params { n: u32, rows: u32, padding: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> id: array<i32>;                 // [n]
@group(0) @binding(2) var<storage, read_write> pairs: array<vec2<u32>>;  // [n]

const WG = 64u;

fn row(r: u32) -> u32 {
    let near = u32(clamp(id[r], 0, i32(p.rows) - 1));
    return select(near, p.rows, near == p.padding);
}

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let block = group_index(wg) * WG;
    let r = block + lane;
    if r >= p.n {
        return;
    }
    let own = row(r);
    var k = block;
    for (var s = block; s < min(block + WG, p.n); s += 1u) {
        let other = row(s);
        k += select(0u, 1u, other < own || (other == own && s < r));
    }
    pairs[k] = vec2<u32>(own, r);
}

// pairs[q,b,k] = (orders[q,i], i) of the kth of block b, for k < kept: the greater order is before, then the lower i
// Without parts the candidates of a row are its n numbers. With parts they are those of the parts of a row that
// chosen lists, of so many numbers each; what lies past the end has the order 0.
// One workgroup sorts a block of WG candidates, each invocation places one.
//!use fold
//!use pairs
struct Params { queries: u32, n: u32, width: u32, parts: u32, kept: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> orders: array<u32>;             // [queries, width]
@group(0) @binding(2) var<storage, read> chosen: array<vec2<u32>>;       // [queries, n / parts]: parts by their second, absent if parts is 0
@group(0) @binding(3) var<storage, read_write> pairs: array<vec2<u32>>;  // [queries, blocks, kept]

const WG = 64u;

var<workgroup> block: array<vec2<u32>, WG>;

fn candidate(query: u32, j: u32) -> vec2<u32> {
    if j >= p.n {
        return NOTHING;
    }
    var i = j;
    if p.parts != 0u {
        let part = chosen[query * (p.n / p.parts) + j / p.parts];
        if part.x == 0u {
            return NOTHING;
        }
        i = part.y * p.parts + j % p.parts;
    }
    if i >= p.width {
        return NOTHING;
    }
    return vec2<u32>(orders[query * p.width + i], i);
}

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let blocks = (p.n + WG - 1u) / WG;
    let group = group_index(wg);
    let query = group / blocks;
    if query >= p.queries {
        return;
    }
    let own = candidate(query, group % blocks * WG + lane);
    block[lane] = own;
    workgroupBarrier();
    var k = 0u;
    for (var s = 0u; s < WG; s++) {
        k += select(0u, 1u, before(block[s], own, s < lane));
    }
    if k < p.kept {
        pairs[group * p.kept + k] = own;
    }
}

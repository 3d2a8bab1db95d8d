// ids[b, s] = b·stride + s where s < prefix, then b·stride + prefix + the patch with the (s − prefix)-th greatest random word of item b
// A random subset of keep patches, in random order, behind the prefix. Of equal words the first patch's counts as greater.
// One invocation ranks one patch, one workgroup WG patches of one item: it makes the words of all, WG at a time.
//!use fold
//!use random
struct Params { batch: u32, prefix: u32, patches: u32, keep: u32, stride: u32, stream: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> seed: array<u32>;       // [2]
@group(0) @binding(2) var<storage, read_write> ids: array<i32>;  // [batch, prefix + keep]

const WG = 64u;

var<workgroup> words: array<u32, WG>;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tiles = (p.patches + WG - 1u) / WG;
    let index = group_index(wg);
    let item = index / tiles;
    if item >= p.batch {
        return;
    }
    let key = vec2<u32>(seed[0], seed[1]);
    let mine = index % tiles * WG + lane;
    let own = random_word(key, p.stream, item * p.patches + mine);
    var rank = 0u;
    for (var first = 0u; first < p.patches; first += WG) {
        words[lane] = random_word(key, p.stream, item * p.patches + first + lane);
        workgroupBarrier();
        for (var k = 0u; k < min(WG, p.patches - first); k++) {
            let other = words[k];
            if other > own || (other == own && first + k < mine) {
                rank++;
            }
        }
        workgroupBarrier();
    }
    let to = item * (p.prefix + p.keep);
    if mine < p.patches && rank < p.keep {
        ids[to + p.prefix + rank] = i32(item * p.stride + p.prefix + mine);
    }
    if index % tiles == 0u {
        for (var s = lane; s < p.prefix; s += WG) {
            ids[to + s] = i32(item * p.stride + s);
        }
    }
}

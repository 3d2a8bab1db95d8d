// dscores[q,k] = probs[q,k] · (dp[q,k] − Σ_k probs[q,k]·dp[q,k]), dp[q,k] = Σ_e dy[q,e]·v[k,e], for every head of every item
// What attention_grad computes, for GPUs. One workgroup makes 4·UPS queries × all keys, 4·SIDE keys at a time. One
// invocation makes 4 queries × 4 keys, whatever the head's width, so that registers are bounded. Neighbouring invocations
// load and store neighbouring elements.
//!use fold
//!use head_tile
struct Params {
    pairs: u32, heads: u32,           // pairs of an item and a head
    lq: u32, lk: u32, width: u32,     // queries, keys, the width of a value
    base: u32, batch: u32, head: u32, row: u32,
    stream: u32, limit: u32, drop_scale: f32
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> v: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;             // [items, lq, heads·width]
@group(0) @binding(3) var<storage, read> probs: array<f32>;          // [pairs, lq, lk]
@group(0) @binding(4) var<storage, read> seed: array<u32>;           // [2], absent without DROPOUT
@group(0) @binding(5) var<storage, read_write> dscores: array<f32>;  // [pairs, lq, lk]

const UPS = 4u;
const SIDE = 16u;  //!dx12 4
const DROPOUT = false;

//!tile 4*UPS 1
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tiles = (p.lq + 4u * UPS - 1u) / (4u * UPS);
    let group = group_index(wg);
    let pair = group / tiles;
    if pair >= p.pairs {
        return;
    }
    let item = pair / p.heads;
    let head = pair % p.heads;
    let up = lane / SIDE;
    let across = lane % SIDE;

    let rows = apart(group % tiles * 4u * UPS + up, UPS);
    let row = min(rows, vec4<u32>(p.lq - 1u));
    let dy_at = ((item * p.lq + row) * p.heads + head) * p.width;
    let v_at = p.base + item * p.batch + head * p.head;
    let map_at = (pair * p.lq + row) * p.lk;
    var along = vec4<f32>(0.0);
    for (var j = 0u; j < p.lk; j += 4u * SIDE) {
        var flow = mat4x4<f32>(vec4<f32>(0.0), vec4<f32>(0.0), vec4<f32>(0.0), vec4<f32>(0.0));
        for (var e = 0u; e < p.width; e += SIDE) {
            let at = min(e + across, p.width - 1u);
            let left = vec4<f32>(dy[dy_at.x + at], dy[dy_at.y + at], dy[dy_at.z + at], dy[dy_at.w + at]);
            set_left(across, up, select(vec4<f32>(0.0), left, e + across < p.width));
            for (var t = 0u; t < LOADS; t++) {  //!unroll
                let source = min(apart(j + up + t * UPS, SIDE), vec4<u32>(p.lk - 1u)) * p.row + (v_at + at);
                let right = vec4<f32>(v[source.x], v[source.y], v[source.z], v[source.w]);
                set_right(across, up + t * UPS, select(vec4<f32>(0.0), right, e + across < p.width));
            }
            workgroupBarrier();
            flow = add_terms(flow, up, across);
            workgroupBarrier();
        }
        for (var c = 0u; c < 4u; c++) {
            let key = j + c * SIDE + across;
            let at = map_at + min(key, p.lk - 1u);
            let values = kept(flow[0], at);
            let weights = vec4<f32>(probs[at.x], probs[at.y], probs[at.z], probs[at.w]);
            along += select(vec4<f32>(0.0), weights * values, key < p.lk);
            flow = rotated(flow);
            for (var r = 0u; r < 4u; r++) {  //!unroll
                if rows[r] < p.lq && key < p.lk {
                    dscores[at[r]] = values[r];
                }
            }
        }
    }
    let total = sum_across(along, up, across);
    for (var key = across; key < p.lk; key += SIDE) {
        for (var r = 0u; r < 4u; r++) {  //!unroll
            if rows[r] < p.lq {
                let at = map_at[r] + key;
                dscores[at] = probs[at] * (dscores[at] - total[r]);
            }
        }
    }
}

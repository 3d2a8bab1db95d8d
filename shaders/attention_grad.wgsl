// dscores[q,k] = probs[q,k] · (dp[q,k] − Σ_k probs[q,k]·dp[q,k]), dp[q,k] = Σ_e dy[q,e]·v[k,e], for every head of every item
// The gradient of attention's scores, of which probs are the softmax. With DROPOUT dp is 0 where dropout.wgsl drops a
// probability, else drop_scale times as large. Row r of v in head h of item i begins at base + i·batch + h·head + r·row.
// One workgroup makes ROWS queries × all keys, one invocation every WG-th key. Loads from dy are the same for the whole
// workgroup. The sum over keys is of the dp that it is taken from: Σ_e dy·y, as flash attention has it, is the same but
// for rounding, which the gradients of q and k then show ten times as large.
//!use fold
//!use random
//!use reduce
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

const WG = 16u;
const ROWS = 8u;
const DROPOUT = false;

//!tile ROWS 1
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tiles = (p.lq + ROWS - 1u) / ROWS;
    let group = group_index(wg);
    let query = group % tiles * ROWS;
    let pair = group / tiles;
    if pair >= p.pairs {
        return;
    }
    let item = pair / p.heads;
    let head = pair % p.heads;

    var dy_at: array<u32, ROWS>;
    var along: array<f32, ROWS>;
    for (var r = 0u; r < ROWS; r++) {  //!unroll
        dy_at[r] = ((item * p.lq + min(query + r, p.lq - 1u)) * p.heads + head) * p.width;
    }
    for (var first = lane; first < p.lk + lane; first += 4u * WG) {
        let keys = vec4<u32>(first) + vec4<u32>(0u, WG, 2u * WG, 3u * WG);
        let v_at = min(keys, vec4<u32>(p.lk - 1u)) * p.row + p.base + item * p.batch + head * p.head;
        var sum: array<vec4<f32>, ROWS>;
        for (var r = 0u; r < ROWS; r++) {  //!unroll
            sum[r] = vec4<f32>(0.0);
        }
        for (var e = 0u; e < p.width; e++) {
            let right = vec4<f32>(v[v_at.x + e], v[v_at.y + e], v[v_at.z + e], v[v_at.w + e]);
            for (var r = 0u; r < ROWS; r++) {  //!unroll
                sum[r] = fma(vec4<f32>(dy[dy_at[r] + e]), right, sum[r]);
            }
        }
        for (var r = 0u; r < ROWS; r++) {
            for (var s = 0u; s < 4u; s++) {
                if query + r < p.lq && keys[s] < p.lk {
                    let at = (pair * p.lq + query + r) * p.lk + keys[s];
                    var flow = sum[r][s];
                    if DROPOUT {
                        flow = select(0.0, p.drop_scale * flow, random_word(vec2<u32>(seed[0], seed[1]), p.stream, at) > p.limit);
                    }
                    dscores[at] = flow;
                    along[r] = fma(probs[at], flow, along[r]);
                }
            }
        }
    }
    for (var r = 0u; r < ROWS; r++) {
        let total = workgroup_sum(lane, along[r]);
        if query + r < p.lq {
            for (var key = lane; key < p.lk; key += WG) {
                let at = (pair * p.lq + query + r) * p.lk + key;
                dscores[at] = probs[at] * (dscores[at] - total);
            }
        }
    }
}

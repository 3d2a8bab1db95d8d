// dscores[q,k] = probs[q,k] · (flow[q,k] − Σ_k probs[q,k] · flow[q,k]), flow[q,k] = Σ_e dy[q,e] · v[k,e], for every head
// of every item: the gradient of attention's scores, of which probs are the softmax.
// Row r of v in head h of item i begins at base + i·batch + h·head + r·row.
// One workgroup makes ROWS queries, one invocation four keys at a time, WG apart. Loads from dy are the same for the
// whole workgroup. dscores hold the flow until its sum is known; each invocation finds there what it wrote.
//!use fold
//!use reduce
struct Params {
    pairs: u32, heads: u32,        // pairs of an item and a head
    lq: u32, lk: u32, width: u32,  // queries, keys, the width of a value
    base: u32, batch: u32, head: u32, row: u32
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> v: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;             // [items, lq, heads·width]
@group(0) @binding(3) var<storage, read> probs: array<f32>;          // [pairs, lq, lk]
@group(0) @binding(4) var<storage, read_write> dscores: array<f32>;  // [pairs, lq, lk]

const WG = 16u;
const ROWS = 8u;

//!tile ROWS
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tiles = (p.lq + ROWS - 1u) / ROWS;
    let query = group_index(wg) % tiles * ROWS;
    let pair = group_index(wg) / tiles;
    if pair >= p.pairs {
        return;
    }
    let item = pair / p.heads;
    let head = pair % p.heads;

    var y_at: array<u32, ROWS>;
    for (var r = 0u; r < ROWS; r++) {  //!unroll
        y_at[r] = ((item * p.lq + min(query + r, p.lq - 1u)) * p.heads + head) * p.width;
    }
    var along: array<f32, ROWS>;
    for (var first = lane; first < p.lk; first += 4u * WG) {
        let keys = vec4<u32>(first) + vec4<u32>(0u, WG, 2u * WG, 3u * WG);
        let v_at = min(keys, vec4<u32>(p.lk - 1u)) * p.row + p.base + item * p.batch + head * p.head;
        var flow: array<vec4<f32>, ROWS>;
        for (var r = 0u; r < ROWS; r++) {  //!unroll
            flow[r] = vec4<f32>(0.0);
        }
        for (var e = 0u; e < p.width; e++) {
            let right = vec4<f32>(v[v_at.x + e], v[v_at.y + e], v[v_at.z + e], v[v_at.w + e]);
            for (var r = 0u; r < ROWS; r++) {  //!unroll
                flow[r] = fma(vec4<f32>(dy[y_at[r] + e]), right, flow[r]);
            }
        }
        for (var r = 0u; r < ROWS; r++) {
            for (var s = 0u; s < 4u; s++) {
                if query + r < p.lq && keys[s] < p.lk {
                    let at = (pair * p.lq + query + r) * p.lk + keys[s];
                    dscores[at] = flow[r][s];
                    along[r] = fma(probs[at], flow[r][s], along[r]);
                }
            }
        }
    }
    for (var r = 0u; r < ROWS; r++) {
        let sum = workgroup_sum(lane, along[r]);
        for (var key = lane; key < p.lk && query + r < p.lq; key += WG) {
            let at = (pair * p.lq + query + r) * p.lk + key;
            dscores[at] = probs[at] * (dscores[at] - sum);
        }
    }
}

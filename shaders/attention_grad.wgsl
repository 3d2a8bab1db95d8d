// dscores[q,k] = probs[q,k] · (Σ_e dy[q,e]·v[k,e] − Σ_e dy[q,e]·y[q,e]) for every head of every item
// The gradient of attention's scores, of which probs are the softmax: the second sum is Σ_k probs·(dy·v) (Dao et al.,
// FlashAttention, 2022, appendix B.2). Row r of v in head h of item i begins at base + i·batch + h·head + r·row.
// One invocation makes ROWS queries × four keys, WG apart, one workgroup ROWS queries × 4·WG keys. Loads from dy and y
// are the same for the whole workgroup.
//!use fold
struct Params {
    pairs: u32, heads: u32,           // pairs of an item and a head
    lq: u32, lk: u32, width: u32,     // queries, keys, the width of a value
    base: u32, batch: u32, head: u32, row: u32
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> v: array<f32>;
@group(0) @binding(2) var<storage, read> y: array<f32>;              // [items, lq, heads·width]
@group(0) @binding(3) var<storage, read> dy: array<f32>;             // [items, lq, heads·width]
@group(0) @binding(4) var<storage, read> probs: array<f32>;          // [pairs, lq, lk]
@group(0) @binding(5) var<storage, read_write> dscores: array<f32>;  // [pairs, lq, lk]

const WG = 16u;
const ROWS = 8u;

//!tile ROWS 4*WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tiles_q = (p.lq + ROWS - 1u) / ROWS;
    let tiles_k = (p.lk + 4u * WG - 1u) / (4u * WG);
    let group = group_index(wg);
    let query = group % tiles_q * ROWS;
    let keys = vec4<u32>(group / tiles_q % tiles_k * 4u * WG + lane) + vec4<u32>(0u, WG, 2u * WG, 3u * WG);
    let pair = group / (tiles_q * tiles_k);
    if pair >= p.pairs {
        return;
    }
    let item = pair / p.heads;
    let head = pair % p.heads;

    var y_at: array<u32, ROWS>;
    for (var r = 0u; r < ROWS; r++) {  //!unroll
        y_at[r] = ((item * p.lq + min(query + r, p.lq - 1u)) * p.heads + head) * p.width;
    }
    let v_at = min(keys, vec4<u32>(p.lk - 1u)) * p.row + p.base + item * p.batch + head * p.head;
    var sum: array<vec4<f32>, ROWS>;
    var along: array<f32, ROWS>;
    for (var e = 0u; e < p.width; e++) {
        let right = vec4<f32>(v[v_at.x + e], v[v_at.y + e], v[v_at.z + e], v[v_at.w + e]);
        for (var r = 0u; r < ROWS; r++) {  //!unroll
            let left = dy[y_at[r] + e];
            along[r] = fma(left, y[y_at[r] + e], along[r]);
            sum[r] = fma(vec4<f32>(left), right, sum[r]);
        }
    }
    for (var r = 0u; r < ROWS; r++) {
        for (var s = 0u; s < 4u; s++) {
            if query + r < p.lq && keys[s] < p.lk {
                let at = (pair * p.lq + query + r) * p.lk + keys[s];
                dscores[at] = probs[at] * (sum[r][s] - along[r]);
            }
        }
    }
}

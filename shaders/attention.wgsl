// y[i,h,r,:] = Σ_j softmax_j(scale · q[i,h,r,:] · k[i,h,j,:] + mask[i,r,j]) v[i,h,j,:], in one pass over the keys
// The softmax is accumulated online (Milakov & Gimelshein, 2018; Dao et al., 2022), so no scores are stored.
// All four are strided: element (i, h, r, e) lies at base + i·batch + h·head + r·row + e. causal hides j > r.
// mask, where mask_rows > 0, has a row a query, shared by the heads, and is repeated for all batches if it has no
// more. A query that sees nothing above −3.4e38 gives zeros.
// One invocation makes one query's row, one workgroup WG queries of one head; keys are read at uniform addresses.
//!use fold
struct Params {
    groups: u32, heads: u32, lq: u32, lk: u32, d: u32, dv: u32,  // groups counts the pairs (i, h)
    q_base: u32, q_batch: u32, q_head: u32, q_row: u32,
    k_base: u32, k_batch: u32, k_head: u32, k_row: u32,
    v_base: u32, v_batch: u32, v_head: u32, v_row: u32,
    y_base: u32, y_batch: u32, y_head: u32, y_row: u32,
    scale: f32, causal: u32, mask_rows: u32
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<f32>;        // groups × [lq, d]
@group(0) @binding(2) var<storage, read> k: array<f32>;        // groups × [lk, d]
@group(0) @binding(3) var<storage, read> v: array<f32>;        // groups × [lk, dv]
@group(0) @binding(4) var<storage, read> mask: array<f32>;     // [mask_rows, lk], absent if 0
@group(0) @binding(5) var<storage, read_write> y: array<f32>;  // groups × [lq, dv]

const WG = 32u;
const QUADS = 16u;  // vec4s that hold a head: ⌈max(d, dv) / 4⌉
const LOWEST = -3.4028234e38;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tiles = (p.lq + WG - 1u) / WG;
    let index = group_index(wg);
    let group = index / tiles;
    let row = index % tiles * WG + lane;
    if group >= p.groups || row >= p.lq {
        return;
    }
    let i = group / p.heads;
    let h = group % p.heads;
    let q_at = p.q_base + i * p.q_batch + h * p.q_head + row * p.q_row;
    var query: array<vec4<f32>, QUADS>;
    for (var e = 0u; e < p.d; e++) {
        query[e / 4u][e % 4u] = q[q_at + e] * p.scale;
    }

    var k_at = p.k_base + i * p.k_batch + h * p.k_head;
    var v_at = p.v_base + i * p.v_batch + h * p.v_head;
    var mask_at = 0u;
    if p.mask_rows != 0u {
        mask_at = (i * p.lq + row) % p.mask_rows * p.lk;
    }
    var sum: array<vec4<f32>, QUADS>;
    var greatest = LOWEST;
    var total = 0.0;
    for (var j = 0u; j < p.lk; j++) {
        var score = 0.0;
        for (var e = 0u; e < p.d; e++) {
            score = fma(query[e / 4u][e % 4u], k[k_at + e], score);
        }
        if p.mask_rows != 0u {
            score += mask[mask_at + j];
        }
        if !(p.causal != 0u && j > row) && !(score <= LOWEST) {  // a NaN goes on
            let next = max(greatest, score);
            let shrink = exp(greatest - next);
            let weight = exp(score - next);
            total = fma(total, shrink, weight);
            for (var e = 0u; e < p.dv; e++) {
                sum[e / 4u][e % 4u] = fma(sum[e / 4u][e % 4u], shrink, weight * v[v_at + e]);
            }
            greatest = next;
        }
        k_at += p.k_row;
        v_at += p.v_row;
    }

    let y_at = p.y_base + i * p.y_batch + h * p.y_head + row * p.y_row;
    let share = select(1.0 / total, 0.0, total == 0.0);
    for (var e = 0u; e < p.dv; e++) {
        y[y_at + e] = sum[e / 4u][e % 4u] * share;
    }
}

// y[i,h,r,:] = Σ_j softmax_j(scale · q[i,h,r,:] · k[i,h,j,:] + mask[i,r,j]) v[i,h,j,:], in one pass over the keys
// The softmax is accumulated online (Milakov & Gimelshein, 2018; Dao et al., 2022), so no scores are stored.
// All four are strided: element (i, h, r, e) lies at base + i·batch + h·head + r·row + e. causal hides j > r.
// mask, where mask_rows > 0, has mask_lq rows a batch, one a query or one for all, shared by the heads, and is repeated
// for all batches if it has no more. A query that sees nothing above −3.4e38 gives zeros. DROPOUT: what counts
// of the softmax is what dropout.wgsl leaves of it.
// One invocation makes one query's row, one workgroup WG queries of one head. Keys and values pass through workgroup
// memory, KEYS at a time.
//!use fold
//!use random
struct Params {
    groups: u32, heads: u32, lq: u32, lk: u32, d: u32, dv: u32,  // groups counts the pairs (i, h)
    q_base: u32, q_batch: u32, q_head: u32, q_row: u32,
    k_base: u32, k_batch: u32, k_head: u32, k_row: u32,
    v_base: u32, v_batch: u32, v_head: u32, v_row: u32,
    y_base: u32, y_batch: u32, y_head: u32, y_row: u32,
    scale: f32, causal: u32, mask_rows: u32, mask_lq: u32,
    stream: u32, limit: u32, drop_scale: f32
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<f32>;        // groups × [lq, d]
@group(0) @binding(2) var<storage, read> k: array<f32>;        // groups × [lk, d]
@group(0) @binding(3) var<storage, read> v: array<f32>;        // groups × [lk, dv]
@group(0) @binding(4) var<storage, read> mask: array<f32>;     // [mask_rows, lk], absent if 0
@group(0) @binding(5) var<storage, read> seed: array<u32>;     // [2], absent without DROPOUT
@group(0) @binding(6) var<storage, read_write> y: array<f32>;  // groups × [lq, dv]

const WG = 32u;
const DROPOUT = false;
const QUADS = 16u;  // vec4s that hold a head: ⌈max(d, dv) / 4⌉
const PART = 256u;  // vec4s of keys, and of values, in workgroup memory  //!dx12 64
const KEYS = max(PART / QUADS, 1u);
const_assert QUADS <= 256u;
const LOWEST = -3.4028234e38;

var<workgroup> part_k: array<vec4<f32>, KEYS * QUADS>;  // [key][vec4 of its head], zeros behind d
var<workgroup> part_v: array<vec4<f32>, KEYS * QUADS>;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tiles = (p.lq + WG - 1u) / WG;
    let index = group_index(wg);
    let group = index / tiles;
    if group >= p.groups {
        return;
    }
    let i = group / p.heads;
    let h = group % p.heads;
    let first = index % tiles * WG;
    let row = min(first + lane, p.lq - 1u);  // the last one may be made several times: all take part in every step
    let q_at = p.q_base + i * p.q_batch + h * p.q_head + row * p.q_row;
    let k_at = p.k_base + i * p.k_batch + h * p.k_head;
    let v_at = p.v_base + i * p.v_batch + h * p.v_head;
    var mask_at = 0u;
    if p.mask_rows != 0u {
        mask_at = (i * p.mask_lq + row % p.mask_lq) % p.mask_rows * p.lk;
    }
    var query: array<vec4<f32>, QUADS>;
    for (var e = 0u; e < QUADS; e++) {
        for (var c = 0u; c < 4u; c++) {
            if 4u * e + c < p.d {
                query[e][c] = q[q_at + 4u * e + c] * p.scale;
            }
        }
    }
    var keys = p.lk;  // that some query of the workgroup sees
    if p.causal != 0u {
        keys = min(keys, first + WG);
    }

    var sum: array<vec4<f32>, QUADS>;
    var greatest = LOWEST;
    var total = 0.0;
    for (var j = 0u; j < keys; j += KEYS) {
        for (var e = lane; e < KEYS * QUADS * 4u; e += WG) {
            let key = j + e / (4u * QUADS);
            let at = e % (4u * QUADS);
            var from_k = 0.0;
            var from_v = 0.0;
            if key < p.lk && at < p.d {
                from_k = k[k_at + key * p.k_row + at];
            }
            if key < p.lk && at < p.dv {
                from_v = v[v_at + key * p.v_row + at];
            }
            part_k[e / 4u][e % 4u] = from_k;
            part_v[e / 4u][e % 4u] = from_v;
        }
        workgroupBarrier();

        var scores: array<f32, KEYS>;
        var next = greatest;
        for (var t = 0u; t < KEYS; t++) {
            var products = vec4<f32>(0.0);
            for (var e = 0u; e < QUADS; e++) {
                products = fma(query[e], part_k[t * QUADS + e], products);
            }
            var score = products.x + products.y + products.z + products.w;
            if p.mask_rows != 0u && j + t < p.lk {
                score += mask[mask_at + j + t];
            }
            if j + t >= p.lk || (p.causal != 0u && j + t > row) || score <= LOWEST {  // a NaN goes on
                score = LOWEST;
            }
            scores[t] = score;
            next = max(next, score);
        }
        let shrink = exp(greatest - next);
        total *= shrink;
        for (var e = 0u; e < QUADS; e++) {
            sum[e] *= shrink;
        }
        for (var t = 0u; t < KEYS; t++) {
            var weight = select(exp(scores[t] - next), 0.0, scores[t] <= LOWEST);
            total += weight;
            if DROPOUT {
                let word = random_word(vec2<u32>(seed[0], seed[1]), p.stream, (group * p.lq + row) * p.lk + j + t);
                weight = select(0.0, p.drop_scale * weight, word > p.limit);
            }
            for (var e = 0u; e < QUADS; e++) {
                sum[e] = fma(vec4<f32>(weight), part_v[t * QUADS + e], sum[e]);
            }
        }
        greatest = next;
        workgroupBarrier();
    }

    if first + lane >= p.lq {
        return;
    }
    let y_at = p.y_base + i * p.y_batch + h * p.y_head + row * p.y_row;
    let share = select(1.0 / total, 0.0, total == 0.0);
    for (var e = 0u; e < QUADS; e++) {
        for (var c = 0u; c < 4u; c++) {
            if 4u * e + c < p.dv {
                y[y_at + 4u * e + c] = sum[e][c] * share;
            }
        }
    }
}

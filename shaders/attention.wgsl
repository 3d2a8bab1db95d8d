// y[i,h,r,:] = Σ_j softmax_j(scale · q[i,h,r,:] · k[i,h,j,:] + mask[i,r,j]) v[i,h,j,:], in one pass over the keys
// The softmax is accumulated online (Milakov & Gimelshein, 2018; Dao et al., 2022), so no scores are stored.
// All four are strided: element (i, h, r, e) lies at base + i·batch + h·head + r·row + e. causal hides j > r.
// mask, where mask_rows > 0, has mask_lq rows a batch, one a query or one for all, shared by the heads, and is repeated
// for all batches if it has no more. A query that sees nothing above −3.4e38 gives zeros. DROPOUT: what counts
// of the softmax is what dropout.wgsl leaves of it.
// One workgroup makes 4·UPS queries of one head × 4·SIDE·PARTS columns, of 4·SIDE keys at a time. One invocation makes the
// scores of 4 queries × 4 keys and 4 queries × 4·PARTS columns, which is as many registers whatever the head's width.
//!use fold
//!use head_tile
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

const UPS = 4u;
const SIDE = 16u;  //!dx12 4
const PARTS = 1u;  // 2 where dv is more than 4·SIDE  //!dx12 2
const LAST = PARTS - 1u;
const_assert PARTS <= 2u;
const DROPOUT = false;
const LOWEST = -3.4028234e38;

//!tile 4*UPS 4*SIDE*PARTS
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tiles = (p.lq + 4u * UPS - 1u) / (4u * UPS);
    let slices = (p.dv + 4u * SIDE * PARTS - 1u) / (4u * SIDE * PARTS);
    let index = group_index(wg);
    let group = index / (tiles * slices);
    if group >= p.groups {
        return;
    }
    let i = group / p.heads;
    let h = group % p.heads;
    let first = index / slices % tiles * 4u * UPS;
    let col = index % slices * 4u * SIDE * PARTS;
    let up = lane / SIDE;
    let across = lane % SIDE;

    let rows = apart(first + up, UPS);
    let row = min(rows, vec4<u32>(p.lq - 1u));  // the last one may be made several times: all take part in every step
    let q_at = row * p.q_row + (p.q_base + i * p.q_batch + h * p.q_head);
    let k_at = p.k_base + i * p.k_batch + h * p.k_head;
    let v_at = p.v_base + i * p.v_batch + h * p.v_head;
    var mask_at = vec4<u32>(0u);
    if p.mask_rows != 0u {
        mask_at = (i * p.mask_lq + row % p.mask_lq) % p.mask_rows * p.lk;
    }
    var keys = p.lk;  // that some query of the workgroup sees
    var seen = vec4<u32>(p.lk);
    if p.causal != 0u {
        keys = min(keys, first + 4u * UPS);
        seen = min(seen, row + 1u);
    }

    var sum: array<mat4x4<f32>, PARTS>;
    var greatest = vec4<f32>(LOWEST);
    var total = vec4<f32>(0.0);  // of this invocation's keys
    for (var j = 0u; j < keys; j += 4u * SIDE) {
        var weights = mat4x4<f32>(vec4<f32>(0.0), vec4<f32>(0.0), vec4<f32>(0.0), vec4<f32>(0.0));  // scores at first
        for (var e = 0u; e < p.d; e += SIDE) {
            let at = min(e + across, p.d - 1u);
            let queries = p.scale * vec4<f32>(q[q_at.x + at], q[q_at.y + at], q[q_at.z + at], q[q_at.w + at]);
            set_left(across, up, select(vec4<f32>(0.0), queries, e + across < p.d));
            for (var t = 0u; t < LOADS; t++) {  //!unroll
                let source = min(apart(j + up + t * UPS, SIDE), vec4<u32>(p.lk - 1u)) * p.k_row + (k_at + at);
                let part = vec4<f32>(k[source.x], k[source.y], k[source.z], k[source.w]);
                set_right(across, up + t * UPS, select(vec4<f32>(0.0), part, e + across < p.d));
            }
            workgroupBarrier();
            weights = add_terms(weights, up, across);
            workgroupBarrier();
        }

        var next = greatest;
        for (var c = 0u; c < 4u; c++) {
            let key = j + c * SIDE + across;
            var score = weights[0];
            if p.mask_rows != 0u {
                let source = mask_at + min(key, p.lk - 1u);
                score += vec4<f32>(mask[source.x], mask[source.y], mask[source.z], mask[source.w]);
            }
            score = select(score, vec4<f32>(LOWEST), vec4<u32>(key) >= seen);
            weights[0] = select(score, vec4<f32>(LOWEST), score <= vec4<f32>(LOWEST));  // a NaN goes on
            next = max(next, weights[0]);
            weights = rotated(weights);
        }
        next = max_across(next, up, across);
        let shrink = exp(greatest - next);
        greatest = next;
        total *= shrink;
        for (var c = 0u; c < 4u; c++) {  //!unroll
            weights[c] = select(exp(weights[c] - next), vec4<f32>(0.0), weights[c] <= vec4<f32>(LOWEST));
            total += weights[c];
            for (var g = 0u; g < PARTS; g++) {  //!unroll
                sum[g][c] *= shrink;
            }
        }
        for (var t = 0u; t < 4u * SIDE && j + t < keys; t += SIDE) {
            set_left(across, up, kept(weights[0], (group * p.lq + row) * p.lk + (j + t + across)));
            weights = rotated(weights);
            for (var g = col; g < col + 4u * SIDE * min(PARTS, p.dv + 1u); g += 4u * SIDE) {  // no compiler writes it out
                let at = min(apart(g + across, SIDE), vec4<u32>(p.dv - 1u)) + v_at;
                for (var u = 0u; u < LOADS; u++) {  //!unroll
                    let key = j + t + up + u * UPS;
                    let source = at + min(key, p.lk - 1u) * p.v_row;
                    let part = vec4<f32>(v[source.x], v[source.y], v[source.z], v[source.w]);
                    set_right(up + u * UPS, across, select(vec4<f32>(0.0), part, key < p.lk));
                }
                workgroupBarrier();
                let more = add_terms(sum[0], up, across);
                sum[0] = sum[LAST];  // they change places
                sum[LAST] = more;
                workgroupBarrier();
            }
        }
    }

    total = sum_across(total, up, across);
    let share = select(1.0 / total, vec4<f32>(0.0), total == vec4<f32>(0.0));
    let y_at = rows * p.y_row + (p.y_base + i * p.y_batch + h * p.y_head);
    for (var g = 0u; g < PARTS; g++) {
        let begin = col + 4u * SIDE * g + across;
        for (var at = begin; at < begin + 4u * SIDE; at += SIDE) {
            let values = sum[0][0] * share;
            for (var r = 0u; r < 4u; r++) {
                if rows[r] < p.lq && at < p.dv {
                    y[y_at[r] + at] = values[r];
                }
            }
            sum[0] = rotated(sum[0]);
        }
        sum[0] = sum[LAST];
    }
}

// dw[o,i] = Σ_r dy[r,o] · x[r,i], db[o] = Σ_r dy[r,o]
// The gradients of a linear map's weight and bias, over rows r. o and i come in groups of four.
// One invocation makes ROWS rows × GROUPS groups of four columns of dw, WG apart; one workgroup ROWS rows ×
// 4·GROUPS·WG columns. Loads from dy are the same for the whole workgroup, those from x are each used ROWS times.
// The workgroups of the first columns make db, too. They add up TERMS terms at a time and then these sums, since the
// rounding error of a sum grows with its terms.
//!use fold
struct Params {
    rows: u32,
    out: u32, in: u32,  // groups of four
    has_db: u32
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;        // [rows, out]
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;         // [rows, in]
@group(0) @binding(3) var<storage, read_write> dw: array<vec4<f32>>;  // [4·out, in]
@group(0) @binding(4) var<storage, read_write> db: array<vec4<f32>>;  // [out], absent unless has_db

const WG = 8u;      //!tune 8 32
const GROUPS = 4u;  //!tune 1 4
const QUADS = 2u;   // groups of rows
const ROWS = 4u * QUADS;
const SLICES = WG / QUADS;  // invocations that share a sum of db
const TERMS = 64u;

var<workgroup> partial: array<vec4<f32>, WG>;

//!tile ROWS 4*GROUPS*WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    // Neighbouring workgroups share their columns of x.
    let tiles_out = (p.out + QUADS - 1u) / QUADS;
    let group = group_index(wg);
    let quad = group % tiles_out * QUADS;
    let col = group / tiles_out * GROUPS * WG + lane;

    var sum: array<array<vec4<f32>, GROUPS>, ROWS>;
    for (var r = 0u; r < p.rows; r++) {
        var right: array<vec4<f32>, GROUPS>;
        for (var g = 0u; g < GROUPS; g++) {  //!unroll
            right[g] = x[r * p.in + min(col + g * WG, p.in - 1u)];
        }
        for (var q = 0u; q < QUADS; q++) {  //!unroll
            let left = dy[r * p.out + min(quad + q, p.out - 1u)];
            for (var g = 0u; g < GROUPS; g++) {  //!unroll
                sum[4u * q][g] = fma(vec4<f32>(left.x), right[g], sum[4u * q][g]);
                sum[4u * q + 1u][g] = fma(vec4<f32>(left.y), right[g], sum[4u * q + 1u][g]);
                sum[4u * q + 2u][g] = fma(vec4<f32>(left.z), right[g], sum[4u * q + 2u][g]);
                sum[4u * q + 3u][g] = fma(vec4<f32>(left.w), right[g], sum[4u * q + 3u][g]);
            }
        }
    }
    for (var t = 0u; t < ROWS; t++) {  //!unroll
        for (var g = 0u; g < GROUPS; g++) {  //!unroll
            if quad + t / 4u < p.out && col + g * WG < p.in {
                dw[(4u * quad + t) * p.in + col + g * WG] = sum[t][g];
            }
        }
    }
    if p.has_db == 0u || group >= tiles_out {
        return;
    }
    let from_dy = min(quad + lane % QUADS, p.out - 1u);
    var total = vec4<f32>(0.0);
    for (var first = lane / QUADS; first < p.rows; first += SLICES * TERMS) {
        let end = min(p.rows, first + SLICES * TERMS);
        var terms = vec4<f32>(0.0);
        for (var r = first; r < end; r += SLICES) {
            terms += dy[r * p.out + from_dy];
        }
        total += terms;
    }
    partial[lane] = total;
    workgroupBarrier();
    if lane < QUADS && quad + lane < p.out {
        total = partial[lane];
        for (var s = 1u; s < SLICES; s++) {
            total += partial[s * QUADS + lane];
        }
        db[quad + lane] = total;
    }
}

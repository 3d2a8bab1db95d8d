// dw[s,o,i] = Σ_r dy[r,o] · x[r,i], db[s,o] = Σ_r dy[r,o], over the rows r of slice s
// As linear_weight_grad, for products that fill a GPU. What one vec4 in workgroup memory holds is a group. The workgroups of
// a slice's first columns make db, too. They add up TERMS terms at a time and then these sums, since the rounding error of
// a sum grows with its terms. Groups past the end read the last one.
//!use fold
//!use tile
struct Params {
    rows: u32,
    out: u32, in: u32,  // groups of four
    slices: u32, slice_rows: u32,
    has_db: u32
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;        // [rows, out]
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;         // [rows, in]
@group(0) @binding(3) var<storage, read_write> dw: array<vec4<f32>>;  // [slices, 4·out, in]
@group(0) @binding(4) var<storage, read_write> db: array<vec4<f32>>;  // [slices, out], absent unless has_db

const DEPTH = 16u;  //!dx12 4
const SHARES = WG / SIDE;  // of a part, an invocation loads every SHARES-th row, and adds it to db
const TERMS = 64u;

//!tile TILE TILE
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    // Neighbouring workgroups share their columns of x.
    let tiles_out = (p.out + SIDE - 1u) / SIDE;
    let tiles_in = (p.in + SIDE - 1u) / SIDE;
    let group = group_index(wg);
    let out = group % tiles_out * SIDE;
    let col = group / tiles_out % tiles_in * SIDE;
    let slice = group / (tiles_out * tiles_in);
    if slice >= p.slices {
        return;
    }
    let up = lane / HALF;
    let across = lane % HALF;

    let first = slice * p.slice_rows + lane / SIDE;
    let end = min(p.rows, (slice + 1u) * p.slice_rows);
    let from_out = min(out + lane % SIDE, p.out - 1u);
    let from_col = min(col + lane % SIDE, p.in - 1u);
    let sums_dy = p.has_db != 0u && col == 0u;
    var sum: array<array<vec4<f32>, 2>, 8>;
    var terms = vec4<f32>(0.0);
    var total = vec4<f32>(0.0);
    for (var i = 0u; i < p.slice_rows; i += DEPTH) {
        var from_dy: array<vec4<f32>, LOADS>;
        var from_x: array<vec4<f32>, LOADS>;
        for (var t = 0u; t < LOADS; t++) {  //!unroll
            let row = first + i + t * SHARES;
            from_dy[t] = vec4<f32>(0.0);  // naga 0.13 does so once only, not for each i
            from_x[t] = vec4<f32>(0.0);
            if row < end {
                from_dy[t] = dy[row * p.out + from_out];
                from_x[t] = x[row * p.in + from_col];
            }
        }
        for (var t = 0u; t < LOADS; t++) {  //!unroll
            part_left[lane / SIDE + t * SHARES][lane % SIDE] = from_dy[t];
            part_right[lane / SIDE + t * SHARES][lane % SIDE] = from_x[t];
        }
        workgroupBarrier();
        add_part(&sum, up, across);
        if sums_dy {
            for (var d = lane / SIDE; d < DEPTH; d += SHARES) {
                terms += part_left[d][lane % SIDE];
            }
            if (i + DEPTH) % (SHARES * TERMS) == 0u {
                total += terms;
                terms = vec4<f32>(0.0);
            }
        }
        workgroupBarrier();
    }

    for (var r = 0u; r < 8u; r++) {  //!unroll
        let to_out = out + up + r / 4u * HALF;
        for (var g = 0u; g < 2u; g++) {  //!unroll
            let to_col = col + across + g * HALF;
            if to_out < p.out && to_col < p.in {
                dw[(4u * (slice * p.out + to_out) + r % 4u) * p.in + to_col] = sum[r][g];
            }
        }
    }
    if !sums_dy {
        return;
    }
    part_left[lane / SIDE][lane % SIDE] = total + terms;
    workgroupBarrier();
    if lane < SIDE && out + lane < p.out {
        total = part_left[0][lane];
        for (var s = 1u; s < SHARES; s++) {
            total += part_left[s][lane];
        }
        db[slice * p.out + out + lane] = total;
    }
}

// y[r,j] = exp(s[r,j] − max_j s[r,j]) / Σ_j of the same, s = x + mask where j is not hidden
// x, y: rows of cols elements; in_place: y holds x at first. Row r is query r % lq of head r / lq % heads of batch
// r / (lq · heads). causal hides j > query. mask, where mask_rows > 0, has mask_lq rows a batch, one a query or one for
// all, shared by the heads, and is repeated for all batches if it has no more. A row with nothing above −3.4e38 gives
// zeros.
// One workgroup makes one row.
//!use fold
//!use reduce
struct Params { rows: u32, cols: u32, in_place: u32, causal: u32, lq: u32, heads: u32, mask_rows: u32, mask_lq: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // [rows, cols], absent if in_place
@group(0) @binding(2) var<storage, read> mask: array<f32>;     // [mask_rows, cols], absent if 0
@group(0) @binding(3) var<storage, read_write> y: array<f32>;  // [rows, cols]

const WG = 32u;
const LOWEST = -3.4028234e38;

// score is s[r,j], LOWEST where hidden: no infinity is left to compute with.
fn score(row: u32, j: u32) -> f32 {
    var v: f32;
    if p.in_place != 0u {
        v = y[row * p.cols + j];
    } else {
        v = x[row * p.cols + j];
    }
    if p.mask_rows != 0u {
        let mask_row = (row / (p.heads * p.lq) * p.mask_lq + row % p.lq % p.mask_lq) % p.mask_rows;
        v += mask[mask_row * p.cols + j];
    }
    if p.causal != 0u && j > row % p.lq {
        v = LOWEST;
    }
    return select(v, LOWEST, v <= LOWEST);  // not max, which would lose a NaN
}

//!tile 1
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group_index(wg);
    if row >= p.rows {
        return;
    }
    var greatest = LOWEST;
    for (var j = lane; j < p.cols; j += WG) {
        let v = score(row, j);
        y[row * p.cols + j] = v;
        greatest = max(greatest, v);
    }
    greatest = workgroup_max(lane, greatest);

    var sum = 0.0;
    for (var j = lane; j < p.cols; j += WG) {
        let v = y[row * p.cols + j];
        let e = select(exp(v - greatest), 0.0, v <= LOWEST);
        y[row * p.cols + j] = e;
        sum += e;
    }
    sum = workgroup_sum(lane, sum);

    let scale = select(1.0 / sum, 0.0, sum == 0.0);
    for (var j = lane; j < p.cols; j += WG) {
        y[row * p.cols + j] *= scale;
    }
}

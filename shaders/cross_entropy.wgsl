// loss[r] = log sum_r + top_r − x[r, label_r], sum_r = Σ_j exp(x[r,j] − top_r), top_r = max_j x[r,j]
// x: rows of cols logits. A label outside [0, cols) gives loss 0. One workgroup makes one row.
//!use fold
//!use reduce
struct Params { rows: u32, cols: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;           // [rows, cols]
@group(0) @binding(2) var<storage, read> label: array<i32>;       // [rows]
@group(0) @binding(3) var<storage, read_write> loss: array<f32>;  // [rows]
@group(0) @binding(4) var<storage, read_write> top: array<f32>;   // [rows]
@group(0) @binding(5) var<storage, read_write> sum: array<f32>;   // [rows]

const WG = 32u;

//!tile 1
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group_index(wg);
    if row >= p.rows {
        return;
    }
    let at = row * p.cols;
    var greatest = -3.4028234e38;
    for (var j = lane; j < p.cols; j += WG) {
        greatest = max(greatest, x[at + j]);
    }
    greatest = workgroup_max(lane, greatest);
    var total = 0.0;
    for (var j = lane; j < p.cols; j += WG) {
        total += exp(x[at + j] - greatest);
    }
    total = workgroup_sum(lane, total);
    if lane == 0u {
        top[row] = greatest;
        sum[row] = total;
        loss[row] = 0.0;
        let j = label[row];
        if j >= 0 && u32(j) < p.cols {
            // The difference first: it is exact where both are large and close.
            loss[row] = log(total) + (greatest - x[at + u32(j)]);
        }
    }
}

// y[r,j] = x[r,j] / max(norm_r, eps), norm_r = √(Σ_j x[r,j]²)
// x, y: rows of cols elements. One workgroup makes one row.
//!use fold
//!use reduce
struct Params { rows: u32, cols: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;           // [rows, cols]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;     // [rows, cols]
@group(0) @binding(3) var<storage, read_write> norm: array<f32>;  // [rows]

const WG = 32u;

//!tile 1
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group_index(wg);
    if row >= p.rows {
        return;
    }
    let at = row * p.cols;
    var squares = 0.0;
    for (var j = lane; j < p.cols; j += WG) {
        squares = fma(x[at + j], x[at + j], squares);
    }
    let length = sqrt(workgroup_sum(lane, squares));
    let divisor = select(length, p.eps, length < p.eps);  // not max, which would lose a NaN
    for (var j = lane; j < p.cols; j += WG) {
        y[at + j] = x[at + j] / divisor;
    }
    if lane == 0u {
        norm[row] = length;
    }
}

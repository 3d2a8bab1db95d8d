// y[r,j] = (x[r,j] − mean_r) · rstd_r · w[j] + b[j], rstd = 1 / √(mean of (x − mean)² + eps)
// x, y: rows of cols elements. Two passes for the statistics: the squares of a difference do not cancel. uncentered: the
// mean counts as 0, which makes it RMSNorm.
// One workgroup makes one row.
//!use fold
//!use reduce
struct Params { rows: u32, cols: u32, eps: f32, has_w: u32, has_b: u32, uncentered: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;                       // [rows, cols]
@group(0) @binding(2) var<storage, read> w: array<f32>;                       // [cols], absent unless has_w
@group(0) @binding(3) var<storage, read> b: array<f32>;                       // [cols], absent unless has_b
@group(0) @binding(4) var<storage, read_write> y: array<f32>;                 // [rows, cols]
@group(0) @binding(5) var<storage, read_write> statistics: array<vec2<f32>>;  // [rows]: mean and rstd

const WG = 32u;  //!tune 32 128

//!tile 1
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group_index(wg);
    if row >= p.rows {
        return;
    }
    let at = row * p.cols;
    var center = 0.0;
    if p.uncentered == 0u {
        var sum = 0.0;
        for (var j = lane; j < p.cols; j += WG) {
            sum += x[at + j];
        }
        center = workgroup_sum(lane, sum) / f32(p.cols);
    }

    var squares = 0.0;
    for (var j = lane; j < p.cols; j += WG) {
        let d = x[at + j] - center;
        squares = fma(d, d, squares);
    }
    let scale = 1.0 / sqrt(workgroup_sum(lane, squares) / f32(p.cols) + p.eps);

    for (var j = lane; j < p.cols; j += WG) {
        var v = (x[at + j] - center) * scale;
        if p.has_w != 0u {
            v *= w[j];
        }
        if p.has_b != 0u {
            v += b[j];
        }
        y[at + j] = v;
    }
    if lane == 0u {
        statistics[row] = vec2<f32>(center, scale);
    }
}

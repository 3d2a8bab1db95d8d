// dx[r,j] = rstd_r · (g − mean_j g − x̂ · mean_j(g · x̂)), g = dy[r,j] · w[j], x̂ = (x[r,j] − mean_r) · rstd_r
// dw[r,j] = dy[r,j] · x̂, the row's part of the gradient of w, where there is a w
// x, dy, dx, dw: rows of cols elements. One workgroup makes one row.
//!use fold
//!use reduce
struct Params { rows: u32, cols: u32, has_w: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;         // [rows, cols]
@group(0) @binding(2) var<storage, read> w: array<f32>;         // [cols], absent unless has_w
@group(0) @binding(3) var<storage, read> mean: array<f32>;      // [rows]
@group(0) @binding(4) var<storage, read> rstd: array<f32>;      // [rows]
@group(0) @binding(5) var<storage, read> dy: array<f32>;        // [rows, cols]
@group(0) @binding(6) var<storage, read_write> dx: array<f32>;  // [rows, cols]
@group(0) @binding(7) var<storage, read_write> dw: array<f32>;  // [rows, cols], absent unless has_w

const WG = 32u;

fn weighted(row: u32, j: u32) -> f32 {
    if p.has_w != 0u {
        return dy[row * p.cols + j] * w[j];
    }
    return dy[row * p.cols + j];
}

//!tile 1
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group_index(wg);
    if row >= p.rows {
        return;
    }
    let at = row * p.cols;
    let center = mean[row];
    let scale = rstd[row];
    var sum = 0.0;
    var along = 0.0;
    for (var j = lane; j < p.cols; j += WG) {
        let g = weighted(row, j);
        sum += g;
        along = fma(g, (x[at + j] - center) * scale, along);
    }
    sum = workgroup_sum(lane, sum) / f32(p.cols);
    along = workgroup_sum(lane, along) / f32(p.cols);
    for (var j = lane; j < p.cols; j += WG) {
        let unit = (x[at + j] - center) * scale;
        dx[at + j] = scale * (weighted(row, j) - sum - unit * along);
        if p.has_w != 0u {
            dw[at + j] = dy[at + j] * unit;
        }
    }
}

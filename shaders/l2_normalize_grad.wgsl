// dx[r,j] = (dy[r,j] − y[r,j] · Σ_j y[r,j] · dy[r,j]) / norm_r; 0 in a zero row; dy[r,j] / eps where 0 < norm_r < eps
// y, dy, dx: rows of cols elements. One workgroup makes one row.
//!use fold
//!use reduce
struct Params { rows: u32, cols: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> y: array<f32>;         // [rows, cols]
@group(0) @binding(2) var<storage, read> norm: array<f32>;      // [rows]
@group(0) @binding(3) var<storage, read> dy: array<f32>;        // [rows, cols]
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;  // [rows, cols]

const WG = 32u;

//!tile 1
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group_index(wg);
    if row >= p.rows {
        return;
    }
    let at = row * p.cols;
    var dot = 0.0;
    for (var j = lane; j < p.cols; j += WG) {
        dot = fma(y[at + j], dy[at + j], dot);
    }
    dot = workgroup_sum(lane, dot);
    let length = norm[row];
    let below = length < p.eps;
    let along = select(dot, 0.0, below);
    let scale = select(1.0 / select(length, p.eps, below), 0.0, length == 0.0);
    for (var j = lane; j < p.cols; j += WG) {
        dx[at + j] = (dy[at + j] - y[at + j] * along) * scale;
    }
}

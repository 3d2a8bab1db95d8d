// dx[r,j] = y[r,j] · (dy[r,j] − Σ_j y[r,j] · dy[r,j]), the gradient of softmax
// One workgroup makes one row.
//!use fold
//!use reduce
struct Params { rows: u32, cols: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> y: array<f32>;         // [rows, cols]
@group(0) @binding(2) var<storage, read> dy: array<f32>;        // [rows, cols]
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;  // [rows, cols]

const WG = 32u;

//!tile 1
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group_index(wg);
    if row >= p.rows {
        return;
    }
    var dot = 0.0;
    for (var j = lane; j < p.cols; j += WG) {
        let i = row * p.cols + j;
        dot = fma(y[i], dy[i], dot);
    }
    dot = workgroup_sum(lane, dot);
    for (var j = lane; j < p.cols; j += WG) {
        let i = row * p.cols + j;
        dx[i] = y[i] * (dy[i] - dot);
    }
}

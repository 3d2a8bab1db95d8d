// dx[r,j] = (exp(x[r,j] − top_r) / sum_r − [j = label_r]) · dy[r]; 0 in rows whose label is outside [0, cols)
// x, dx: rows of cols elements, n in all. One invocation makes one element, one workgroup WG of them.
//!use fold
struct Params { n: u32, cols: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;         // [rows, cols]
@group(0) @binding(2) var<storage, read> label: array<i32>;     // [rows]
@group(0) @binding(3) var<storage, read> top: array<f32>;       // [rows]
@group(0) @binding(4) var<storage, read> sum: array<f32>;       // [rows]
@group(0) @binding(5) var<storage, read> dy: array<f32>;        // [rows]
@group(0) @binding(6) var<storage, read_write> dx: array<f32>;  // [rows, cols]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let row = i / p.cols;
    let truth = label[row];
    var v = 0.0;
    if truth >= 0 && u32(truth) < p.cols {
        v = exp(x[i] - top[row]) / sum[row] - select(0.0, 1.0, i % p.cols == u32(truth));
    }
    dx[i] = v * dy[row];
}

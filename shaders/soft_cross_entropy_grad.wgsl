// dx[r,j] = (exp(x[r,j] − top_r) / sum_r · mass_r − t[r,j]) · dy[r]
// x, t, dx: rows of cols elements, n in all. One invocation makes one element, one workgroup WG of them.
//!use fold
struct Params { n: u32, cols: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;         // [rows, cols]
@group(0) @binding(2) var<storage, read> t: array<f32>;         // [rows, cols]
@group(0) @binding(3) var<storage, read> top: array<f32>;       // [rows]
@group(0) @binding(4) var<storage, read> sum: array<f32>;       // [rows]
@group(0) @binding(5) var<storage, read> mass: array<f32>;      // [rows]
@group(0) @binding(6) var<storage, read> dy: array<f32>;        // [rows]
@group(0) @binding(7) var<storage, read_write> dx: array<f32>;  // [rows, cols]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let row = i / p.cols;
    dx[i] = (exp(x[i] - top[row]) / sum[row] * mass[row] - t[i]) * dy[row];
}

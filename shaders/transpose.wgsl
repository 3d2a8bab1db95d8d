// y[b,j,i] = x[b,i,j]
// One invocation makes one of the n elements of y, one workgroup WG of them.
//!use fold
struct Params { n: u32, rows: u32, cols: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // [batch, rows, cols]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;  // [batch, cols, rows]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let row = i % p.rows;
    let col = i / p.rows % p.cols;
    let b = i / (p.rows * p.cols);
    y[i] = x[(b * p.rows + row) * p.cols + col];
}

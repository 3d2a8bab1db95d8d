// y[id_r, j] = x[r, column + j] for those rows id_r of y that are among the held ones from first on
// One invocation makes one of the n elements that change, one workgroup WG of them.
//!use fold
struct Params { n: u32, rows: u32, width: u32, first: u32, held: u32, wide: u32, column: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // [n / width, wide]
@group(0) @binding(2) var<storage, read> id: array<i32>;       // [n / width]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;  // [held, width]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let row = id[i / p.width] - i32(p.first);
    if row >= 0 && row < i32(p.held) {
        y[u32(row) * p.width + i % p.width] = x[i / p.width * p.wide + p.column + i % p.width];
    }
}

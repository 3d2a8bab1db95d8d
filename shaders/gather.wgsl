// y[r,j] = table[id_r, j], where row id_r is one of the held rows from first on; other rows of y stay as they are
// An id outside [0, rows) reads the nearest row: callers validate, the clamp keeps the read inside.
// One invocation makes one of the n elements of y, one workgroup WG of them.
//!use fold
struct Params { n: u32, rows: u32, width: u32, first: u32, held: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> table: array<f32>;    // [held, width]
@group(0) @binding(2) var<storage, read> id: array<i32>;       // [n / width]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;  // [n / width, width]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let row = u32(clamp(id[i / p.width], 0, i32(p.rows) - 1));
    if row >= p.first && row - p.first < p.held {
        y[i] = table[(row - p.first) * p.width + i % p.width];
    }
}
